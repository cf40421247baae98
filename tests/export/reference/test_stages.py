"""The stage modules against upstream code and against plain formulas."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from segment_anything.modeling.image_encoder import window_partition

from ovdeploy.export.reference.embed import resample_positions
from ovdeploy.export.reference.promptable import sam_blocks
from ovdeploy.export.reference.promptable.sam_blocks import window_order
from ovdeploy.export.reference.promptable.sam_decoder import SamDecoder
from ovdeploy.export.reference.training_free.attention import above_mean
from ovdeploy.export.reference.training_free.dino import Dino
from ovdeploy.export.reference.training_free.head import FeatureHead
from ovdeploy.export.reference.training_free.sam_encoder import SamEncoder, SamImage
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.geometry.sizes import bilinear_matrix
from ovdeploy.runtime.graph.model import prepared
from ovdeploy.runtime.graph.shapes import value_types

ROUNDING = {"rtol": 1e-4, "atol": 1e-5}  # float32, another order of summation
LOGITS = {"rtol": 1e-4, "atol": 2e-4}  # the same, where terms of size 10 cancel
SIDE, GRID, MASK = 512, 32, 128  # of the tiny SAM


@pytest.fixture(autouse=True)
def _seeded_and_without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def sam(micro_networks):
    return micro_networks.models["sam"]


@pytest.fixture(scope="module")
def sam_image():
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize("grid", [(4, 4), (5, 5), (3, 7), (21, 21)])
def test_positions_are_resampled_by_the_original_rule(grid):
    positions = torch.randn(1 + 16, 8)
    came = resample_positions(positions, grid)
    assert came.shape == (1 + grid[0] * grid[1], 8)
    assert torch.equal(came[0], positions[0])
    if grid == (4, 4):
        assert torch.equal(came, positions)
        return
    patches = positions[1:].reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
    factor = ((grid[0] + 0.1) / 4, (grid[1] + 0.1) / 4)
    expected = F.interpolate(patches, scale_factor=factor, mode="bicubic", align_corners=False)
    torch.testing.assert_close(came[1:], expected[0].flatten(1).T)


def test_dino_is_timm_at_its_own_size(micro_networks):
    vit = micro_networks.models["dino"]
    windows = torch.rand(2, 3, 64, 64)
    features, mean_similarity = Dino(vit, 64)(windows)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    tokens = vit.forward_features((windows - mean.view(3, 1, 1)) / std.view(3, 1, 1))[:, 1:]
    expected = F.normalize(tokens, dim=-1)
    torch.testing.assert_close(features.flatten(2).transpose(1, 2), expected, **ROUNDING)
    torch.testing.assert_close(mean_similarity, (expected @ expected.transpose(1, 2)).mean(dim=(1, 2)), **ROUNDING)


def test_clip_image_is_the_values_of_the_last_block_mixed_by_similarity(micro_networks):
    """The formula of docs/architecture.md, head by head, in plain loops."""
    module = micro_networks.modules["clip_image"]
    windows = torch.rand(1, 3, 96, 96)
    dino, mean_similarity = micro_networks.modules["dino"](windows)
    block = micro_networks.models["clip"].visual.transformer.resblocks[-1]
    x = block.ln_1(module.hidden(windows)[-1][:, 1:])
    v = x[0] @ block.attn.in_proj_weight[128:].T + block.attn.in_proj_bias[128:]
    v = F.interpolate(v.T.reshape(1, 64, 6, 6), (12, 12), mode="bilinear")[0].flatten(1).T  # [144, 64]
    s = dino[0].flatten(1).T @ dino[0].flatten(1)
    rows = []
    for i in range(144):
        score = 3.0 * (s[i] - 1.2 * mean_similarity[0])
        kept = (score >= 0).nonzero().flatten()
        rows.append(score[kept].softmax(0) @ v[kept])
    expected = block.attn.out_proj(torch.stack(rows)).T.reshape(1, 64, 12, 12)
    torch.testing.assert_close(module(windows, dino, mean_similarity), expected, **ROUNDING)


@pytest.mark.parametrize("count", [1, 12])
def test_a_flat_photo_attends_to_itself(count):
    assert 1.2 * 1.0 > 1, "β · mean S > 1: no entry is left"
    came = above_mean(torch.ones(1, count, count), torch.ones(1), 1.2, 3.0)
    assert torch.equal(came[0], torch.eye(count))


def test_sam_features_are_upstreams(sam, sam_image):
    normalised = (sam_image - sam.pixel_mean) / sam.pixel_std
    expected = sam.image_encoder(normalised)
    torch.testing.assert_close(SamImage(sam)(sam_image), (expected,), **ROUNDING)
    valid, factor, keep = torch.ones(GRID * GRID), torch.tensor(1.2), torch.tensor(True)
    features, _ = SamEncoder(sam)(sam_image, valid, factor, keep)
    torch.testing.assert_close(features, expected, **ROUNDING)


@pytest.mark.parametrize("tokens_hw", [(32, 32), (21, 32), (32, 5), (1, 1)])
@pytest.mark.parametrize(
    ("factor", "keep_negative"), [(1.2, True), (0.0, True), (3.0, False), (-1.0, False), (-1.0, True)]
)
def test_affinity_is_the_formula(sam, sam_image, tokens_hw, factor, keep_negative):
    """W and C of all heads as full matrices, restricted to valid tokens, in double precision."""
    valid = torch.zeros(GRID, GRID)
    valid[: tokens_hw[0], : tokens_hw[1]] = 1
    inside = valid.flatten().bool()
    _, came = SamEncoder(sam)(sam_image, valid.flatten(), torch.tensor(factor), torch.tensor(keep_negative))
    w, v = _last_attention(sam, sam_image)
    w, v = w[:, inside][:, :, inside].double(), F.normalize(v[:, inside].double(), dim=-1)
    c = v @ v.transpose(1, 2)
    theta = factor * c.mean(dim=(0, 2))
    if not keep_negative:
        theta[theta < 0] = 0.6
    theta = theta.clamp(max=0.9)
    kept = torch.where(c > theta[None, :, None], w, 0.0).mean(dim=0)
    expected = kept / kept.sum(dim=1, keepdim=True)
    assert (came[~inside] == 0).all() and (came[:, ~inside] == 0).all()
    flips = (came[inside][:, inside] - expected).abs() > 1e-5
    assert flips.float().mean() < 1e-3  # float32 may put single entries on the other side of the threshold


def _last_attention(sam, image):
    """Attention weights [heads, N, N] and values [heads, N, d] of the last block, as upstream computes them."""
    from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

    seen = {}
    attention = sam.image_encoder.blocks[-1].attn
    hook = attention.register_forward_hook(lambda module, args, output: seen.update(x=args[0]))
    sam.image_encoder((image - sam.pixel_mean) / sam.pixel_std)
    hook.remove()
    qkv = attention.qkv(seen["x"]).reshape(1, GRID * GRID, 3, 4, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.reshape(3, 4, GRID * GRID, -1).unbind(0)
    scores = (q * attention.scale) @ k.transpose(-2, -1)
    size = (GRID, GRID)
    return add_decomposed_rel_pos(scores, q, attention.rel_pos_h, attention.rel_pos_w, size, size).softmax(-1), v


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, SIDE, (4, 2, 2)), axis=1).reshape(4, 4).astype(np.float32)
    points = rng.uniform(0, SIDE, (4, 2)).astype(np.float32)
    masks = (rng.random((4, 1, MASK, MASK)) * 0.005).astype(np.float32)
    return torch.from_numpy(points), torch.from_numpy(corners), torch.from_numpy(masks)


def test_decoder_as_meant_is_sam_predictor(sam, prompts):
    points, boxes, masks = prompts
    predictor = SamPredictor(sam)
    predictor.set_image(np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8))
    came = SamDecoder(sam, as_published=False)(predictor.features, points, boxes, masks)
    _, iou, low_res = predictor.predict_torch(
        points[:, None], torch.ones(4, 1), boxes, masks, multimask_output=False, return_logits=True
    )
    torch.testing.assert_close(came[0], low_res, **LOGITS)
    torch.testing.assert_close(came[1], iou[:, 0], **ROUNDING)


def test_decoder_as_published_is_sam_without_the_mask_prompts_batch_axis(sam, prompts):
    """Trident's code hands [1, m, m] to SAM's prompt encoder, region by region here."""
    points, boxes, masks = prompts
    features = torch.randn(1, 64, GRID, GRID)
    came = SamDecoder(sam, as_published=True)(features, points, boxes, masks)
    for index in range(4):
        sparse, dense = sam.prompt_encoder(
            (points[index, None, None], torch.ones(1, 1)), boxes[index, None], masks[index]
        )
        low_res, iou = sam.mask_decoder(features, sam.prompt_encoder.get_dense_pe(), sparse, dense, False)
        torch.testing.assert_close(came[0][index], low_res[0], **LOGITS)
        torch.testing.assert_close(came[1][index], iou[0, 0], **ROUNDING)
    meant = SamDecoder(sam, as_published=False)(features, points, boxes, masks)
    assert (came[0] - meant[0]).abs().max() > 1e-3, "the two must differ, or the test shows nothing"


@pytest.mark.parametrize(("vh", "vw"), [(1, 1), (21, 32), (32, 32)])
def test_head_is_splice_affinity_projection(micro_networks, vh, vw):
    visual = micro_networks.models["clip"].visual
    features, embeddings = torch.randn(1, 1, 64, 12, 12), F.normalize(torch.randn(3, 64), dim=1)
    affinity = torch.rand(GRID * GRID, GRID * GRID)
    rows, columns = (torch.from_numpy(bilinear_matrix(12, n)).float()[:, None] for n in (vh, vw))
    came = FeatureHead(visual, GRID)(features, embeddings, rows, columns, affinity)
    grid = F.interpolate(features[0], (vh, vw), mode="bilinear")[0].flatten(1).T
    inside = torch.zeros(GRID, GRID, dtype=torch.bool)
    inside[:vh, :vw] = True
    mixed = affinity[inside.flatten()][:, inside.flatten()] @ grid
    unit = F.normalize(visual.ln_post(mixed) @ visual.proj, dim=-1)
    torch.testing.assert_close(came, (unit @ embeddings.T).T.reshape(3, vh, vw), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "side"), [((4, 4), 2), ((4, 4), 4), ((5, 7), 3), ((2, 3), 14), ((1, 1), 1), ((7, 1), 2)]
)
def test_tokens_go_into_windows_and_back(grid, side):
    """As upstream pads and partitions; what reaches over the grid is the token after the last, zeros."""
    tokens = torch.arange(1, 1 + grid[0] * grid[1]).float()
    there, back = window_order(grid, side)
    padded = torch.cat([tokens, torch.zeros(1)])[there]
    expected, _ = window_partition(tokens.view(1, *grid, 1), side)
    assert torch.equal(padded, expected.flatten())
    assert torch.equal(padded[back], tokens)


@pytest.mark.parametrize("chunk", [100, 1023, 1024, 4096])
def test_queries_may_go_in_chunks_of_any_size(sam, sam_image, chunk, monkeypatch):
    valid = torch.ones(GRID, GRID)
    valid[21:] = 0
    given = sam_image, valid.flatten(), torch.tensor(1.2), torch.tensor(True)
    expected = SamEncoder(sam)(*given)
    monkeypatch.setattr(sam_blocks, "CHUNK", chunk)
    for came, wanted in zip(SamEncoder(sam)(*given), expected, strict=True):
        torch.testing.assert_close(came, wanted, **ROUNDING)


def test_no_array_of_the_exported_encoder_holds_all_scores(micro_bundle, sam):
    """[heads, N, N] would take 805 MB at SAM's usual size."""
    bundle = Bundle.load(micro_bundle)
    model = prepared(onnx.load(str(bundle.engine_path("sam_encoder", "fp32"))))
    types = value_types(model, {spec.name: spec.shape for spec in bundle.stage("sam_encoder").contract.inputs})
    heads = sam.image_encoder.blocks[-1].attn.num_heads
    assert max(value.size for value in types.values()) <= heads * sam_blocks.CHUNK * GRID**2 < heads * GRID**4
