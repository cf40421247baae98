"""Grounding DINO's two stages against transformers' own forward pass, and as engines. Three levels, 1 + 2 layers."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ovdeploy.export.models.checkpoints.fitting import fit
from ovdeploy.export.models.detector.grounding_dino import build, reading
from ovdeploy.export.models.weights import random_state
from ovdeploy.export.reference.grounded.ground_detector import DEVIATION, MEAN, GroundDetector
from ovdeploy.export.reference.grounded.ground_parts import Levels, Sampler
from ovdeploy.export.reference.grounded.ground_text import GroundText
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.words.phrases import text_inputs as phrases

modeling_grounding_dino = pytest.importorskip("transformers.models.grounding_dino.modeling_grounding_dino")

NAME = "micro_grounding_dino"
TOLERANCE = 1e-5
"""Of outputs relative to the largest: other orders of float32 sums, and softmaxes without a subtracted maximum."""

EXTENTS = [(96, 96), (64, 96), (96, 51), (37, 90)]


@pytest.fixture(scope="module")
def model():
    made = build(NAME)
    made.load_state_dict(random_state(made, 1))
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def stages(model):
    return GroundText(model).eval(), GroundDetector(model, model.image_size).eval()


class Feeds(NamedTuple):
    """What the stages take."""

    tokens: torch.Tensor
    position_ids: torch.Tensor
    attends: torch.Tensor
    image: torch.Tensor
    extent: torch.Tensor


def feeds(extent=(64, 96), lengths=(3, 5, 2), seed=0):
    random = np.random.default_rng(seed)
    words = [int(token) for length in lengths for token in (*random.integers(1040, 2048, length - 1), 1012)]
    made = phrases(lengths)
    image = random.integers(0, 256, (1, 3, 96, 96)).astype(np.float32)
    return Feeds(
        torch.tensor([[101, *words, 102]], dtype=torch.int32), torch.from_numpy(made.position_ids),
        torch.from_numpy(made.attends), torch.from_numpy(image), torch.tensor(extent, dtype=torch.int32),
    )  # fmt: skip


class OfThePhoto(torch.nn.Module):
    """A projection of transformers that sees the photo's cells alone, as if nothing were around them."""

    def __init__(self, project, stride, extent):
        super().__init__()
        self.project, self.cells = project, [-(-side // stride) for side in extent]

    def forward(self, source):
        height, width = self.cells
        made, padded = self.project(source[..., :height, :width]), self.project(source)
        out = torch.zeros_like(padded)
        out[..., : made.shape[2], : made.shape[3]] = made
        return out


def upstream(model, given):
    """Transformers' logits [1, Q, L] and boxes [1, Q, 4] of the padded image, less what padding does to the photo.

    Its projections see the photo alone, and boxes say where queries are as shares of the photo.
    """
    model, shared = deepcopy(model), modeling_grounding_dino.encode_sinusoidal_position_embedding
    projects = model.model.input_proj_vision
    for level, (project, stride) in enumerate(zip(projects, (8, 16, 16), strict=True)):
        projects[level] = OfThePhoto(project, stride, given.extent.tolist())
    height, width = (-(-side // 8) / 12 for side in given.extent.tolist())
    ratios = torch.tensor([width, height, width, height])

    def of_the_photo(places, **options):
        return shared(places / ratios if places.shape[-1] == 4 else places, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modeling_grounding_dino, "encode_sinusoidal_position_embedding", of_the_photo)
        return answered(model, given, 96, 96)


def unpadded(model, given):
    """Transformers' own, as its processor gives it a single photo: with nothing around it."""
    return answered(model, given, *given.extent.tolist())


def answered(model, given, height, width):
    """Transformers' answer to the upper left part of the image."""
    mask = torch.zeros(1, height, width, dtype=torch.long)
    mask[:, : given.extent[0], : given.extent[1]] = 1
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    tokens, image = given.tokens.long(), given.image[..., :height, :width]
    answer = model(
        pixel_values=(image / 255 - mean) / deviation * mask[:, None], pixel_mask=mask, input_ids=tokens,
        token_type_ids=torch.zeros_like(tokens), attention_mask=torch.ones_like(tokens),
    )  # fmt: skip
    return answer.logits[..., : tokens.shape[1]].numpy(), answer.pred_boxes.numpy()


def apart(came, expected):
    """How far two sets of boxes with logits are apart, rows matched: near ties of TopK may order them otherwise."""
    rows = [np.concatenate([logits[0] / np.abs(expected[0]).max(), boxes[0]], -1) for logits, boxes in (came, expected)]
    distance = np.abs(rows[0][:, None] - rows[1][None]).max(-1)
    return distance[linear_sum_assignment(distance)].max()


@pytest.mark.parametrize("extent", EXTENTS)
def test_both_stages_are_transformers_own_model(extent, model, stages):
    given, (text, detector) = feeds(extent), stages
    features = text(given.tokens, given.position_ids, given.attends)
    outputs = detector(given.image, given.extent, features, given.position_ids, given.attends)
    assert apart([each.numpy() for each in outputs], upstream(model, given)) < TOLERANCE


@pytest.mark.parametrize("extent", [(64, 64), (64, 96), (96, 64)])
def test_a_photo_that_ends_with_swins_windows_is_answered_as_without_padding(extent, model, stages):
    given, (text, detector) = feeds(extent), stages
    features = text(given.tokens, given.position_ids, given.attends)
    outputs = detector(given.image, given.extent, features, given.position_ids, given.attends)
    assert apart([each.numpy() for each in outputs], unpadded(model, given)) < TOLERANCE


def test_features_of_a_photo_that_ends_with_swins_windows_are_transformers_without_padding(model):
    given, detector, seen = feeds((64, 64)), GroundDetector(model, model.image_size), []
    hooks = [each.register_forward_hook(lambda *told: seen.append(told[2])) for each in model.model.input_proj_vision]
    unpadded(model, given)
    for hook in hooks:
        hook.remove()
    size = given.extent.float()
    inside = [detector._inside(level, size) for level in range(3)]
    made = detector._features(given.image, size, inside)[torch.cat([cells.flatten() for cells in inside])]
    expected = torch.cat([each[0].flatten(1).T for each in seen])
    assert (made - expected).abs().max() < TOLERANCE * 3  # sums of float32 in another order


def test_what_lies_outside_the_photo_has_no_influence(stages):
    given, (text, detector) = feeds((37, 90)), stages
    features = text(given.tokens, given.position_ids, given.attends)
    other = given.image.clone()
    other[:, :, 37:], other[..., 90:] = 7, 250
    runs = [
        detector(image, given.extent, features, given.position_ids, given.attends) for image in (given.image, other)
    ]
    assert all(torch.equal(one, two) for one, two in zip(*runs, strict=True))


def test_a_phrase_has_the_same_features_whatever_stands_beside_it(stages):
    whole = feeds(lengths=(3, 5, 2))
    together = stages[0](whole.tokens, whole.position_ids, whole.attends)[0]
    alone = phrases([5])
    tokens = torch.cat((whole.tokens[:, :1], whole.tokens[:, 4:9], whole.tokens[:, -1:]), 1)
    single = stages[0](tokens, torch.from_numpy(alone.position_ids), torch.from_numpy(alone.attends))[0]
    # of equal sums in another order
    assert (single[1:6] - together[4:9]).abs().max() < 1e-5 and (single[[0, -1]] - together[[0, -1]]).abs().max() < 1e-5


def test_gathers_are_grid_samples(model):
    levels, count, random = Levels(96, 64, 8, 3), 4, torch.Generator().manual_seed(0)
    values = torch.randn(count, levels.total, 8, generator=random)
    places = torch.rand(11, count, 3, 4, 2, generator=random) * 1.4 - 0.2
    places[0, 0, 0, :3] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-3.0, 0.5]])
    shares = torch.rand(11, count, 3, 4, generator=random)
    expected, begin = torch.zeros(11, count, 8), 0
    for level, (height, width) in enumerate(levels.shapes):
        part = values[:, begin : begin + height * width].transpose(1, 2).unflatten(-1, (height, width))
        grid = 2 * places[:, :, level].transpose(0, 1) - 1
        found = torch.nn.functional.grid_sample(part, grid, align_corners=False)  # [heads, c, Q, points]
        expected += torch.einsum("hcqp,qhp->qhc", found, shares[:, :, level])
        begin += height * width
    assert (Sampler(levels, count)(values, places, shares) - expected.flatten(1)).abs().max() < 1e-5


# Engines


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("lengths", [(2,), (3, 5, 2), (9, 4, 4, 12)])
def test_engines_are_transformers_own_model(backend, lengths, micro_dino_bundle, micro_dino_networks):
    bundle, model = Bundle.load(micro_dino_bundle), micro_dino_networks.models["detector"]
    given = feeds(lengths=lengths, extent=(50, 96))
    arrays = {name: value.numpy() for name, value in given._asdict().items()}
    for stage in ("ground_text", "ground_detector"):
        with open_stage(bundle, stage, "fp32", backend) as session:
            arrays |= session.run({name: arrays[name] for name in session.contract.input_names})
    # a logit is a sum over 32 channels of what two layers of float32 have rounded: 1e-4 of the largest
    assert apart((arrays["logits"], arrays["boxes"]), upstream(model, given)) < 1e-4


# Checkpoints


def test_a_checkpoint_as_transformers_publishes_it_is_read(model, tmp_path):
    from safetensors.torch import load_file

    model.save_pretrained(tmp_path)  # transformers 5 writes the names of 4
    tensors = load_file(tmp_path / "model.safetensors")
    assert "model.backbone.conv_encoder.model.encoder.layers.0.blocks.0.attention.self.query.weight" in tensors
    fitted = fit(tensors, build(NAME), reading(NAME), NAME, "file")
    own = model.state_dict()
    assert fitted.state.keys() == own.keys() and all(torch.equal(fitted.state[name], own[name]) for name in own)


def test_every_tensor_of_it_is_needed(model, tmp_path):
    from safetensors.torch import load_file

    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = "model.encoder.layers.0.fusion_layer.vision_param"
    with pytest.raises(WeightsError, match=f"1 missing \\({lost}"):
        fit({name: each for name, each in tensors.items() if name != lost}, build(NAME), reading(NAME), NAME, "file")
    with pytest.raises(WeightsError, match="1 unexpected"):
        fit({**tensors, "model.other.weight": torch.zeros(3)}, build(NAME), reading(NAME), NAME, "file")


def test_copies_of_the_shared_head_that_differ_are_refused(model):
    from ovdeploy.export.models.checkpoints.naming import ValuesError, rename

    name = "bbox_embed.{}.layers.0.bias"
    naming = reading(NAME).namings[0]
    one, other = torch.ones(32), torch.zeros(32)
    assert len(rename({name.format(0): one}, naming).tensors) == 4
    with pytest.raises(ValuesError):
        rename({name.format(0): one, name.format(1): other}, naming)
