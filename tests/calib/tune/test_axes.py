"""Axes: which apply, and which values are proposed."""

import msgspec
import pytest

from ovdeploy.calib.tune.axes import AXES, axes_for
from ovdeploy.runtime.pipelines.grounded.parameters import GroundedParameters
from ovdeploy.runtime.pipelines.training_free.pipeline import PIPELINE
from ovdeploy.runtime.recipe.parameters import Parameters, with_overrides

BY_NAME = {axis.name: axis for axis in AXES}
OF_MASKS = {"probability_threshold", "logit_scale", "region_threshold", "iou_threshold", "min_area"}


def names(parameters, background):
    return {axis.name for axis in axes_for(parameters, background)}


def test_what_applies_follows_from_background_and_refinement():
    refined, coarse = Parameters(refine=True), Parameters(refine=False)
    assert names(refined, True) == OF_MASKS
    assert names(refined, False) == OF_MASKS - {"probability_threshold"}
    assert names(coarse, True) == {"probability_threshold", "logit_scale"}
    assert names(coarse, False) == set()


def test_what_things_are_found_by_applies_unless_the_detector_does_not_use_it():
    parameters = GroundedParameters()
    assert names(parameters, True) == set(BY_NAME) - OF_MASKS
    assert {axis.name for axis in axes_for(parameters, False, {"text_threshold"})} == {
        "box_threshold", "nms_threshold", "mask_nms_threshold"
    }  # fmt: skip


def test_nothing_baked_is_tuned():
    assert not set(BY_NAME) & set(PIPELINE.baked)


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.name)
@pytest.mark.parametrize("present", [None, 0.0, 1.0])
def test_proposed_values_are_distinct_and_allowed(axis, present):
    kind = Parameters if axis.name in OF_MASKS else GroundedParameters
    base = kind() if present is None or axis.name == "logit_scale" else kind(**{axis.name: present})
    value = getattr(base, axis.name)
    grid = axis.first(value)
    assert len(grid) >= 4 and grid == sorted(set(grid))
    for best in grid:
        for near in axis.near(best, grid):
            assert near != best
            with_overrides(base, {axis.name: near})


def test_a_ratio_axis_has_factors_of_the_present_value():
    assert BY_NAME["logit_scale"].first(20.0) == [7.0, 10.0, 14.0, 20.0, 28.0, 40.0, 56.0]
    assert BY_NAME["min_area"].first(30.0) == [0, 8, 15, 30, 60, 120]
    assert BY_NAME["min_area"].first(0.0) == BY_NAME["min_area"].first(Parameters().min_area)


@pytest.mark.parametrize(
    ("name", "best", "tried", "expected"),
    [
        ("region_threshold", 0.2, {0.1, 0.2, 0.4}, [0.1, 0.15, 0.3, 0.4]),
        ("region_threshold", 0.0, {0.0, 0.1}, [0.05, 0.1]),
        ("region_threshold", 0.8, {0.6, 0.8}, [0.6, 0.7]),
        ("logit_scale", 40.0, {10.0, 40.0}, [10.0, 20.0, 56.6, 80.0]),
        ("min_area", 0, {0, 56}, [28, 56]),
        ("min_area", 2, {0, 1, 2, 3}, [1, 3]),
    ],
)
def test_next_come_the_neighbours_and_what_lies_half_way(name, best, tried, expected):
    assert BY_NAME[name].near(best, tried) == pytest.approx(expected)


def test_what_does_not_apply_changes_no_mask(segmenter, photo, vocabulary):
    """The reason for leaving the scale out: without threshold and refinement it orders no classes differently."""
    masks = [
        segmenter.segment(photo, vocabulary, parameters={"refine": False, "logit_scale": scale}).mask.tobytes()
        for scale in (5.0, 40.0)
    ]
    assert masks[0] == masks[1]
    assert msgspec.structs.asdict(segmenter.parameters)["probability_threshold"] == 0
