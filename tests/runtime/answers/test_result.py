import json
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ovdeploy.runtime.answers.region import Region, photo_regions
from ovdeploy.runtime.datasets.labels import read_values
from ovdeploy.runtime.geometry.sizes import half_size
from ovdeploy.runtime.labelling.regions import NO_REGION, Regions, find_regions
from ovdeploy.runtime.pictures import overlay
from ovdeploy.runtime.pictures.colours import colours_of
from ovdeploy.runtime.pictures.legend import LEAST_WIDTH
from ovdeploy.runtime.pictures.overlay import draw_overlay
from support.answers import random_result
from support.planes import half_of


def region_at(half_hw, box_xyxy, point_xy=None):
    x0, y0, x1, y1 = box_xyxy
    return Regions(
        class_index=np.array([0]),
        area=np.array([(x1 - x0 + 1) * (y1 - y0 + 1)]),
        box_xyxy=np.array([box_xyxy]),
        score=np.array([0.5]),
        point_xy=np.array([point_xy or (x0, y0)]),
        ids=np.broadcast_to(np.int32(NO_REGION), half_hw),
    )


def on_photo(photo_hw, box_xyxy, point_xy=None):
    regions = region_at(half_size(photo_hw), box_xyxy, point_xy)
    (region,) = photo_regions(regions, np.array([0.9], np.float32), 0.8, ("cup",), photo_hw)
    return region


@pytest.mark.parametrize(
    ("photo_hw", "box", "point", "photo_box", "photo_point"),
    [
        ((1, 1), (0, 0, 0, 0), (0, 0), (0, 0, 0, 0), (0, 0)),
        ((2, 2), (0, 0, 0, 0), (0, 0), (0, 0, 1, 1), (1, 1)),
        ((3, 3), (0, 0, 0, 0), (0, 0), (0, 0, 2, 2), (1, 1)),
        ((1, 400), (10, 0, 19, 0), (15, 0), (20, 0, 39, 0), (31, 0)),
        ((400, 600), (10, 20, 29, 49), (12, 30), (20, 40, 59, 99), (25, 61)),
        ((29, 27), (12, 13, 12, 13), (12, 13), (24, 26, 26, 28), (25, 27)),  # 13 · (27/13) is above 27 in floats
        ((5, 7), (1, 0, 1, 1), (1, 1), (2, 0, 4, 4), (3, 3)),  # 7/3 · (1, 2) = 2.33, 4.67; 5/2 · (0, 2) = 0, 5
    ],
)
def test_regions_are_told_in_the_photos_pixels(photo_hw, box, point, photo_box, photo_point):
    region = on_photo(photo_hw, box, point)
    assert region.box_xyxy == photo_box
    assert region.point_xy == photo_point


def test_a_region_of_the_whole_photo_has_the_photos_box_and_area():
    wrong = []
    for side in range(1, 1000):
        half = half_size((side, side))[0]
        region = on_photo((side, side), (0, 0, half - 1, half - 1))
        if region.box_xyxy != (0, 0, side - 1, side - 1) or region.area != side * side:
            wrong.append((side, region.box_xyxy, region.area))
    assert wrong == []


@settings(max_examples=300, deadline=None)
@given(data=st.data(), photo_hw=st.tuples(st.integers(1, 700), st.integers(1, 700)))
def test_boxes_are_exact_and_inside_and_points_lie_in_their_boxes(data, photo_hw):
    (dh, dw), (h, w) = half_size(photo_hw), photo_hw
    x0, x1 = sorted(data.draw(st.tuples(st.integers(0, dw - 1), st.integers(0, dw - 1))))
    y0, y1 = sorted(data.draw(st.tuples(st.integers(0, dh - 1), st.integers(0, dh - 1))))
    point = data.draw(st.tuples(st.integers(x0, x1), st.integers(y0, y1)))
    region = on_photo(photo_hw, (x0, y0, x1, y1), point)
    sx, sy = Fraction(w, dw), Fraction(h, dh)
    last = [math.ceil((x1 + 1) * sx) - 1, math.ceil((y1 + 1) * sy) - 1]
    assert region.box_xyxy == (math.floor(x0 * sx), math.floor(y0 * sy), *last)
    left, top, right, bottom = region.box_xyxy
    assert 0 <= left <= region.point_xy[0] <= right < w
    assert 0 <= top <= region.point_xy[1] <= bottom < h


def test_regions_carry_their_class_and_what_sam_made_of_them():
    labels = np.zeros((4, 6), np.uint16)
    labels[:, 3:] = 1
    probabilities = np.float32([0.25, 0.5]).reshape(2, 1, 1).repeat(4, 1).repeat(6, 2)
    regions = find_regions(half_of(labels, probabilities), 0.0, 1)
    told = photo_regions(regions, np.float32([0.8, 0.81]), 0.8, ("cup", "table"), (8, 13))
    assert [region.class_name for region in told] == ["cup", "table"]
    assert [region.class_index for region in told] == [0, 1]
    assert [region.score for region in told] == [0.25, 0.5]
    assert [region.refined for region in told] == [False, True]  # as large as the threshold is not above it
    assert [region.area for region in told] == [52, 52]  # 12 half-resolution pixels of 2 · 13/6 each
    nothing = find_regions(half_of(labels, probabilities), 0.9, 1)
    assert photo_regions(nothing, np.zeros(0, np.float32), 0.8, ("cup", "table"), (8, 13)) == ()


def test_the_dictionary_counts_every_pixel_once():
    result = random_result()
    told = result.to_dict()
    assert told["size"] == {"height": 9, "width": 14}
    assert (told["schema"], told["path"], told["bundle"]) == ("ovdeploy/result/1", None, "")
    assert sum(entry["pixels"] for entry in told["classes"]) == 9 * 14
    assert sum(entry["share"] for entry in told["classes"]) == pytest.approx(1)
    total = sum(entry["mean_score"] * entry["pixels"] for entry in told["classes"])
    assert total == pytest.approx(result.scores.sum(dtype=np.float64))
    for entry in told["classes"]:
        inside = result.mask == entry["index"]
        assert entry["name"] == result.names[entry["index"]]
        assert entry["pixels"] == inside.sum()
        assert entry["mean_score"] == pytest.approx(result.scores[inside].mean(dtype=np.float64))
    assert told["timings_ms"] == {"decode": 1.235, "total": 2.0}


def test_a_class_without_pixels_is_told_with_zeros():
    result = random_result((1, 1), classes=4)
    absent = [entry for entry in result.to_dict()["classes"] if entry["index"] != result.mask.item()]
    assert len(absent) == 3
    assert all(entry["pixels"] == entry["share"] == entry["mean_score"] == 0 for entry in absent)


@pytest.mark.parametrize("hw", [(1, 1), (1, 60), (9, 14)])
@pytest.mark.parametrize(("classes", "mode"), [(1, "L"), (256, "L"), (257, "I;16"), (3000, "I;16")])
def test_a_saved_mask_holds_the_class_indices(tmp_path, hw, classes, mode):
    result = random_result(hw, classes)
    result.mask.reshape(-1)[-1] = classes - 1
    result.save_mask(tmp_path / "new" / "mask.png")
    with Image.open(tmp_path / "new" / "mask.png") as image:
        assert image.format == "PNG"
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(image), result.mask)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mask.png"]  # no temporary file is left


@pytest.mark.parametrize("classes", [3, 256, 257, 65_535])
def test_opencv_reads_a_saved_masks_indices(tmp_path, classes):
    result = random_result((40, 50), classes)
    result.save_mask(tmp_path / "mask.png")
    read = cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, result.mask)
    if classes <= 256:  # of 16 bits OpenCV's default keeps the upper eight
        as_colours = cv2.imread(str(tmp_path / "mask.png"))
        np.testing.assert_array_equal(as_colours, np.repeat(result.mask[..., None], 3, 2))


def test_a_saved_mask_is_read_as_a_datasets_labels(tmp_path):
    result = random_result((40, 50), 300)
    result.save_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_values(tmp_path / "mask.png", 10_000), result.mask)


@pytest.mark.parametrize("hw", [(1, 1), (1, 60), (60, 1), (48, 64)])
def test_the_overlay_has_the_photos_size_and_a_legend_below(hw):
    result = random_result(hw)
    assert result.overlay(legend=False).size == hw[::-1]
    with_legend = result.overlay()
    assert with_legend.width == max(hw[1], LEAST_WIDTH), "a narrow photo has white beside it, so that names fit"
    assert with_legend.height > hw[0]
    drawn = np.asarray(with_legend)[: hw[0]]
    np.testing.assert_array_equal(drawn[:, : hw[1]], np.asarray(result.overlay(legend=False)))
    assert (drawn[:, hw[1] :] == 255).all()


def test_the_overlay_is_the_photo_or_the_classes_colour_at_the_ends_of_opacity():
    result = random_result((9, 14))
    result.mask[:] = 1  # one class: no line between classes
    np.testing.assert_array_equal(np.asarray(result.overlay(opacity=0, legend=False)), result.photo)
    full = np.asarray(result.overlay(opacity=1, legend=False))
    np.testing.assert_array_equal(full, np.broadcast_to(colours_of(result.names)[1], full.shape))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_saved_overlay_can_be_opened(tmp_path, suffix):
    result = random_result((48, 64))
    result.save_overlay(tmp_path / f"overlay.{suffix}")
    with Image.open(tmp_path / f"overlay.{suffix}") as image:
        assert image.size == result.overlay().size


@pytest.mark.parametrize("hw", [(1, 1), (9, 14)])
def test_saved_json_is_the_dictionary(tmp_path, hw):
    region = Region(1, "tasse à café", 4, (0, 0, 1, 1), (1, 0), 0.5, 0.75, True)
    result = random_result(hw, regions=[region])
    result.save_json(tmp_path / "result.json")
    told = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(result.to_dict()))
    assert told["regions"][0]["class_name"] == "tasse à café"
    assert told["regions"][0]["box_xyxy"] == [0, 0, 1, 1]


@pytest.mark.parametrize("opacity", [0.3, 0.55, 0.9])
def test_the_legend_shows_each_class_in_the_colour_that_it_has_in_the_picture(opacity):
    """A photo's own colours do not matter: blue sky in red is no violet."""
    photo = np.zeros((60, 80, 3), np.uint8)
    photo[:, :40], photo[:, 40:] = (40, 90, 220), (200, 120, 30)
    mask = np.repeat(np.arange(2, dtype=np.uint16), 40)[None].repeat(60, axis=0)
    picture = np.asarray(draw_overlay(photo, mask, ["sky", "sand"], opacity=opacity, legend=True)).astype(int)
    for index, x in ((0, 20), (1, 60)):
        swatch = (picture[60:] == picture[30, x]).all(axis=2).sum()
        assert swatch >= 11 * 11, f"the colour of class {index} stands in the legend"


def test_colours_of_a_class_are_of_the_same_hue_wherever_it_is():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = np.zeros((40, 40), np.uint16)
    drawn = np.asarray(draw_overlay(photo, mask, ["red"], opacity=0.55, legend=False)).astype(int)
    red, green, blue = np.moveaxis(drawn, 2, 0)
    assert np.ptp(red - green) <= 2 and np.ptp(red - blue) <= 2, "only light and dark differ"


def test_a_class_of_a_few_pixels_has_its_colour_in_the_legend_of_a_large_picture(monkeypatch):
    monkeypatch.setattr(overlay, "SAMPLED", 100)
    photo = np.full((50, 200, 3), 90, np.uint8)
    mask = np.zeros((50, 200), np.uint16)
    mask[1:4, 1:4] = 1
    picture = np.asarray(draw_overlay(photo, mask, ["all", "small"], opacity=0.55, legend=True))
    small = np.round(90 * 0.45 + colours_of(["all", "small"])[1] * 0.55)
    assert (np.abs(picture[50:].astype(int) - small) <= 1).all(axis=2).sum() >= 100
