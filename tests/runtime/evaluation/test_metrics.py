"""Figures from label maps, against loops over pixels and scikit-image's contingency table."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.metrics import contingency_table

from ovdeploy.runtime.datasets import IGNORED
from ovdeploy.runtime.evaluation.metrics import class_accuracy, class_iou, confusion, mean_known, pixel_accuracy

CLASSES = 5


@st.composite
def label_maps(draw):
    """Labels with ignored pixels, and a mask, of one shape."""
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    labels = draw(arrays(np.uint16, shape, elements=st.sampled_from([*range(CLASSES), IGNORED])))
    return labels, draw(arrays(np.uint16, shape, elements=st.integers(0, CLASSES - 1)))


def plain_iou(labels, mask, index):
    """One class's IoU by sets of pixels."""
    counted = [(y, x) for y, x in np.ndindex(labels.shape) if labels[y, x] != IGNORED]
    there = {at for at in counted if labels[at] == index}
    called = {at for at in counted if mask[at] == index}
    return len(there & called) / len(there | called) if there | called else math.nan


@given(label_maps())
def test_confusion_is_a_count_of_pixels(maps):
    labels, mask = maps
    expected = np.zeros((CLASSES, CLASSES), int)
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] != IGNORED:
            expected[labels[y, x], mask[y, x]] += 1
    assert confusion(labels, mask, CLASSES).tolist() == expected.tolist()


@given(label_maps())
def test_confusion_is_scikit_images_contingency_table(maps):
    labels, mask = maps
    table = contingency_table(labels, mask, ignore_labels=[IGNORED], normalize=False).toarray()
    expected = np.zeros((CLASSES, CLASSES), int)
    expected[: table.shape[0], : table.shape[1]] = table[:CLASSES]
    assert confusion(labels, mask, CLASSES).tolist() == expected.tolist()


@given(label_maps())
def test_iou_is_that_of_sets_of_pixels(maps):
    labels, mask = maps
    found = class_iou(confusion(labels, mask, CLASSES))
    np.testing.assert_equal(found, [plain_iou(labels, mask, index) for index in range(CLASSES)])


@given(st.lists(label_maps(), min_size=1, max_size=4))
def test_counts_add_up_over_photos(photos):
    apart = sum(confusion(labels, mask, CLASSES) for labels, mask in photos)
    flat = [np.concatenate([each[which].reshape(1, -1) for each in photos], axis=1) for which in (0, 1)]
    assert apart.tolist() == confusion(*flat, CLASSES).tolist()


@given(label_maps(), st.permutations(range(CLASSES)))
def test_names_do_not_matter(maps, order):
    labels, mask = maps
    rename = np.array([*order])
    renamed = np.where(labels == IGNORED, IGNORED, rename[np.minimum(labels, CLASSES - 1)])
    before, after = confusion(labels, mask, CLASSES), confusion(renamed, rename[mask], CLASSES)
    np.testing.assert_equal(class_iou(after)[rename], class_iou(before))
    np.testing.assert_equal(class_accuracy(after)[rename], class_accuracy(before))
    np.testing.assert_equal(pixel_accuracy(after), pixel_accuracy(before))


@given(label_maps())
def test_figures_lie_in_their_range_and_iou_never_passes_accuracy(maps):
    counts = confusion(*maps, CLASSES)
    iou, accuracy = class_iou(counts), class_accuracy(counts)
    known = ~np.isnan(accuracy)
    assert (iou[known] <= accuracy[known]).all() and (iou[known] >= 0).all() and (accuracy[known] <= 1).all()
    assert np.isnan(iou[~known]).sum() + (iou[~known] == 0).sum() == (~known).sum(), "called, but not there: 0"


def test_a_mask_that_is_the_labels_is_perfect():
    labels = np.array([[0, 1], [3, IGNORED]], np.uint16)
    counts = confusion(labels, np.minimum(labels, 4), CLASSES)
    np.testing.assert_equal(class_iou(counts), [1, 1, np.nan, 1, np.nan])
    assert pixel_accuracy(counts) == mean_known(class_iou(counts)) == 1


@pytest.mark.parametrize("labels", [np.zeros((0, 0), np.uint16), np.full((2, 2), IGNORED, np.uint16)])
def test_without_counted_pixels_nothing_is_known(labels):
    counts = confusion(labels, np.zeros(labels.shape, np.uint16), CLASSES)
    assert not counts.any()
    assert all(math.isnan(value) for value in (mean_known(class_iou(counts)), pixel_accuracy(counts)))


@pytest.mark.parametrize(
    ("labels", "mask", "told"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), "differ in shape"),
        (np.full((2, 2), 5), np.zeros((2, 2)), "not among the 5"),
        (np.zeros((2, 2)), np.full((2, 2), 5), "not among the 5"),
        (np.zeros((2, 2)), np.full((2, 2), -1), "not among the 5"),
    ],
)
def test_indices_that_are_no_classes_are_refused(labels, mask, told):
    with pytest.raises(ValueError, match=told):
        confusion(labels.astype(np.int64), mask.astype(np.int64), CLASSES)


def test_many_pixels_do_not_overflow():
    counts = np.full((2, 2), 2**40, np.int64)
    assert class_iou(counts).tolist() == [1 / 3, 1 / 3]
