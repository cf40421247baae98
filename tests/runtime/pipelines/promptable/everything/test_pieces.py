"""The pieces of everything mode, each against a plain way to do the same."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ovdeploy.runtime.answers.rle import Rle, placed
from ovdeploy.runtime.geometry.bands import Bands
from ovdeploy.runtime.geometry.dimensions import SamDimensions
from ovdeploy.runtime.geometry.sam_frame import sam_frame
from ovdeploy.runtime.pipelines.promptable.everything.candidates import Candidate, candidates_in
from ovdeploy.runtime.pipelines.promptable.everything.crops import EDGE, Crop, crops_of, cut_off, grid, rounds_of
from ovdeploy.runtime.pipelines.promptable.everything.parameters import EverythingParameters
from ovdeploy.runtime.pipelines.promptable.everything.small_parts import without_small_parts
from ovdeploy.runtime.pipelines.promptable.everything.suppression import suppress

CORNER = st.tuples(*[st.integers(0, 30)] * 4)


def plain_suppression(boxes, scores, threshold):
    """Greedy suppression, pair by pair, in float32 as torchvision has it."""
    left, kept = sorted(range(len(boxes)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if not plain_iou(boxes[best], boxes[other]) > threshold]
    return kept


def plain_iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(np.float32(width * height) / np.float32(union)) if union else float("nan")


@given(
    st.lists(st.tuples(CORNER, st.sampled_from([0.1, 0.5, 0.9, 1.2])), max_size=40),
    st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
)
@settings(max_examples=300, deadline=None)
def test_suppression_is_that_of_a_plain_loop(drawn, threshold):
    boxes = [(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for (x0, y0, x1, y1), _ in drawn]
    scores = [np.float32(score) for _, score in drawn]
    came = suppress(np.array(boxes, int).reshape(-1, 4), np.array(scores, np.float32), threshold)
    assert came.tolist() == plain_suppression(boxes, scores, threshold)


@st.composite
def parts(draw):
    """A mask in a photo, and a box around it."""
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    shape = (draw(st.integers(1, height - y0)), draw(st.integers(1, width - x0)))
    mask = np.zeros((height, width), bool)
    mask[y0 : y0 + shape[0], x0 : x0 + shape[1]] = draw(arrays(bool, shape))
    return mask, (x0, y0, x0 + shape[1] - 1, y0 + shape[0] - 1)


@given(parts())
@settings(max_examples=400, deadline=None)
def test_run_lengths_of_a_part_are_those_of_the_whole(drawn):
    mask, (x0, y0, x1, y1) = drawn
    came = placed(mask[y0 : y1 + 1, x0 : x1 + 1], (x0, y0), mask.shape)
    assert came == Rle.encode(mask)
    np.testing.assert_array_equal(came.decode(), mask)


@given(parts())
@settings(max_examples=100, deadline=None)
def test_packed_bits_give_the_mask_back(drawn):
    mask, box = drawn
    np.testing.assert_array_equal(candidate(mask, box).whole(mask.shape), mask)


def candidate(mask, box=None, **more):
    box = box or (0, 0, mask.shape[1] - 1, mask.shape[0] - 1)
    bits = np.packbits(mask[box[1] : box[3] + 1, box[0] : box[2] + 1], axis=1)
    whole = Crop(0, 0, mask.shape[1], mask.shape[0], 0)
    plain = {"area": int(mask.sum()), "iou": 0.9, "stability": 1.0, "point": (0.0, 0.0), "crop": whole}
    return Candidate(box=box, bits=bits, **{**plain, **more})


def plainly_seen(low_res, hw, dimensions, parameters):
    """Stability, box and mask of logits enlarged whole, in two steps, as SAM's postprocessing does it."""
    valid = sam_frame(hw, dimensions, multiple=1).valid_hw
    side = dimensions.sam_side
    framed = cv2.resize(low_res.astype(np.float64), (side, side), interpolation=cv2.INTER_LINEAR)
    full = cv2.resize(framed[: valid[0], : valid[1]], hw[::-1], interpolation=cv2.INTER_LINEAR)
    sure, likely = (full > parameters.stability_offset).sum(), (full > -parameters.stability_offset).sum()
    ys, xs = np.nonzero(full > 0)
    box = (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())) if len(xs) else None
    return (sure / likely if likely else 0.0), box, full


@given(st.integers(0, 2**32 - 1), st.sampled_from([(40, 60), (7, 90), (64, 64), (130, 33), (1, 50), (1, 1)]))
@settings(max_examples=60, deadline=None)
def test_a_mask_is_seen_as_if_all_of_it_were_enlarged(seed, hw):
    """Logits in blobs; what lies within float32's rounding of a threshold may fall on either side."""
    rng, dimensions = np.random.default_rng(seed), SamDimensions(sam_side=64, sam_grid=4)
    blobs = cv2.resize(rng.standard_normal((4, 4)) * 4 - rng.uniform(0, 4), (16, 16), interpolation=cv2.INTER_CUBIC)
    logits = np.stack([np.zeros((16, 16)), blobs, blobs - 2, blobs - 50]).astype(np.float32)[None]
    parameters = EverythingParameters(iou_threshold=0.5, stability_threshold=0)
    frame, crop = sam_frame(hw, dimensions, multiple=1), Crop(0, 0, hw[1], hw[0], 0)
    estimates = np.array([[0.9, 0.9, 0.9, 0.4]], np.float32)
    came = list(candidates_in(logits, estimates, np.array([[3.0, 2.0]]), crop, frame, parameters))
    wanted = [plainly_seen(each, hw, dimensions, parameters) for each in logits[0, 1:3]]
    assume(all(np.abs(np.abs(full[..., None]) - [0, 1]).min() > 1e-4 for _, _, full in wanted))
    wanted = [each for each in wanted if each[1]]
    assert len(came) == len(wanted)
    for ours, (stability, box, full) in zip(came, wanted, strict=True):
        np.testing.assert_array_equal(ours.whole(hw), full > 0)
        assert ours.box == box and ours.area == (full > 0).sum() and ours.point == (3.0, 2.0)
        assert ours.stability == pytest.approx(stability, abs=1e-6)


@pytest.mark.parametrize("hw", [(1, 1), (1, 9), (50, 3), (300, 400)])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_crops_cover_the_photo_and_have_an_area(hw, layers):
    crops = crops_of(hw, layers, 512 / 1500)
    assert crops[0] == (0, 0, hw[1], hw[0], 0) and len(crops) == len(set(crops))
    for layer in range(layers + 1):
        covered = np.zeros(hw, bool)
        for crop in crops:
            if crop.layer == layer:
                assert crop.area > 0
                covered[crop.y0 : crop.y1, crop.x0 : crop.x1] = True
        assert covered.all()


def test_crops_share_what_the_overlap_says():
    """100 × 80, a tenth of 80 is 8: ⌈(8 + 100)/2⌉ = 54 columns, ⌈(8 + 80)/2⌉ = 44 rows."""
    assert crops_of((80, 100), 1, 0.1)[1:] == [
        (0, 0, 54, 44, 1), (0, 36, 54, 80, 1), (46, 0, 100, 44, 1), (46, 36, 100, 80, 1),
    ]  # fmt: skip


def test_a_grid_lies_in_the_middle_of_equal_parts():
    np.testing.assert_allclose(grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    np.testing.assert_allclose(grid(1), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("side", "layer", "changed", "sizes"),
    [
        (32, 0, {}, [32]),
        (32, 0, {"coarse_to_fine": True}, [8, 16, 32]),
        (3, 0, {"coarse_to_fine": True}, [1, 3]),
        (1, 0, {"coarse_to_fine": True}, [1]),
        (32, 2, {"crop_points_divisor": 3}, [3]),
        (4, 3, {"crop_points_divisor": 2}, [1]),
    ],
)
def test_rounds(side, layer, changed, sizes):
    rounds = rounds_of(side, layer, EverythingParameters(**changed))
    assert [len(points) for points in rounds] == [size**2 for size in sizes]


def test_a_box_is_cut_off_at_a_crops_edge_that_is_none_of_the_photo():
    crop, hw = Crop(100, 0, 300, 200, 1), (200, 500)
    boxes = [
        (150, 50, 200, 150),  # inside
        (100 + EDGE, 50, 200, 150),  # at the left edge
        (100 + EDGE + 1, 50, 200, 150),
        (150, 0, 200, 199),  # at edges of the photo
        (150, 50, 299, 150),  # at the right edge
    ]
    assert cut_off(np.array(boxes), crop, hw).tolist() == [False, True, False, False, True]
    assert not cut_off(np.array(boxes), Crop(0, 0, 500, 200, 0), hw).any()


def picture(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (picture(".....", ".###.", ".#.#.", ".###."), picture(".....", ".###.", ".###.", ".###.")),
        (picture("###...", "###...", "###..#", "......"), picture("###...", "###...", "###...", "......")),
        (picture("#.....", ".#....", "..#...", "......"), picture("#.....", ".#....", "..#...", "......")),
        (picture("#.....", "......", "..##.."), picture("......", "......", "..##..")),  # all are small
    ],
)  # fmt: skip
def test_small_holes_are_filled_and_small_islands_go(before, after):
    (came,) = without_small_parts([candidate(before)], before.shape, 3, 0.7)
    np.testing.assert_array_equal(came.whole(before.shape), after)
    assert came.area == after.sum()
    ys, xs = np.nonzero(after)
    if before is not after and not np.array_equal(before, after):
        assert came.box == (xs.min(), ys.min(), xs.max(), ys.max())


def test_of_masks_that_became_alike_the_one_that_was_not_changed_stays():
    whole = np.zeros((20, 20), bool)
    whole[2:18, 2:18] = True
    holed = whole.copy()
    holed[5, 5] = False
    first, second = candidate(holed, (2, 2, 17, 17), iou=0.99), candidate(whole, (2, 2, 17, 17), iou=0.9)
    assert without_small_parts([first, second], whole.shape, 3, 0.7) == [second]
    assert without_small_parts([], whole.shape, 3, 0.7) == []


@given(st.integers(1, 70), st.integers(1, 70), st.data())
@settings(max_examples=100, deadline=None)
def test_beyond_what_is_reached_nothing_is_enlarged_above_the_largest_elsewhere(n_in, n_out, data):
    """What the search rests on: outputs that no wanted input reaches are made of the others alone."""
    wanted = data.draw(arrays(bool, n_in))
    reached = Bands.bilinear(n_in, n_out).reached(wanted)
    outside = np.delete(Bands.bilinear(n_in, n_out).dense(), np.r_[reached], axis=0)
    assert not outside[:, wanted].any()
