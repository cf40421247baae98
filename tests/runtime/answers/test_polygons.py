"""Polygons by shapely and by filling them again; what is made of them, by each format's own rules."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from shapely import contains_xy
from shapely.geometry import MultiPolygon, Polygon, shape

from ovdeploy.runtime import ParameterError
from ovdeploy.runtime.answers.simplify import filled
from support.answers import random_result, result_of

MASKS = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 1))


def shapely_of(polygons):
    return MultiPolygon([Polygon(each.exterior, each.holes) for each in polygons])


def pixels_of(polygons, hw):
    """The pixels whose middles lie inside, as shapely says."""
    y, x = np.indices(hw) + 0.5
    return contains_xy(shapely_of(polygons), x, y)


def blobs(rng, hw, classes=2, noise=0.0):
    """Smooth shapes with holes and necks, and specks."""
    step = int(rng.integers(3, 14))
    small = rng.random((hw[0] // step + 2, hw[1] // step + 2)).astype(np.float32)
    field = cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.clip(field * classes, 0, classes - 1).astype(np.uint16)
    return np.where(rng.random(hw) < noise, rng.integers(0, classes, hw), mask)


@settings(max_examples=150, deadline=None)
@given(mask=MASKS)
def test_without_tolerance_polygons_are_valid_and_exactly_the_pixels(mask):
    for instance, polygons in result_of(mask, 2).to_polygons():
        found = shapely_of(polygons)
        assert found.is_valid and found.area == instance.area
        np.testing.assert_array_equal(pixels_of(polygons, mask.shape), instance.mask.decode())
        for polygon in polygons:
            corners = np.concatenate([polygon.exterior, *polygon.holes])
            x0, y0, x1, y1 = instance.box_xyxy
            assert (corners >= (x0, y0)).all() and (corners <= (x1 + 1, y1 + 1)).all()
            for ring in (polygon.exterior, *polygon.holes):
                assert ((np.roll(ring, -1, axis=0) == ring).sum(axis=1) == 1).all()  # along the edges of pixels
                turns = np.roll(ring, -1, axis=0) - np.roll(ring, 1, axis=0)
                assert (turns != 0).all()  # no corner is on a straight line


@pytest.mark.parametrize("tolerance", [0.5, 1, 2, 5, 40])
def test_simpler_polygons_are_valid_and_nearly_the_mask(tolerance):
    rng = np.random.default_rng(int(tolerance * 10))
    full = simple = 0
    for index in range(12):
        hw = tuple(int(side) for side in rng.integers(1, 60, 2))
        result = result_of(blobs(rng, hw, 3, noise=0.02 * (index % 3)), 3)
        exact = result.to_polygons()
        for (instance, polygons), (_, pixels) in zip(result.to_polygons(tolerance=tolerance), exact, strict=True):
            assert shapely_of(polygons).is_valid
            inside, filled_again = instance.mask.decode(), pixels_of(polygons, hw)
            if tolerance <= 1:
                assert (inside & filled_again).sum() >= 0.99 * (inside | filled_again).sum()
            moved = max(shapely_of(polygons).boundary.distance(ring) for ring in _corners(pixels))
            assert moved <= tolerance + 1e-9
            full += sum(len(ring) for each in pixels for ring in (each.exterior, *each.holes))
            simple += sum(len(ring) for each in polygons for ring in (each.exterior, *each.holes))
    assert simple < full


def _corners(polygons):
    from shapely import points

    return [point for each in polygons for ring in (each.exterior, *each.holes) for point in points(ring)]


def test_a_large_shape_has_a_twentieth_of_its_corners_at_2_pixels():
    mask = cv2.circle(np.zeros((800, 800), np.uint8), (400, 400), 380, 1, -1)
    result = result_of(cv2.circle(mask, (300, 420), 150, 0, -1), 2, background=True)
    exact, simple = (result.to_polygons(tolerance=tolerance)[0].polygons[0] for tolerance in (0, 2))
    assert len(simple.exterior) * 20 < len(exact.exterior) and len(simple.holes) == 1


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_filling_follows_the_middles_of_pixels(mask):
    for instance, polygons in result_of(mask, 2).to_polygons():
        made = [_part(each) for each in polygons]
        np.testing.assert_array_equal(filled(made, mask.shape), instance.mask.decode())


def _part(polygon):
    from ovdeploy.runtime.answers.outline import Part, Ring

    ring = lambda points: Ring(points, np.zeros(len(points), bool))  # noqa: E731
    return Part(ring(polygon.exterior), tuple(map(ring, polygon.holes)))


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf"), 10**6])
def test_a_tolerance_that_is_none_is_refused(tolerance):
    with pytest.raises(ParameterError, match="tolerance"):
        random_result().to_polygons(tolerance=tolerance)


NORTH_UP = (0.5, 0.0, 600_000.0, 0.0, -0.5, 5_800_000.0)
TURNED = (0.3, 0.4, 10.0, -0.4, 0.3, 20.0)


@pytest.mark.parametrize("transform", [None, NORTH_UP, TURNED, [*NORTH_UP, 0, 0, 1]])
def test_geojson_has_the_pixels_where_the_transform_puts_them(transform):
    result = random_result((9, 14), 3)
    a, b, c, d, e, f = (transform or (1, 0, 0, 0, 1, 0))[:6]
    found = result.to_geojson(transform)
    assert found["type"] == "FeatureCollection" and found["schema"] == "ovdeploy/geojson/1"
    y, x = np.indices(result.mask.shape) + 0.5
    again = np.zeros(result.mask.shape, int)
    for feature in found["features"]:
        geometry = shape(feature["geometry"])
        assert geometry.is_valid
        again[contains_xy(geometry, a * x + b * y + c, d * x + e * y + f)] += feature["properties"]["class_index"] + 1
        parts = [geometry] if geometry.geom_type == "Polygon" else geometry.geoms
        assert all(part.exterior.is_ccw and not any(hole.is_ccw for hole in part.interiors) for part in parts)
    np.testing.assert_array_equal(again, result.mask + 1)


@pytest.mark.parametrize("transform", [[1, 2, 3], [1, 2, 0, 2, 4, 0], [1, 0, 0, 0, 1, float("nan")]])
def test_a_transform_that_is_none_is_refused(transform):
    with pytest.raises(ParameterError, match="transform"):
        random_result().to_geojson(transform)


def ultralytics_fills(text, hw):
    """Each line's mask, as Ultralytics' `polygon2mask` makes it."""
    height, width = hw
    for line in text.splitlines():
        number, *shares = line.split()
        points = np.array(shares, np.float32).reshape(-1, 2) * np.float32([width, height])
        assert len(points) >= 3 and (points >= 0).all() and (points < (width, height)).all()
        mask = np.zeros(hw, np.uint8)
        cv2.fillPoly(mask, np.asarray([points], dtype=np.int32), color=1)
        yield int(number), mask.astype(bool), points


@settings(max_examples=150, deadline=None)
@given(mask=MASKS, background=st.booleans())
def test_ultralytics_fills_a_line_to_the_mask_again(mask, background):
    result = result_of(mask, 2, background=background)
    found = list(ultralytics_fills(result.to_yolo(), mask.shape))
    for (number, inside, points), instance in zip(found, result.instances(), strict=True):
        assert number == instance.class_index - background
        np.testing.assert_array_equal(inside, instance.mask.decode())
        rounded = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(rounded, [np.round(points).astype(np.int32)], color=1)  # as supervision does
        np.testing.assert_array_equal(rounded, inside)


@pytest.mark.parametrize("hw", [(1, 1000), (211, 3001), (1000, 1)])
def test_large_photos_labels_are_exact_too(hw):
    rng = np.random.default_rng(1)
    result = result_of(blobs(rng, hw, 2), 2)
    found = list(ultralytics_fills(result.to_yolo(min_area=50), hw))
    for (_, inside, _), instance in zip(found, result.instances(min_area=50), strict=True):
        np.testing.assert_array_equal(inside, instance.mask.decode())


@settings(max_examples=150, deadline=None)
@given(mask=MASKS)
def test_labelmes_rings_hold_the_same_pixels(mask):
    """Its polygons have no holes; what they cut off is counted by the even-odd rule."""
    result = result_of(mask, 2)
    again = np.zeros(mask.shape, int)
    y, x = np.indices(mask.shape) + 0.5
    for told in result.to_labelme(tolerance=0)["shapes"]:
        points = np.array(told["points"])
        inside = np.zeros(mask.shape, bool)
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        again[inside] += result.names.index(told["label"]) + 1
    np.testing.assert_array_equal(again, mask + 1)


def test_labelme_names_the_photo_and_groups_what_belongs_together():
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    found = result_of(mask, 2, background=True, path="photos/a.jpg").to_labelme()
    assert found["imagePath"] == "a.jpg" and found["imageData"] is None
    assert (found["imageHeight"], found["imageWidth"]) == (3, 3)
    assert [told["group_id"] for told in found["shapes"]] == [1, 1]
