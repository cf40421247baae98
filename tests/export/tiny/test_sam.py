"""Training the miniature SAM: coarse results, prompts, losses."""

import types

import numpy as np
import pytest
import torch
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

from ovdeploy.export.models.weights import load_model
from ovdeploy.export.reference.training_free.sam_encoder import SamEncoder
from ovdeploy.export.tiny.dataset import Drawn
from ovdeploy.export.tiny.sam_affinity import NEAR, OWN, _scores, _squared_distance, _tokens, near, within
from ovdeploy.export.tiny.sam_coarse import draw_coarse, half_resolution, split_parts
from ovdeploy.export.tiny.sam_detail import FINE, DetailHead, detail_loss
from ovdeploy.export.tiny.sam_losses import mask_losses, measured_iou
from ovdeploy.export.tiny.sam_prompts import GRID, LEAST, MASK, _meant, halved, prompt_scene
from ovdeploy.export.tiny.sam_task import STAGES, SamTask
from ovdeploy.export.tiny.sam_user import boxes_of, corrections
from ovdeploy.export.tiny.train import BUILDERS
from ovdeploy.runtime.labelling.regions import find_regions
from ovdeploy.runtime.recipe.recipe import load_recipe
from ovdeploy.runtime.scenes import FIRST_TEST_SEED, draw_scene

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def scenes():
    drawn = [draw_scene(seed) for seed in range(4)]
    return [Drawn(scene.photo, scene.labels, list(scene.captions)) for scene in drawn]


def test_a_label_map_falls_into_connected_parts():
    labels = np.array([[7, 2, 7], [7, 2, 7], [2, 7, 2], [2, 2, 2], [7, 2, 2]], np.uint8)
    parts = split_parts(labels)
    assert sorted(parts.labels) == [2, 7, 7], "corners connect"
    assert (parts.labels[parts.ids] == labels).all()
    assert split_parts(np.zeros((1, 1), np.uint8)).labels.tolist() == [0]


def test_a_coarse_result_is_wrong_but_not_all_wrong(scenes):
    for seed in range(4):
        labels = scenes[seed].labels
        planes = draw_coarse(split_parts(labels), np.random.default_rng(seed))
        present = np.unique(labels)
        assert planes.shape == (len(present), labels.shape[0] // 2, labels.shape[1] // 2)
        np.testing.assert_allclose(planes.sum(axis=0), 1, atol=1e-5)
        truth = labels[1::2, 1::2][: planes.shape[1], : planes.shape[2]]
        assert 0.5 < (present[half_resolution(planes).labels] == truth).mean() < 0.99


def test_a_coarse_result_of_one_name_is_that_name():
    assert (draw_coarse(split_parts(np.full((9, 4), 3, np.uint8)), np.random.default_rng(0)) == 1).all()


def test_a_region_means_the_part_that_fills_it_and_others_of_its_name(scenes):
    """Two parts of one name and one of another; a region over all three, and a small one."""
    labels = np.zeros((40, 60), np.uint8)
    labels[10:20, 4:14] = labels[10:20, 16:26] = 5
    parts = split_parts(labels)
    named = np.zeros((20, 30), int)
    named[5:10, 2:13] = 1
    named[15:18, 20:24] = 1
    planes = np.stack([named == 0, named == 1]).astype(np.float32)
    regions = find_regions(half_resolution(planes), 0.2, 1)
    meant = _meant(parts, regions)
    assert parts.labels[meant[1]].tolist() == [5, 5], "the large region of the second class"
    assert parts.labels[meant[2]].tolist() == [0], "the small one lies on the ground"


def test_prompts_look_like_the_pipelines(scenes):
    prompted = prompt_scene(scenes[0], np.random.default_rng(0), 5, mirrored=False)
    scale = load_recipe("tiny").parameters.mask_prompt_scale
    inside = prompted.inside
    assert prompted.targets.shape == (5, MASK, MASK)
    assert prompted.targets.min() >= 0 and prompted.targets.max() <= 1 + 1e-6, "means, rounded"
    assert prompted.masks.shape == (5, 1, MASK, MASK) and prompted.token_labels.shape == (GRID, GRID)
    assert prompted.masks.max() <= scale
    assert (prompted.masks[prompted.masks > 0] >= LEAST * scale).all()
    assert (prompted.boxes[:, :2] <= prompted.points).all() and (prompted.points <= prompted.boxes[:, 2:]).all()
    assert (prompted.image[:, inside == 0] == 0).all()
    assert (prompted.targets.amax(dim=(1, 2)) > 0.5).all(), "every region has pixels of its own"


def test_half_the_side_shows_the_same(scenes):
    whole = prompt_scene(scenes[0], np.random.default_rng(0), 3, mirrored=True)
    half = halved(whole)
    assert half.image.shape == (3, GRID * 8, GRID * 8) and half.token_labels.shape == (GRID // 2, GRID // 2)
    assert half.targets.shape == (3, MASK // 2, MASK // 2) and half.masks.shape == (3, 1, MASK // 2, MASK // 2)
    assert half.boxes is whole.boxes, "in the pixels of the whole side"
    torch.testing.assert_close(half.targets.mean(), whole.targets.mean())
    torch.testing.assert_close(half.image.mean(), whole.image.mean())


@pytest.mark.parametrize("size", [MASK, MASK // 2])
def test_corrections_point_at_what_is_wrong(size):
    targets, logits = torch.zeros(2, size, size), torch.full((2, size, size), -1.0)
    targets[0, 10, 20] = 1  # missed
    logits[1, 30, 40] = 1  # too much
    points, kinds = corrections(logits, targets, np.random.default_rng(0))
    cell = 4 * MASK / size
    centres = [[(x + 0.5) * cell - 0.5, (y + 0.5) * cell - 0.5] for x, y in ((20, 10), (40, 30))]
    assert points.tolist() == centres and kinds.tolist() == [1, 0]
    assert measured_iou(logits, targets).tolist() == [0, 0]


@pytest.mark.parametrize("size", [MASK, MASK // 2])
def test_a_users_box_lies_around_the_mask(size):
    targets = torch.zeros(2, size, size)
    targets[0, size // 4 : size // 2, size // 8 : size // 2] = 1  # the second is empty: its box is the whole frame
    boxes = boxes_of(targets, np.random.default_rng(0))
    side = 4 * MASK
    expected = torch.tensor([[side / 8, side / 4, side / 2, side / 2], [0, 0, side, side]])
    sides = (expected[:, 2:] - expected[:, :2]).repeat(1, 2)
    assert ((boxes - expected).abs() <= 0.2 * sides).all(), "four standard deviations and more"


def test_mask_losses_fall_with_every_pixel_that_becomes_right():
    targets = torch.zeros(MASK, MASK)
    targets[40:60, 50:80] = 1
    right = 8 * targets - 4
    wrong = [right.clone() for _ in range(3)]
    wrong[0][45, 60] *= -1  # inside, near, far
    wrong[1][62, 60] *= -1
    wrong[2][120, 10] *= -1
    losses = mask_losses(torch.stack([right, *wrong]), targets.expand(4, -1, -1))
    assert losses.shape == (4,) and losses[1] > losses[0] and losses[2] > losses[3] > losses[0]
    assert torch.isfinite(mask_losses(torch.zeros(1, MASK, MASK), torch.zeros(1, MASK, MASK))).all()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: f"until {stage.until}")
def test_every_stage_trains_all_of_sam(stage, scenes, monkeypatch):
    """But for embeddings of prompts that were not drawn. One image a part, with two prompts, will do."""
    small = stage._replace(until=1, images=stage.parts, regions=2, users=2, corrections=1)
    monkeypatch.setattr("ovdeploy.export.tiny.sam_task.STAGES", (small,))
    torch.manual_seed(0)
    model = BUILDERS["sam"]()
    task = SamTask(model, scenes)
    parts = task.parts(np.random.default_rng(0), 0)
    assert len(parts) == stage.parts
    for part in parts:
        losses = part()
        assert losses.keys() == {"mask", "iou", "features", "values", "attention", *(["detail"] * stage.detail)}
        torch.stack(list(losses.values())).sum().backward()
    learned = [model.image_encoder, model.prompt_encoder.mask_downscaling, model.mask_decoder]
    for part in (*learned, task.beside) if stage.detail else learned:
        idle = [name for name, value in part.named_parameters() if value.grad is None]
        assert not idle, idle


def test_attention_scores_are_sams():
    """The scores of some rows, against segment_anything's own function for all."""
    attention = BUILDERS["sam"]().image_encoder.blocks[-1].attn
    torch.nn.init.normal_(attention.rel_pos_h)
    torch.nn.init.normal_(attention.rel_pos_w)
    qkv = torch.randn(GRID * GRID, 3, attention.num_heads, 32)
    every, some = torch.arange(GRID * GRID), torch.tensor([0, 33, 700, 1023])
    queries, keys = qkv[:, 0].transpose(0, 1), qkv[:, 1].transpose(0, 1)
    size = (GRID, GRID)
    expected = add_decomposed_rel_pos(
        (queries * attention.scale) @ keys.transpose(1, 2),
        queries,
        attention.rel_pos_h,
        attention.rel_pos_w,
        size,
        size,
    )
    scores = _scores(attention, qkv, some, every)
    torch.testing.assert_close(scores, expected[:, some], rtol=1e-4, atol=1e-4)  # sums in another order


FALL = np.exp(-1 / (2 * NEAR**2))
"""What a neighbour weighs against the token itself."""
OTHER = (1 - OWN) * FALL / (1 + FALL)
"""The share that should go to it if there is only one."""
HEADS = {
    "as wanted": ([[1 - OTHER, OTHER, 0]], 0, 0),
    "as wanted by the mean": ([[1, 0, 0], [1 - 2 * OTHER, 2 * OTHER, 0]], 0, 0),
    "itself": ([[1, 0, 0]], 0, (1 - OTHER) * np.log(1 - OTHER) + OTHER * np.log(OTHER / 1e-9)),  # nothing is 1e-9 here
    "everywhere": ([[1 / 3] * 3], np.log(3 / 2), np.log(3) + (1 - OTHER) * np.log(1 - OTHER) + OTHER * np.log(OTHER)),
    "one head elsewhere": ([[1 - OTHER, OTHER, 0], [0, 0, 1]], -np.log(2e-9) / 2, np.log(2)),
}
"""Attention of a token to itself, to its neighbour of the same name, and to its neighbour of another; what `within` and
`near` make of it."""


@pytest.mark.parametrize("heads", HEADS)
def test_attention_is_judged_by_where_it_goes(heads):
    shares, expected_within, expected_near = HEADS[heads]
    attention, same = torch.tensor(shares)[:, None].clamp(min=1e-9).log(), torch.tensor([[True, True, False]])
    squared = torch.tensor([[0, 1, 1]])
    assert float(within(attention, same, squared)) == pytest.approx(expected_within, abs=1e-6)
    assert float(near(attention, same, squared)) == pytest.approx(expected_near, abs=1e-6)


def test_a_token_alone_with_its_name_should_attend_to_itself():
    assert float(near(torch.tensor([[[0.0, -20]]]), torch.tensor([[True, False]]), torch.tensor([[0, 1]]))) == 0


def test_distances_are_those_of_the_grid():
    places = np.stack(np.unravel_index([0, 5, 17, 23], (4, 6)), axis=1)
    expected = ((places[:2, None] - places) ** 2).sum(-1)
    tokens = torch.tensor([0, 5, 17, 23])
    assert _squared_distance(tokens[:2], tokens, 6).tolist() == expected.tolist()


def test_tokens_are_drawn_evenly_over_names():
    labels = torch.tensor([-1] * 10 + [3] * 990 + [5] * 10)
    drawn = labels[_tokens(labels, np.random.default_rng(0))]
    assert (drawn >= 0).all() and 0.4 < (drawn == 5).float().mean() < 0.6


def test_parts_of_a_batch_show_different_scenes_and_share_weights(scenes, monkeypatch):
    monkeypatch.setattr(
        "ovdeploy.export.tiny.sam_task.STAGES", (STAGES[-1]._replace(regions=2, users=2, corrections=1),)
    )
    model = BUILDERS["sam"]()
    task = SamTask(model, scenes)
    first, second = ({name: float(loss.detach()) for name, loss in part().items()} for part in task.parts(RNG(0), 0))
    assert first != second
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.layers[-1].bias += 1
    for teacher in task._teachers:  # what a checkpoint restores must reach all
        assert all(own is theirs for own, theirs in zip(model.buffers(), teacher.model.buffers(), strict=True))
    changed = [{name: float(loss.detach()) for name, loss in part().items()} for part in task.parts(RNG(0), 0)]
    for before, after in zip((first, second), changed, strict=True):
        assert {name for name in before if before[name] != after[name]} == {"iou"}


def test_cells_have_the_labels_of_their_pixels(scenes):
    """Against one pixel after another."""
    prompted, labels = prompt_scene(scenes[1], RNG(0), 1, mirrored=False), scenes[1].labels
    h, w = int(prompted.inside[:, 0].sum()), int(prompted.inside[0].sum())
    for side, grid in ((GRID, prompted.token_labels), (MASK, prompted.cell_labels)):
        step = 4 * MASK // side
        for y, x in RNG(1).integers(0, side, (50, 2)):
            inside = (y + 1) * step <= h and (x + 1) * step <= w
            row, column = int((y + 0.5) * step * labels.shape[0] / h), int((x + 0.5) * step * labels.shape[1] / w)
            assert int(grid[y, x]) == (labels[row, column] if inside else -1)


class Said(DetailHead):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, features):
        return self.logits.expand(len(features), -1)


def test_the_detail_loss_asks_which_cells_have_their_tokens_name():
    """A head that says what it is told, and one token whose right half has another name."""
    centres, cells = torch.full((GRID, GRID), -1), torch.full((MASK, MASK), -1)
    centres[3, 5] = 7
    block = cells[3 * FINE : 4 * FINE, 5 * FINE : 6 * FINE]
    block[:] = 7
    block[:, FINE // 2 :] = 2
    item = types.SimpleNamespace(token_labels=centres, cell_labels=cells)
    features = torch.zeros(1, 64, GRID, GRID)
    right = torch.tensor([20.0] * (FINE // 2) + [-20.0] * (FINE - FINE // 2)).repeat(FINE)
    for said, expected in ((right, 0), (torch.zeros(FINE**2), np.log(2)), (-right, 20)):
        assert float(detail_loss(Said(said), features, [item])) == pytest.approx(expected, abs=1e-6)
    block[:] = 7
    assert float(detail_loss(Said(torch.zeros(FINE**2)), features, [item])) == pytest.approx(0.2 * np.log(2))


def test_the_packages_affinity_is_a_tokens_own_in_part_and_its_names_for_the_rest():
    """On a scene that was not trained on. An affinity that is all its own would hide what breaks one that is not."""
    module, _ = load_model("sam", load_recipe("tiny").models["sam"])
    drawn = draw_scene(FIRST_TEST_SEED)
    item = prompt_scene(Drawn(drawn.photo, drawn.labels, []), RNG(0), 1, mirrored=False)
    image = item.image + (1 - item.inside) * module.pixel_mean
    labels = item.token_labels.flatten()
    valid = labels >= 0
    with torch.no_grad():
        _, affinity = SamEncoder(module)(image[None], valid.float(), torch.tensor(1.2), torch.tensor(True))
    within_name = (affinity * (labels[:, None] == labels)).sum(1)[valid]
    assert 0.3 < float(affinity.diagonal()[valid].median()) < 0.7
    assert float(within_name.mean()) > 0.95
