"""Everything mode against SamAutomaticMaskGenerator itself: whole on the trained miniature, and piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import (
    build_all_layer_point_grids,
    generate_crop_boxes,
    is_box_near_crop_edge,
    remove_small_regions,
)
from torch.nn import functional
from torchvision.ops import nms

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Prompter, load_recipe
from ovdeploy.runtime.geometry.bands import Bands, resize
from ovdeploy.runtime.geometry.dimensions import SamDimensions
from ovdeploy.runtime.geometry.sam_frame import sam_frame
from ovdeploy.runtime.pipelines.promptable.everything import small_parts
from ovdeploy.runtime.pipelines.promptable.everything.crops import crops_of, cut_off, rounds_of
from ovdeploy.runtime.pipelines.promptable.everything.parameters import EverythingParameters
from ovdeploy.runtime.pipelines.promptable.everything.suppression import suppress
from ovdeploy.runtime.scenes import draw_scene
from support.everything import UPSTREAM

LENIENT = {"iou_threshold": 0.4, "stability_threshold": 0.6, "box_threshold": 0.8}


@pytest.fixture(scope="module")
def networks():
    return Networks.load(load_recipe("sam-tiny"))


@pytest.fixture(scope="module")
def prompter(networks, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "sam-tiny"
    build_bundle(networks, path)
    with Prompter.load(path, backend="onnxruntime", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def scene():
    return draw_scene(1_000_004).photo


def theirs(networks, photo, parameters, **more):
    renamed = {UPSTREAM[name]: value for name, value in parameters.items()}
    return SamAutomaticMaskGenerator(networks.models["sam"], **renamed, **more).generate(photo)


def compare(ours, theirs, least):
    """Record by record, in the same order."""
    assert len(ours) == len(theirs) >= least
    for a, b in zip(ours, theirs, strict=True):
        x, y, width, height = b["bbox"]
        assert a.box_xyxy == (x, y, x + width, y + height)
        mask = a.mask.decode()
        assert (mask & b["segmentation"]).sum() >= 0.999 * (mask | b["segmentation"]).sum()
        assert a.area == mask.sum() and abs(a.area - b["area"]) <= 0.001 * b["area"]
        assert a.stability == pytest.approx(b["stability_score"], abs=1e-3)
        assert a.iou == pytest.approx(b["predicted_iou"], abs=1e-4)  # float32 sums in another order
        assert a.point_xy == pytest.approx(b["point_coords"][0])
        x, y, width, height = b["crop_box"]
        assert a.crop_xyxy == (x, y, x + width - 1, y + height - 1)


@pytest.mark.parametrize(
    ("parameters", "least"),
    [
        ({"points_per_side": 8}, 20),
        ({"points_per_side": 6, "box_threshold": 0.5, "stability_offset": 0.5, "min_area": 60}, 6),
        ({"points_per_side": 6, "crop_layers": 1, "crop_points_divisor": 2, "crop_overlap": 0.2, "min_area": 30}, 10),
        ({"points_per_side": 4, "crop_layers": 1, "crop_box_threshold": 0.9}, 10),
    ],
)
def test_the_records_are_those_of_the_reference(networks, prompter, scene, parameters, least):
    chosen = {**LENIENT, **parameters}
    found = prompter.everything(scene[:, :200], parameters=chosen)
    compare(found.instances, theirs(networks, scene[:, :200], chosen), least)


def test_points_that_are_given_are_asked_as_the_reference_asks_them(networks, prompter, scene):
    grids = [np.random.default_rng(0).uniform(size=(20, 2))]
    found = prompter.everything(scene, parameters=LENIENT, grids=grids)
    compare(found.instances, theirs(networks, scene, LENIENT, points_per_side=None, point_grids=grids), 5)


@given(
    st.lists(st.tuples(*[st.integers(0, 200)] * 4), min_size=1, max_size=60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
@settings(max_examples=200, deadline=None)
def test_suppression_is_torchvisions(corners, seed, threshold):
    corners = np.array(corners)
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    scores = np.random.default_rng(seed).integers(0, 9, len(boxes)).astype(np.float32)
    theirs = nms(torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), threshold)
    assert suppress(boxes, scores, threshold).tolist() == theirs.tolist()


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 150), st.integers(1, 150)))
@settings(max_examples=60, deadline=None)
def test_both_resizes_as_one_matrix_are_torchs_two(seed, hw):
    dimensions = SamDimensions(sam_side=64, sam_grid=4)
    logits = np.random.default_rng(seed).standard_normal((2, 16, 16)).astype(np.float32)
    frame = sam_frame(hw, dimensions, multiple=1)
    framed = functional.interpolate(torch.tensor(logits)[None], (64, 64), mode="bilinear", align_corners=False)
    valid = framed[..., : frame.valid_hw[0], : frame.valid_hw[1]]
    theirs = functional.interpolate(valid, hw, mode="bilinear", align_corners=False)[0].numpy()
    ours = resize(frame.mask_rows, frame.mask_columns, logits)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)  # positions as above


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_banded_resize_is_torchs(n_in, n_out, seed):
    line = np.random.default_rng(seed).standard_normal((3, n_in)).astype(np.float32)
    theirs = functional.interpolate(torch.tensor(line)[None], n_out, mode="linear", align_corners=False)[0]
    np.testing.assert_allclose(
        Bands.bilinear(n_in, n_out).across(line), theirs, atol=1e-4
    )  # positions up to 80 in float32


@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24))), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_small_parts_are_those_of_the_reference(mask, area):
    if not mask.any():
        return
    filled, _ = remove_small_regions(mask, area, mode="holes")
    theirs, _ = remove_small_regions(filled, area, mode="islands")
    ours = small_parts._without_islands(small_parts._without_holes(mask, area), area)
    np.testing.assert_array_equal(ours, theirs)


@given(
    st.tuples(st.integers(40, 300), st.integers(40, 300)), st.integers(0, 2), st.sampled_from([0.0, 0.2, 512 / 1500])
)
@settings(max_examples=60, deadline=None)
def test_crops_and_their_edges_are_those_of_the_reference(hw, layers, overlap):
    boxes, numbers = generate_crop_boxes(hw, layers, overlap)
    crops = crops_of(hw, layers, overlap)
    assert crops == [(*box, number) for box, number in zip(boxes, numbers, strict=True)]
    for crop, box in zip(crops, boxes, strict=True):
        corners = np.random.default_rng(crop.area).integers(0, min(crop.hw), (20, 4))
        near = is_box_near_crop_edge(torch.tensor(corners), box, [0, 0, hw[1], hw[0]])
        assert cut_off(corners + np.array([crop.x0, crop.y0] * 2), crop, hw).tolist() == near.tolist()


def test_grids_are_those_of_the_reference():
    for side, divisor in ((32, 1), (9, 2)):
        parameters = EverythingParameters(crop_points_divisor=divisor)
        for layer, theirs in enumerate(build_all_layer_point_grids(side, 2, divisor)):
            (ours,) = rounds_of(side, layer, parameters)
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
