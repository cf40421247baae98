import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.parameters import Parameters

# Tables are computed in float64 and rounded to float32, so each weight is off by 2⁻²⁵ at most; the values they are
# applied to are below 6, and the weights of a row sum to 1 on either axis.
ROUNDING = 1e-6

SAM = {"sam_side": 1024, "sam_grid": 64}
FULL = Parameters(short_side=448, crop=336, stride=224)


def dimensions(*, patch=16, grid=(21, 21), **sam):
    return Dimensions(clip_patch=patch, feature_grid=grid, embedding=8, context_length=77, **sam)


def bilinear(planes, hw):
    """[..., h, w] → [..., H, W]."""
    flat = planes.reshape(1, -1, *planes.shape[-2:])
    return F.interpolate(flat, hw, mode="bilinear", align_corners=False).reshape(*planes.shape[:-2], *hw)


def average(windows, starts, hw):
    """Sum windows [Wy, Wx, D, h, w] over their places and divide by how many lie there: [D, H, W]."""
    h, w = windows.shape[-2:]
    total, count = torch.zeros(windows.shape[2], *hw, dtype=torch.float64), torch.zeros(hw)
    for (i, y), (j, x) in itertools.product(enumerate(starts[0]), enumerate(starts[1])):
        total[:, y : y + h, x : x + w] += windows[i, j]
        count[y : y + h, x : x + w] += 1
    assert (count > 0).all()
    return total / count


def apply_tables(rows, columns, windows):
    """[H, Wy, h] and [W, Wx, w] applied to [Wy, Wx, D, h, w]: [D, H, W]."""
    return np.einsum("yih,xjw,ijdhw->dyx", rows, columns, windows.numpy(), optimize=True)


def random_windows(plan, grid):
    shape = (*plan.windows_grid, 2, *grid)
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape))


@pytest.mark.parametrize(
    ("photo_hw", "crop", "stride", "short_side", "patch", "grid", "ratio"),
    [
        ((1, 1), 96, 64, 128, 16, (6, 6), 1),
        ((1, 4000), 96, 64, 128, 16, (6, 6), 1),
        ((4000, 1), 96, 64, 128, 16, (12, 12), 2),
        ((150, 203), 96, 64, 128, 16, (6, 6), 1),
        ((150, 203), 96, 64, 128, 16, (12, 12), 2),  # DINO's patch is half of CLIP's
        ((203, 150), 96, 32, 100, 16, (7, 7), 1),  # 7/6: resized down to 6
        ((203, 150), 256, 128, 300, 16, (24, 24), 2),  # 24/16 = 1.5 rounds up: resized to 32
        ((300, 300), 112, 56, 200, 14, (20, 20), 3),  # 20/8 = 2.5 rounds up, not to even: resized to 24
        ((300, 300), 96, 96, 200, 16, (2, 2), 1),  # coarser than CLIP: never less than one cell per patch
        ((97, 400), 96, 80, 100, 16, (12, 12), 2),  # the last windows are shifted back
    ],
)
def test_splice_tables_are_a_plain_splice_and_a_resize(photo_hw, crop, stride, short_side, patch, grid, ratio):
    parameters = Parameters(short_side=short_side, crop=crop, stride=stride)
    plan = plan_photo(photo_hw, parameters, METHODS["trident"], dimensions(patch=patch, grid=grid, **SAM))
    windows = random_windows(plan, grid)
    cells = bilinear(windows, (crop // patch * ratio,) * 2)
    starts = [[start // patch * ratio for start in axis] for axis in (plan.row_starts, plan.column_starts)]
    image = average(cells, starts, tuple(side // patch * ratio for side in plan.aligned_hw))
    expected = bilinear(image, plan.sam.tokens_hw)
    assert plan.splice_rows.dtype == plan.splice_columns.dtype == np.float32
    np.testing.assert_allclose(
        apply_tables(plan.splice_rows, plan.splice_columns, windows), expected, atol=ROUNDING * 2
    )


@pytest.mark.parametrize("photo_hw", [(1, 1), (1, 300), (42, 64), (150, 203)])
def test_logits_of_features_methods_are_resized_from_tokens_to_the_photo(photo_hw):
    plan = plan_photo(photo_hw, FULL, METHODS["trident"], dimensions(**SAM))
    logits = torch.from_numpy(np.random.default_rng(0).standard_normal((3, *plan.sam.tokens_hw)))
    resized = plan.photo.rows.dense().astype(float) @ logits.numpy() @ plan.photo.columns.dense().astype(float).T
    np.testing.assert_allclose(resized, bilinear(logits, photo_hw), atol=ROUNDING)


@pytest.mark.parametrize(
    ("photo_hw", "crop", "stride", "short_side", "grid"),
    [
        ((1, 1), 64, 32, 96, (4, 4)),
        ((1, 700), 64, 48, 96, (4, 4)),
        ((700, 1), 64, 48, 96, (8, 8)),
        ((150, 203), 64, 32, 96, (4, 4)),
        ((203, 150), 64, 50, 97, (9, 9)),  # a stride and a size that are no multiples of the patch
        ((40, 60), 64, 32, 48, (4, 4)),  # narrower than the crop: brought up to it
    ],
)
def test_photo_tables_enlarge_every_window_average_and_resize(photo_hw, crop, stride, short_side, grid):
    parameters = Parameters(short_side=short_side, crop=crop, stride=stride, refine=False)
    plan = plan_photo(photo_hw, parameters, METHODS["proxyclip"], dimensions(grid=grid))
    windows = random_windows(plan, grid)
    pixels = average(bilinear(windows, (crop, crop)), (plan.row_starts, plan.column_starts), plan.aligned_hw)
    rows = plan.photo.rows.dense().reshape(photo_hw[0], -1, grid[0])
    columns = plan.photo.columns.dense().reshape(photo_hw[1], -1, grid[1])
    np.testing.assert_allclose(apply_tables(rows, columns, windows), bilinear(pixels, photo_hw), atol=ROUNDING * 2)
    assert plan.splice_rows is None
    assert plan.splice_columns is None
    assert plan.sam is None


@pytest.mark.parametrize(
    ("photo_hw", "padded", "valid", "tokens"),
    [
        ((1, 1), (16, 16), (1024, 1024), (64, 64)),
        ((1, 4000), (16, 4000), (4, 1024), (1, 64)),
        ((4001, 1), (4016, 16), (1024, 4), (64, 1)),
        ((400, 600), (400, 608), (674, 1024), (42, 64)),
        ((600, 400), (608, 400), (1024, 674), (64, 42)),
        ((1024, 1024), (1024, 1024), (1024, 1024), (64, 64)),
    ],
)
def test_the_photo_in_sams_frame(photo_hw, padded, valid, tokens):
    frame = plan_photo(photo_hw, FULL, METHODS["trident"], dimensions(**SAM)).sam
    assert (frame.padded_hw, frame.valid_hw, frame.tokens_hw) == (padded, valid, tokens)
    assert frame.mask_rows.shape == (photo_hw[0], 256)
    assert frame.mask_columns.shape == (photo_hw[1], 256)


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("photo_hw", [(1, 1), (1, 300), (150, 203), (203, 150), (224, 448)])
def test_mask_tables_are_sams_postprocessing(photo_hw, patch):
    small = {"sam_side": 256, "sam_grid": 16}
    parameters = Parameters(short_side=128, crop=patch * 6, stride=patch * 3)
    frame = plan_photo(photo_hw, parameters, METHODS["trident"], dimensions(patch=patch, **small)).sam
    low_res = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 64, 64)))
    valid = bilinear(low_res, (256, 256))[:, : frame.valid_hw[0], : frame.valid_hw[1]]
    expected = bilinear(bilinear(valid, frame.padded_hw), photo_hw)
    resized = frame.mask_rows.dense().astype(float) @ low_res.numpy() @ frame.mask_columns.dense().astype(float).T
    np.testing.assert_allclose(resized, expected, atol=ROUNDING)


def test_features_methods_align_and_logits_methods_do_not():
    trident = plan_photo((400, 533), FULL, METHODS["trident"], dimensions(**SAM))
    proxyclip = plan_photo((400, 533), FULL, METHODS["proxyclip"], dimensions())
    assert trident.resized_hw == proxyclip.resized_hw == (448, 597)
    assert (trident.aligned_hw, proxyclip.aligned_hw) == ((464, 608), (448, 597))
    assert (trident.row_starts, trident.column_starts) == ((0, 128), (0, 224, 272))
    assert (proxyclip.row_starts, proxyclip.column_starts) == ((0, 112), (0, 224, 261))


def test_a_stride_that_is_no_multiple_of_the_patch_is_refused_where_features_are_spliced():
    parameters = Parameters(crop=336, stride=100)
    with pytest.raises(ParameterError, match=r"stride=100 .* 16"):
        plan_photo((400, 600), parameters, METHODS["trident"], dimensions(**SAM))
    plan = plan_photo((400, 600), parameters, METHODS["proxyclip"], dimensions())
    assert plan.row_starts == (0, 100, 112)


@pytest.mark.parametrize("method", ["trident", "proxyclip"])
def test_a_stride_that_leaves_gaps_between_windows_is_refused(method):
    with pytest.raises(ParameterError, match="stride"):
        plan_photo((400, 1200), Parameters(crop=336, stride=352), METHODS[method], dimensions(**SAM))


def test_a_plan_is_computed_once_per_size():
    first = plan_photo((31, 47), FULL, METHODS["trident"], dimensions(**SAM))
    assert plan_photo((31, 47), FULL, METHODS["trident"], dimensions(**SAM)) is first
    assert plan_photo((47, 31), FULL, METHODS["trident"], dimensions(**SAM)) is not first
