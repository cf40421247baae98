"""Instances of masks against scikit-image, one class at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from skimage.measure import label, regionprops

from ovdeploy.runtime import PhotoError
from ovdeploy.runtime.answers.components import find_instances
from support.answers import random_result, result_of


def plainly(result, min_area):
    """Class, area, box, score and mask of every component, one after the other."""
    found = []
    for index in range(int(result.background), len(result.names)):
        parts = label(result.mask == index, connectivity=2)
        for part in regionprops(parts):
            inside = parts == part.label
            if part.area >= min_area:
                y0, x0, y1, x1 = part.bbox
                score = result.scores[inside].astype(np.float64).mean()
                found.append((index, int(part.area), (x0, y0, x1 - 1, y1 - 1), score, inside))
    return found


def check(result, min_area=1):
    found, expected = result.instances(min_area=min_area), plainly(result, min_area)
    assert len(found) == len(expected)
    for number, (instance, (index, area, box, score, inside)) in enumerate(zip(found, expected, strict=True)):
        assert instance.id == number + 1
        assert (instance.class_index, instance.class_name) == (index, result.names[index])
        assert (instance.area, instance.box_xyxy) == (area, box)
        assert instance.score == pytest.approx(score, rel=1e-12)
        np.testing.assert_array_equal(instance.mask.decode(), inside)
        assert coco.toBbox(instance.mask.to_coco()).tolist() == instance.box_xywh
        assert coco.area(instance.mask.to_coco()) == instance.area


@settings(max_examples=200, deadline=None)
@given(
    mask=arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.integers(0, 3)),
    background=st.booleans(),
    min_area=st.integers(0, 5),
)
def test_instances_are_the_8_connected_components_of_each_class(mask, background, min_area):
    check(result_of(mask, 4, background=background), min_area)


@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1), (97, 64)])
@pytest.mark.parametrize("classes", [1, 2, 9])
def test_thin_and_noisy_masks_too(hw, classes):
    check(random_result(hw, classes))


def test_every_pixel_is_in_one_instance_without_a_background():
    result = random_result((64, 80), 4)
    assert sum(instance.area for instance in result.instances()) == 64 * 80
    assert sum(instance.mask.decode().astype(int) for instance in result.instances()).max() == 1


def test_a_class_for_every_pixel():
    mask = np.arange(65_000, dtype=np.uint16).reshape(250, 260)
    found = result_of(mask).instances()
    assert [instance.class_index for instance in found] == list(range(65_000))
    assert all(instance.area == 1 for instance in found)
    for instance in found[::1000]:
        np.testing.assert_array_equal(instance.mask.decode(), mask == instance.class_index)


def test_more_instances_than_there_can_be_are_refused():
    y, x = np.indices((600, 700))
    mask = (y * 3 + x) % 7  # no pixel has a neighbour of its class
    with pytest.raises(PhotoError, match="min_area"):
        find_instances(mask.astype(np.uint16), np.ones(mask.shape, np.float32), tuple("abcdefg"), background=False)
