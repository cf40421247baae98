"""The dense pipeline's stages against plain transcriptions: padding that is there, windows that are cut by loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdeploy.export.models.dense.class_attention import ClassAttention
from ovdeploy.export.models.dense.swin import SwinBlock, shifted_mask
from ovdeploy.export.models.weights import random_state
from ovdeploy.export.reference.dense.reference import DenseReference, merge
from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.pipelines.dense.encoding import likest
from ovdeploy.runtime.pipelines.dense.merging import Answered, Planes
from ovdeploy.runtime.pipelines.dense.parameters import DenseParameters
from ovdeploy.runtime.words.vocabulary import random_vocabulary

ROUNDING = 1e-5  # float32, summed in another order
MERGED = 1e-6  # float32 against float64: in float32 torch places samples up to 1e-4 of a pixel beside where they are


def filled(module, seed=3):
    module.load_state_dict(random_state(module, seed))
    return module.eval().requires_grad_(False)


def drawn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def padded_attention(layer, x, guide):
    """Class attention with the padding tokens really there, and every pair of classes weighed."""
    count, (height, width) = layer.most - len(x), x.shape[1:3]
    tokens = torch.cat([x.flatten(1, 2), layer.padding_tokens.expand(count, height * width, -1)])
    led = torch.cat([guide, layer.padding_guidance.expand(count, -1, -1)]).expand(-1, height * width, -1)
    seen = layer.norm1(tokens)
    attention = layer.attention
    both = torch.cat([seen, led], dim=-1)
    queries, keys = (F.elu(part(both)) + 1 for part in (attention.q, attention.k))
    parts = [part.unflatten(-1, (attention.heads, -1)) for part in (queries, keys, attention.v(seen))]
    queries, keys, values = (part.permute(1, 2, 0, 3) for part in parts)  # [N, heads, T, d]
    pairs = queries @ keys.transpose(-1, -2)
    mixed = (pairs / (pairs.sum(dim=-1, keepdim=True) + 1e-6)) @ values
    tokens = tokens + mixed.permute(2, 0, 1, 3).flatten(2)
    tokens = tokens + layer.MLP(layer.norm2(tokens))
    return x + tokens[: len(x)].unflatten(1, (height, width))


@pytest.mark.parametrize("classes", [1, 2, 7, 16])
def test_padding_that_is_not_there_counts_as_if_it_were(classes):
    layer = filled(ClassAttention(32, 16, 2, 16))
    x, guide = drawn(classes, 3, 4, 32), drawn(classes, 1, 16, seed=1)
    torch.testing.assert_close(layer(x, guide), padded_attention(layer, x, guide), rtol=ROUNDING, atol=ROUNDING)


def test_without_padding_the_answer_is_another():
    layer = filled(ClassAttention(32, 16, 2, 16))
    x, guide = drawn(3, 3, 4, 32), drawn(3, 1, 16, seed=1)
    with_padding = layer(x, guide)
    layer.most = 3
    assert (layer(x, guide) - with_padding).abs().max() > 0.01


def looped_windows(block, x, guide):
    """Attention within windows, place by place: what a window holds and may see is asked of coordinates."""
    classes, side, _, width = x.shape
    attention, heads = block.attn, block.attn.heads
    seen = block.norm1(x)
    both = torch.cat([seen, guide.expand(classes, -1, -1, -1)], dim=-1)
    queries, keys, values = attention.q(both), attention.k(both), attention.v(seen)
    mixed = torch.zeros_like(x)
    # before the shift: a place belongs to the window of where it goes, and sees those that did not wrap past it
    goes = [(place - block.shift) % side for place in range(side)]
    wraps = [place < block.shift for place in range(side)]
    cells = [(row, column) for row in range(side) for column in range(side)]
    for row, column in cells:
        others = [
            (r, c)
            for r, c in cells
            if goes[r] // block.window == goes[row] // block.window
            and goes[c] // block.window == goes[column] // block.window
            and wraps[r] == wraps[row]
            and wraps[c] == wraps[column]
        ]
        rows, columns = zip(*others, strict=True)
        for head in range(heads):
            part = slice(head * width // heads, (head + 1) * width // heads)
            query = queries[:, row, column, part] * (width // heads) ** -0.5
            scores = (keys[:, rows, columns, part] @ query[..., None])[..., 0].softmax(dim=-1)
            mixed[:, row, column, part] = (scores[:, None] @ values[:, rows, columns, part])[:, 0]
    x = x + attention.proj(mixed)
    return x + block.mlp(block.norm2(x))


@pytest.mark.parametrize(("window", "shift"), [(3, 0), (3, 1), (2, 1), (6, 0)])
def test_windows_are_cut_shifted_and_joined(window, shift):
    block = filled(SwinBlock(8, 4, 2, 6, window, shift))
    x, guide = drawn(2, 6, 6, 8), drawn(1, 6, 6, 4, seed=1)
    torch.testing.assert_close(block(x, guide), looped_windows(block, x, guide), rtol=ROUNDING, atol=ROUNDING)


def test_without_a_shift_nothing_is_barred():
    assert not shifted_mask(6, 3, 0).any()


@pytest.mark.parametrize(("side", "crop", "stride"), [(160, 96, 64), (150, 96, 70), (96, 96, 96), (97, 33, 20)])
@pytest.mark.parametrize("hw", [(150, 203), (31, 17)])
def test_the_runtimes_merge_is_the_references(side, crop, stride, hw):
    """Crops that overlap unevenly, too: where the last is shifted to fit."""
    settings = DenseParameters(side=side, crop=crop, stride=stride)
    per_axis = -(-(side - crop) // stride) + 1
    logits = 6 * drawn(per_axis**2 + 1, 3, 24, 24)
    expected = merge(logits.double(), hw, settings).numpy()
    crops = [Answered(np.arange(3), each.numpy()) for each in logits]
    planes = Planes(crops, range(3), hw, settings)
    assert np.abs(np.stack([planes.whole(word) for word in range(3)]) - expected).max() < MERGED


def folded(logits, hw, settings):
    """The merge as CAT-Seg writes it: torch's fold."""
    parts = F.interpolate(logits, (settings.crop,) * 2, mode="bilinear", align_corners=False).sigmoid()
    square, crop, stride = (settings.side,) * 2, settings.crop, settings.stride
    columns = parts[:-1].flatten(1).T[None]
    total = F.fold(columns, square, crop, stride=stride)
    count = F.fold(torch.ones_like(columns), square, crop, stride=stride)
    whole = F.interpolate(parts[-1:], square, mode="bilinear", align_corners=False)
    return F.interpolate((total / count + whole) / 2, hw, mode="bilinear", align_corners=False)[0]


def test_the_references_merge_is_a_fold():
    settings = DenseParameters(side=160, crop=96, stride=64)
    logits = 6 * drawn(5, 4, 24, 24).double()
    assert (merge(logits, (100, 140), settings) - folded(logits, (100, 140), settings)).abs().max() < 1e-12


@pytest.mark.parametrize("words", [1, 256, 257, 600])
def test_any_number_of_words_is_answered(micro_dense_networks, micro_dense_bundle, photo, words):
    vocabulary = random_vocabulary(words, micro_dense_networks.dimensions.embedding)
    trace = DenseReference(micro_dense_networks).segment(photo, vocabulary)
    with Segmenter.load(micro_dense_bundle, backend="onnxruntime") as segmenter:
        result = segmenter.segment(photo, vocabulary)
    assert (result.mask == trace.mask).mean() >= 0.999 and np.abs(result.scores - trace.scores).max() < 1e-4
    left_out = (trace.logits == -100).all(dim=(2, 3)).sum(dim=1)
    assert left_out.tolist() == [max(0, words - 256)] * 5


def test_of_too_many_words_those_are_chosen_that_are_most_like_a_place():
    rng = np.random.default_rng(0)
    dense, text = rng.standard_normal((8, 3, 4)).astype(np.float32), rng.standard_normal((9, 8)).astype(np.float32)
    peaks = []
    for word in text:
        places = [dense[:, y, x] for y in range(3) for x in range(4)]
        peaks.append(max(word @ place / (np.linalg.norm(word) * np.linalg.norm(place)) for place in places))
    assert likest(dense, text, 4).tolist() == sorted(np.argsort(peaks)[-4:].tolist())
