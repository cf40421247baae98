import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.errors import EngineError
from ovdeploy.runtime.geometry.photo_tables import PhotoTables
from ovdeploy.runtime.geometry.sizes import bilinear_matrix
from ovdeploy.runtime.labelling import coarse as module
from ovdeploy.runtime.labelling.coarse import coarse_mask
from support.planes import plain_halves

SMALLEST = 1e-37  # below it float32 loses digits, and the exponential is cut off


def starts_of(counts):
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)


def run(logits, hw, counts, scale=40.0, threshold=0.0, halve=True):
    tables = PhotoTables.of(*(bilinear_matrix(n, m) for n, m in zip(logits.shape[1:], hw, strict=True)))
    starts = starts_of(counts)
    return coarse_mask(logits, tables, starts, logit_scale=scale, probability_threshold=threshold, halve=halve)


def plain_logits(logits, hw, scale=40.0):
    return F.interpolate(torch.from_numpy(logits)[None].double(), hw, mode="bilinear", align_corners=False)[0] * scale


def plain_probabilities(logits, hw, counts, scale=40.0):
    """[C, H, W] float64: resize, softmax over queries, the largest synonym."""
    per_query = plain_logits(logits, hw, scale).softmax(dim=0)
    return torch.stack([part.amax(dim=0) for part in per_query.split(list(counts))]).numpy()


def check(logits, hw, counts, scale=40.0, threshold=0.0):
    """Everything that a coarse result holds against arrays of every class's probabilities."""
    before = logits.copy()
    coarse = run(logits, hw, counts, scale, threshold)
    np.testing.assert_array_equal(logits, before)
    expected = plain_probabilities(logits, hw, counts, scale)
    whole = slice(0, hw[0]), slice(0, hw[1])
    planes = np.stack([coarse.planes.part(index, *whole) for index in range(len(counts))])
    # logits are off by some 2⁻²³ after the resize in float32; times the scale, that is the relative error of exp
    close = {"rtol": 1e-6 + scale * 5e-7, "atol": SMALLEST}
    np.testing.assert_allclose(planes, expected, **close)
    np.testing.assert_allclose(coarse.scores, expected.max(axis=0), **close)
    check_labels(coarse.labels, coarse.scores, expected, threshold, close["rtol"])
    check_half(coarse, planes, close)
    return coarse


def check_labels(labels, scores, expected, threshold, error):
    assert labels.dtype == np.uint16 and scores.dtype == np.float32
    ranked = np.sort(expected, axis=0)
    sure = np.ones(labels.shape, bool) if len(expected) == 1 else ranked[-1] - ranked[-2] > 2 * error * ranked[-1]
    wanted = np.where(scores < threshold, 0, expected.argmax(axis=0))
    np.testing.assert_array_equal(labels[sure], wanted[sure])
    chosen = np.take_along_axis(expected, labels[None].astype(np.intp), axis=0)[0]
    named = scores >= threshold
    np.testing.assert_allclose(chosen[named], expected.max(axis=0)[named], rtol=2 * error, atol=SMALLEST)


def check_half(coarse, planes, close):
    """Halves are compared with those of our own full planes, so that what is left is the error of halving."""
    labels, halved = plain_halves(coarse.labels, planes)
    half = coarse.half
    np.testing.assert_array_equal(half.labels, labels)
    # shares are float32, and neighbours differ by up to 1; on demand and streamed, exponentials differ by `close`
    close = {"rtol": 2 * close["rtol"], "atol": 1e-6}
    np.testing.assert_allclose([coarse.planes.half(index) for index in range(len(planes))], halved, **close)
    own = np.take_along_axis(halved, labels[None].astype(np.intp), axis=0)[0]
    np.testing.assert_allclose(half.probability, own, **close)
    np.testing.assert_allclose(half.largest, halved.max(axis=0), **close)
    np.testing.assert_allclose(half.class_largest, halved.max(axis=(1, 2)), **close)


def cosines(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.fixture(params=[(1, 0), (3000, 1 << 26), (1 << 20, 0)], ids=lambda sizes: f"tiles of {sizes[0]} bytes")
def tile(request, monkeypatch):
    """Tiles of one halved row, of a few, and of all; halved planes kept or not."""
    monkeypatch.setattr(module, "TILE", request.param[0])
    monkeypatch.setattr(module, "KEPT", request.param[1])


@pytest.mark.parametrize(
    ("grid", "hw", "counts"),
    [
        ((1, 1), (1, 1), [1]),
        ((1, 1), (1, 1), [3]),
        ((1, 64), (1, 4000), [1, 2]),
        ((64, 1), (151, 1), [2, 1]),
        ((4, 4), (1, 1), [1, 1, 1]),
        ((4, 4), (2, 3), [1, 1, 1]),
        ((4, 4), (3, 2), [1, 1, 1]),
        ((42, 64), (150, 203), [1, 1, 1, 1]),
        ((42, 64), (151, 202), [3, 1, 2, 1]),
        ((8, 12), (5, 7), [1, 4, 1]),
        ((8, 12), (60, 61), [1] * 40),
    ],
)
def test_the_coarse_result_is_a_resize_a_softmax_and_the_largest_synonym(tile, grid, hw, counts):
    check(cosines(sum(counts), *grid), hw, counts)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    scale=st.sampled_from([1.0, 40.0, 100.0]),
    threshold=st.sampled_from([0.0, 0.4, 0.9]),
    seed=st.integers(0, 1000),
)
def test_any_sizes_and_synonyms(counts, grid, hw, scale, threshold, seed):
    check(cosines(sum(counts), *grid, seed=seed), hw, counts, scale, threshold)


@pytest.mark.parametrize("hw", [(1, 1), (17, 13), (60, 70)])
def test_tiles_do_not_change_the_result(monkeypatch, hw):
    logits, counts = cosines(7, 5, 6), [2, 1, 1, 3]
    results = []
    for size in (1, 5000, 1 << 30):
        monkeypatch.setattr(module, "TILE", size)
        results.append(run(logits, hw, counts))
    for other in results[1:]:
        np.testing.assert_array_equal(other.labels, results[0].labels)
        # products of other sizes may be summed in another order: one rounding of logits up to 40
        np.testing.assert_allclose(other.scores, results[0].scores, rtol=1e-5)


def test_without_halving_labels_and_scores_are_the_same():
    logits, counts = cosines(7, 5, 6), [2, 1, 1, 3]
    whole, part = (run(logits, (31, 44), counts, halve=halve) for halve in (True, False))
    assert part.half is None
    np.testing.assert_array_equal(part.labels, whole.labels)
    np.testing.assert_array_equal(part.scores, whole.scores)


def test_parts_of_planes_are_parts_of_the_whole():
    coarse = run(cosines(5, 6, 7), (50, 71), [1, 3, 1])
    rows, columns = slice(13, 40), slice(20, 21)
    for index in range(3):
        whole = coarse.planes.part(index, slice(0, 50), slice(0, 71))
        part = coarse.planes.part(index, rows, columns)
        np.testing.assert_allclose(part, whole[rows, columns], rtol=1e-5)  # as between tiles


def test_the_label_has_the_score():
    coarse = run(cosines(4, 6, 7), (50, 71), [1] * 4)
    for index in range(4):
        own = coarse.labels == index
        plane = coarse.planes.part(index, slice(0, 50), slice(0, 71))
        np.testing.assert_allclose(plane[own], coarse.scores[own], rtol=1e-5)  # as between tiles


@pytest.mark.parametrize("offset", [1e4, -1e4, 3e38, -3e38])
def test_large_logits_neither_overflow_nor_lose_the_order(offset):
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1], logits[2] = 10, offset
    coarse = run(logits, (4, 4), [1, 1, 1], scale=1.0)
    assert np.isfinite(coarse.scores).all()
    assert (coarse.labels == (2 if offset > 0 else 1)).all()
    np.testing.assert_allclose(coarse.half.largest, 1, rtol=1e-4)  # 1/(1 + e⁻¹⁰)


@pytest.mark.parametrize(("value", "scale"), [(1e38, 40.0), (np.nan, 1.0), (np.inf, 1.0)])
def test_logits_that_are_not_finite_are_an_error(value, scale):
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1, 0, 1] = value
    with pytest.raises(EngineError, match="logit_scale"):
        run(logits, (4, 4), [1, 1, 1], scale=scale)


def test_synonyms_compete_and_do_not_add_up():
    logits = np.log(np.float32([0.3, 0.3, 0.4])).reshape(3, 1, 1)  # the first class has two words
    coarse = run(logits, (2, 2), [2, 1], scale=1.0)
    assert (coarse.labels == 1).all()
    np.testing.assert_allclose([coarse.planes.half(index).item() for index in (0, 1)], [0.3, 0.4], atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("values", "threshold", "label"),
    [
        ([0.5, 0.5], 0.0, 0),  # the first of equals
        ([0.2, 0.4, 0.4], 0.0, 1),
        ([0.25, 0.75], 0.74, 1),
        ([0.25, 0.75], 0.76, 0),
        ([0.4, 0.6], 1.0, 0),
    ],
)
def test_ties_and_thresholds(values, threshold, label):
    logits = np.log(np.float32(values)).reshape(-1, 1, 1)
    coarse = run(logits, (1, 1), [1] * len(values), scale=1.0, threshold=threshold)
    assert coarse.labels.item() == label
    # of the likeliest class, also where background stands; float32
    np.testing.assert_allclose(coarse.scores.item(), max(values), rtol=1e-6)


def test_as_large_as_the_threshold_is_enough():
    coarse = run(np.zeros((2, 1, 1), np.float32), (1, 1), [1, 1], threshold=0.5)
    assert coarse.scores.item() == 0.5
    assert run(np.float32([0, 200]).reshape(2, 1, 1), (3, 3), [1, 1], scale=1.0, threshold=1.0).labels.all()


def test_of_equal_queries_the_first_class_wins_on_every_pixel():
    same = cosines(1, 5, 6).repeat(4, axis=0)
    assert not run(same, (40, 50), [1, 2, 1]).labels.any()
    worse = np.concatenate([same[:1] - 1, same])
    assert (run(worse, (40, 50), [1] * 5).labels == 1).all()


def test_memory_does_not_grow_with_classes_times_pixels(monkeypatch):
    import tracemalloc

    monkeypatch.setattr(module, "KEPT", 0)
    logits, hw = cosines(150, 8, 9), (240, 320)
    run(logits, (8, 9), [1] * 150)
    tracemalloc.start()
    coarse = run(logits, hw, [1] * 150)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert coarse.labels.shape == hw
    planes = 150 * 4 * hw[0] * hw[1]  # 46 MB
    assert peak < planes / 4


@pytest.mark.parametrize("scale", [1.0, 40.0, 1e4, 1e6, 1e9])
@pytest.mark.parametrize("seed", range(12))
def test_probabilities_stay_in_their_range_at_any_scale(scale, seed):
    """A part of one row or column is interpolated in another order than the maximum that it is less of.

    (NumPy multiplies a matrix and a vector by another kernel.) At 1e9 that made 4e13 of a probability, or infinity.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, rng.integers(1, 5)).tolist()
    grid, hw = rng.integers(2, 30, 2).tolist(), rng.integers(8, 300, 2).tolist()
    coarse = run(rng.standard_normal((sum(counts), *grid)).astype(np.float32), tuple(hw), counts, scale)
    row, column = (int(rng.integers(0, side)) for side in hw)
    whole = slice(0, hw[0]), slice(0, hw[1])
    for index in range(len(counts)):
        for part in (whole, (slice(row, row + 1), whole[1]), (whole[0], slice(column, column + 1))):
            plane = coarse.planes.part(index, *part)
            assert plane.min() >= 0 and (plane <= coarse.scores[part]).all()
        half = coarse.planes.half(index)
        assert half.min() >= 0 and half.max() <= 1 + 1e-6
    assert coarse.scores.min() > 0 and coarse.scores.max() <= 1
