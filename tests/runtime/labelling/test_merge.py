import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.labelling.merge import merge
from ovdeploy.runtime.labelling.regions import find_regions
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.parameters import Parameters
from support.planes import coarse_of, half_of, likeliest

SIDE, MASK = 64, 16  # SAM's frame and its low-resolution masks
DIMENSIONS = Dimensions(clip_patch=16, feature_grid=(6, 6), embedding=8, context_length=77, sam_side=SIDE, sam_grid=4)
ERROR = 2e-5  # of logits up to 20: two products with float32 tables, a few times 2⁻²⁴ · 20

both_ways = pytest.mark.parametrize("as_published", [True, False])


def frame_of(photo_hw):
    parameters = Parameters(short_side=96, crop=96, stride=48, max_long_side=200)
    return plan_photo(photo_hw, parameters, METHODS["trident"], DIMENSIONS).sam


def random_coarse(photo_hw, classes=3, seed=0, threshold=0.0):
    """Smooth probabilities, so that there are regions of some size."""
    coarse_grid = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, classes, 4, 5)))
    logits = F.interpolate(coarse_grid, photo_hw, mode="bilinear", align_corners=False)[0]
    return likeliest((2 * logits).softmax(dim=0).float().numpy(), threshold)


def random_logits(count, seed=0, bias=0.0):
    return (np.random.default_rng(seed).standard_normal((count, 1, MASK, MASK)) * 4 + bias).astype(np.float32)


def upsampled(low_res, frame, photo_hw):
    logits = torch.from_numpy(low_res).double()
    for hw in ((SIDE, SIDE), frame.padded_hw, photo_hw):
        logits = F.interpolate(logits, hw, mode="bilinear", align_corners=False)
        if hw == (SIDE, SIDE):
            logits = logits[..., : frame.valid_hw[0], : frame.valid_hw[1]]
    return logits[:, 0]


def plain_merge(coarse, regions, low_res, iou, frame, threshold, as_published):
    """docs/architecture.md's merge, an array a class: labels, scores, and where rounding cannot change the label."""
    hw = coarse.labels.shape
    probabilities, labels = (
        torch.from_numpy(coarse.planes.probabilities).double(),
        torch.from_numpy(coarse.labels).long(),
    )
    valid = iou > np.float32(threshold)
    if not valid.any():
        return labels.numpy(), probabilities.amax(dim=0).numpy(), np.ones(hw, bool)
    logits, scores, sure = (
        upsampled(low_res, frame, hw),
        torch.zeros_like(probabilities),
        torch.ones(hw, dtype=torch.bool),
    )
    for index in range(len(probabilities)):
        members = np.flatnonzero(valid & (regions.class_index == index))
        if len(members):
            best = logits[members].amax(dim=0)
            scores[index] = torch.where((logits[members] > 0).any(dim=0), probabilities[index] * best.sigmoid(), 0)
            sure &= best.abs() > ERROR
    if len(scores) > 1:
        first, second = scores.topk(2, dim=0).values
        sure &= (first - second > ERROR) | (first == 0)
    labels = torch.where(scores.amax(dim=0) > 0, scores.argmax(dim=0), labels)
    union = torch.from_numpy(np.isin(regions.ids, np.flatnonzero(~valid)))[None, None].double()
    inside = F.interpolate(union, hw, mode="nearest")[0, 0] > 0
    raised = torch.where(inside, torch.maximum(scores, probabilities), scores)
    compared = (raised if as_published else scores).amax(dim=0)
    beaten = inside & (probabilities.amax(dim=0) > compared)
    labels = torch.where(beaten, torch.from_numpy(coarse.labels).long(), labels)
    if not as_published:
        sure &= ~inside | ((probabilities.amax(dim=0) - compared).abs() > ERROR)
    return labels.numpy(), raised.amax(dim=0).numpy(), sure.numpy()


def read(coarse):
    return coarse.labels, coarse.scores, coarse.planes.probabilities


def check(coarse, regions, low_res, iou, *, as_published, threshold=0.5):
    frame = frame_of(coarse.labels.shape)
    iou = np.asarray(iou, np.float32)
    before = [array.copy() for array in (*read(coarse), low_res)]
    merged = merge(coarse, regions, low_res, iou, frame, iou_threshold=threshold, as_published=as_published)
    for array, copy in zip((*read(coarse), low_res), before, strict=True):
        np.testing.assert_array_equal(array, copy)  # the inputs are left alone
    labels, scores, sure = plain_merge(coarse, regions, low_res, iou, frame, threshold, as_published)
    assert merged.labels.dtype == np.uint16
    assert merged.scores.dtype == np.float32
    np.testing.assert_array_equal(merged.labels[sure], labels[sure])
    # a score jumps by half of a probability where a logit changes its sign; elsewhere it is steadier than the logit
    np.testing.assert_allclose(merged.scores[sure], scores[sure], atol=ERROR)
    assert (~sure).sum() <= 2 + 0.02 * sure.size
    return merged


def case(photo_hw, *, classes=3, seed=0, threshold=0.0, min_area=1):
    coarse = random_coarse(photo_hw, classes, seed, threshold)
    return coarse, find_regions(coarse.half, 0.0, min_area)


def some_failed(count):
    return np.where(np.arange(count) % 2, 0.9, 0.1)


@both_ways
@pytest.mark.parametrize("photo_hw", [(2, 3), (1, 150), (150, 1), (31, 47), (64, 64), (75, 101), (101, 75)])
@pytest.mark.parametrize("iou_of", [np.zeros, np.ones, some_failed, lambda n: 0.9 - some_failed(n)])
def test_merging_is_the_plain_transcription(photo_hw, iou_of, as_published):
    coarse, regions = case(photo_hw)
    check(coarse, regions, random_logits(len(regions)), iou_of(len(regions)), as_published=as_published)


@settings(max_examples=40, deadline=None)
@given(
    photo_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    classes=st.integers(1, 5),
    seed=st.integers(0, 1000),
    probability_threshold=st.sampled_from([0.0, 0.6]),
    bias=st.sampled_from([-3.0, 0.0, 3.0]),
    as_published=st.booleans(),
)
def test_any_size_classes_and_estimates(photo_hw, classes, seed, probability_threshold, bias, as_published):
    coarse, regions = case(photo_hw, classes=classes, seed=seed, threshold=probability_threshold)
    iou = np.random.default_rng(seed).random(len(regions))
    check(coarse, regions, random_logits(len(regions), seed, bias), iou, as_published=as_published)


@both_ways
def test_a_photo_of_one_pixel(as_published):
    coarse = likeliest(np.float32([0.4, 0.6]).reshape(2, 1, 1))
    regions = find_regions(coarse.half, 0.0, 1)
    merged = check(coarse, regions, np.full((1, 1, MASK, MASK), 2, np.float32), [0.9], as_published=as_published)
    assert merged.labels.item() == 1
    assert merged.scores.item() == pytest.approx(0.6 / (1 + np.exp(-2)), abs=1e-6)  # float32


@both_ways
def test_without_a_valid_region_the_coarse_result_is_returned(as_published):
    coarse, regions = case((31, 47), threshold=0.5)
    iou = np.full(len(regions), 0.5)  # as large as the threshold is not above it
    merged = check(coarse, regions, random_logits(len(regions), bias=9), iou, as_published=as_published)
    np.testing.assert_array_equal(merged.labels, coarse.labels)
    np.testing.assert_array_equal(merged.scores, coarse.scores)


@both_ways
def test_where_nothing_is_positive_the_coarse_label_stays_and_the_score_is_zero(as_published):
    coarse, regions = case((31, 47))
    low_res = -np.abs(random_logits(len(regions))) - 0.1
    merged = check(coarse, regions, low_res, np.ones(len(regions)), as_published=as_published)
    np.testing.assert_array_equal(merged.labels, coarse.labels)
    assert not merged.scores.any()


@both_ways
def test_labels_that_a_probability_threshold_made_background_stay_as_they_are_coarse(as_published):
    coarse, regions = case((75, 101), threshold=0.55)
    assert 0.1 < (coarse.labels == 0).mean() < 0.9
    iou = np.ones(len(regions))
    iou[np.argmax(regions.area)] = 0
    check(coarse, regions, random_logits(len(regions), bias=1), iou, as_published=as_published)


@both_ways
def test_of_classes_with_equal_scores_the_first_wins(as_published):
    labels = np.ones((8, 8), np.uint16)
    labels[:, :4] = 2
    probabilities = np.float32([0.1, 0.45, 0.45]).reshape(3, 1, 1).repeat(8, 1).repeat(8, 2)
    coarse = coarse_of(labels, probabilities)
    regions = find_regions(coarse.half, 0.0, 1)
    low_res = np.full((2, 1, MASK, MASK), 1.5, np.float32)
    merged = merge(coarse, regions, low_res, np.ones(2), frame_of((8, 8)), iou_threshold=0.5, as_published=as_published)
    assert (merged.labels == 1).all()


@both_ways
def test_a_failed_region_keeps_its_label_as_meant_and_loses_it_as_published(as_published):
    labels = np.zeros((16, 16), np.uint16)
    labels[:, 8:] = 1
    probabilities = np.where(labels == np.arange(2)[:, None, None], 0.7, 0.3).astype(np.float32)
    coarse = coarse_of(labels, probabilities)
    regions = find_regions(coarse.half, 0.0, 1)
    low_res = np.full((2, 1, MASK, MASK), 9, np.float32)  # class 0's mask covers the photo; class 1's is not believed
    merged = check(coarse, regions, low_res, [0.9, 0.1], as_published=as_published)
    np.testing.assert_array_equal(merged.labels, 0 if as_published else labels)
    np.testing.assert_array_equal(merged.scores[:, 8:], np.float32(0.7))


@both_ways
def test_the_best_mask_of_a_class_counts_not_the_last(as_published):
    coarse = likeliest(np.full((1, 16, 16), 1, np.float32), 0.0)
    halved = coarse.planes.halved.copy()
    halved[0, :, 4] = 0.1  # two regions, left and right
    regions = find_regions(half_of(coarse.half.labels, halved), 0.2, 1)
    low_res = np.stack([np.full((1, MASK, MASK), value, np.float32) for value in (3, 1)])
    merged = check(coarse, regions, low_res, [0.9, 0.9], as_published=as_published)
    np.testing.assert_allclose(merged.scores, 1 / (1 + np.exp(-3)), atol=1e-6)  # float32
