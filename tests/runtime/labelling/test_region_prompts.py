import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.geometry.sizes import half_size
from ovdeploy.runtime.labelling.region_prompts import Prompts, make_prompts, prompt_sizes
from ovdeploy.runtime.labelling.regions import find_regions
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.parameters import Parameters
from support.planes import half_of

SIZES = [(1, 1), (1, 400), (400, 1), (2, 3), (150, 203), (203, 150), (400, 600), (333, 332)]

KINDS = ("points", "boxes", "mask_prompts")


def frame_of(photo_hw, side=1024, patch=16):
    sizes = Dimensions(
        clip_patch=patch, feature_grid=(6, 6), embedding=8, context_length=77, sam_side=side, sam_grid=side // 16
    )
    parameters = Parameters(short_side=100, crop=6 * patch, stride=3 * patch, max_long_side=200)
    return plan_photo(photo_hw, parameters, METHODS["trident"], sizes).sam


def random_half(photo_hw, classes=3, seed=0, block=9):
    """Labels in blocks, with probabilities [C, dh, dw] that do not follow them."""
    rng = np.random.default_rng(seed)
    h, w = half_size(photo_hw)
    labels = rng.integers(0, classes, (-(-h // block), -(-w // block))).repeat(block, 0).repeat(block, 1)[:h, :w]
    probabilities = rng.random((classes, h, w), np.float32)
    probabilities[labels[0, 0], 0, 0] = 1  # so that there is a region at any threshold
    return labels.astype(np.uint16), probabilities


def half_up(x):
    return math.floor(x + 0.5)


def plain_prompts(regions, half, photo_hw, frame, side, settings):
    """docs/architecture.md's prompts, region by region: points, boxes, resized probabilities (−1 as padding), masks."""
    dh, dw = half[0].shape
    frame_h, frame_w = frame.valid_hw
    mask_h, mask_w = (max(1, half_up(n / 4)) for n in frame.valid_hw)
    if settings.as_published:
        k, m = side / max(dh, dw), side / 4 / max(photo_hw)
        frame_h, frame_w = max(1, half_up(dh * k)), max(1, half_up(dw * k))
        mask_h, mask_w = max(1, half_up(photo_hw[0] * m)), max(1, half_up(photo_hw[1] * m))
    points, boxes, resized, masks = [], [], [], []
    for index, (x, y), (x0, y0, x1, y1) in zip(regions.class_index, regions.point_xy, regions.box_xyxy, strict=True):
        points.append((x * frame_w / dw, y * frame_h / dh))
        boxes.append((x0 * frame_w / dw, y0 * frame_h / dh, x1 * frame_w / dw, y1 * frame_h / dh))
        plane = torch.from_numpy(half[1][index])[None, None].double()
        plane = F.interpolate(plane, (mask_h, mask_w), mode="bilinear", align_corners=False)
        mask = torch.where(plane > settings.region_threshold, plane * settings.mask_prompt_scale, 0.0)
        padding = (0, side // 4 - mask_w, 0, side // 4 - mask_h)
        resized.append(F.pad(plane, padding, value=-1.0)[0].numpy())
        masks.append(F.pad(mask, padding)[0].numpy())
    return np.array(points), np.array(boxes), np.array(resized), np.array(masks)


def check(photo_hw, half, settings, *, side=1024, patch=16, batch=1000):
    frame = frame_of(photo_hw, side, patch)
    regions = find_regions(half_of(*half), settings.region_threshold, settings.min_area)
    assert len(regions), "a case without regions tests nothing"
    prompts = make_prompts(regions, half[1].__getitem__, photo_hw, frame, side // 4, settings)
    batches = list(prompts.batches(batch, KINDS))
    feeds = {name: np.concatenate([feed[name] for feed in batches]) for name in batches[0]}
    points, boxes, resized, masks = plain_prompts(regions, half, photo_hw, frame, side, settings)
    assert {array.dtype for array in feeds.values()} == {np.dtype(np.float32)}
    assert feeds["mask_prompts"].shape == (len(regions), 1, side // 4, side // 4)
    # coordinates up to 1024 are rounded to float32 once
    np.testing.assert_allclose(feeds["points"], points, atol=1e-4)
    np.testing.assert_allclose(feeds["boxes"], boxes, atol=1e-4)
    # OpenCV resizes in float32: positions up to 300 are known to 2⁻²⁴ · 300, and neighbours differ by up to 1
    error = 3e-5
    sure = np.abs(resized - settings.region_threshold) > error
    assert sure.mean() > 0.99
    np.testing.assert_allclose(feeds["mask_prompts"][sure], masks[sure], atol=error * settings.mask_prompt_scale)
    return feeds


@pytest.mark.parametrize("as_published", [True, False])
@pytest.mark.parametrize("photo_hw", SIZES)
def test_prompts_are_those_of_the_plain_transcription(photo_hw, as_published):
    settings = Parameters(as_published=as_published, min_area=1, region_threshold=0.3)
    check(photo_hw, random_half(photo_hw, block=30), settings)


@pytest.mark.parametrize("as_published", [True, False])
@pytest.mark.parametrize("patch", [14, 16])
def test_other_patches_thresholds_and_scales(patch, as_published):
    settings = Parameters(as_published=as_published, min_area=20, region_threshold=0.0, mask_prompt_scale=1.0)
    feeds = check((150, 203), random_half((150, 203)), settings, side=256, patch=patch)
    assert feeds["mask_prompts"].max() > 0.9


@settings(max_examples=30, deadline=None)
@given(
    photo_hw=st.tuples(st.integers(1, 90), st.integers(1, 90)), as_published=st.booleans(), seed=st.integers(0, 1000)
)
def test_any_photo_size(photo_hw, as_published, seed):
    parameters = Parameters(as_published=as_published, min_area=1, region_threshold=0.0)
    check(photo_hw, random_half(photo_hw, seed=seed), parameters, side=256)


@pytest.mark.parametrize(
    ("photo_hw", "as_published", "frame_hw", "mask_hw"),
    [
        ((1, 1), True, (1024, 1024), (256, 256)),
        ((1, 1), False, (1024, 1024), (256, 256)),
        ((1, 4000), True, (1, 1024), (1, 256)),  # half of it is 1×2000: 0.512 rounds to 1, and 0.064 would to nothing
        ((1, 4000), False, (4, 1024), (1, 256)),
        ((400, 600), True, (683, 1024), (171, 256)),  # 682.67, 170.67: as if SAM saw 400×600
        ((400, 600), False, (674, 1024), (169, 256)),  # it saw 400×608: 673.68, and 168.5 rounds up
        ((512, 1024), False, (512, 1024), (128, 256)),
    ],
)
def test_sizes_that_prompts_are_scaled_to(photo_hw, as_published, frame_hw, mask_hw):
    assert prompt_sizes(photo_hw, half_size(photo_hw), frame_of(photo_hw), 256, as_published) == (frame_hw, mask_hw)


@pytest.mark.parametrize("as_published", [True, False])
def test_a_photo_of_one_pixel_is_prompted_at_the_origin(as_published):
    half = np.zeros((1, 1), np.uint16), np.ones((1, 1, 1), np.float32)
    feeds = check((1, 1), half, Parameters(as_published=as_published, min_area=1))
    assert not feeds["points"].any()
    assert not feeds["boxes"].any()
    np.testing.assert_allclose(feeds["mask_prompts"], 0.005, rtol=1e-6)  # one float32 rounding


def test_mask_prompts_keep_what_is_above_the_threshold_only():
    probabilities = np.float32([[[0.25, 0.25, 0.75, 0.75]] * 4])
    half, parameters = (np.zeros((4, 4), np.uint16), probabilities), Parameters(region_threshold=0.25)
    prompts = make_prompts(
        find_regions(half_of(*half), 0.25, 1), half[1].__getitem__, (8, 8), frame_of((8, 8), 256), 64, parameters
    )
    assert (prompts.class_masks[0, :, :24] == 0).all()  # as large as the threshold is not above it
    np.testing.assert_allclose(prompts.class_masks[0, :, 40:], 0.75 * 0.005, rtol=1e-6)  # one float32 rounding


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_batches_hold_all_regions_in_order(size):
    photo_hw, parameters = (90, 120), Parameters(min_area=1, region_threshold=0.0)
    half = random_half(photo_hw)
    whole = check(photo_hw, half, parameters, side=256)
    parts = check(photo_hw, half, parameters, side=256, batch=size)
    count = len(whole["points"])
    assert count % 5 or count % 3, "some batch should be partly filled"
    for name, array in whole.items():
        np.testing.assert_array_equal(parts[name], array)
    frame, regions = frame_of(photo_hw, 256), find_regions(half_of(*half), 0.0, 1)
    lengths = [
        len(f["boxes"])
        for f in make_prompts(regions, half[1].__getitem__, photo_hw, frame, 64, parameters).batches(size, KINDS)
    ]
    assert lengths == [min(size, count - start) for start in range(0, count, size)]


def test_batches_hold_the_kinds_that_the_decoder_takes():
    prompts = Prompts(np.zeros((3, 2)), np.zeros((3, 4)), np.zeros((1, 8, 8)), np.zeros(3, int))
    for kinds in ({"points"}, {"boxes", "mask_prompts"}):
        assert all(set(feeds) == kinds for feeds in prompts.batches(2, kinds))
