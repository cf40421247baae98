import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.coarse import class_probabilities, coarse_mask
from ovdeploy.runtime.geometry import bilinear_matrix


def starts_of(counts):
    return np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)


def run(logits, hw, counts, scale=40.0):
    rows, columns = (bilinear_matrix(n, m).astype(np.float32) for n, m in zip(logits.shape[1:], hw, strict=True))
    return class_probabilities(logits, rows, columns, starts_of(counts), scale)


def plain_probabilities(logits, hw, counts, scale=40.0):
    enlarged = F.interpolate(torch.from_numpy(logits)[None].double(), hw, mode="bilinear", align_corners=False)[0]
    per_query = (enlarged * scale).softmax(dim=0)
    return torch.stack([part.amax(dim=0) for part in per_query.split(counts)]).numpy()


def plain_mask(probabilities, threshold):
    scores, labels = torch.from_numpy(probabilities).max(dim=0)
    labels[scores < threshold] = 0
    return labels.numpy(), scores.numpy()


def cosines(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("grid", "hw", "counts"),
    [
        ((1, 1), (1, 1), [1]),
        ((1, 1), (1, 1), [3]),
        ((1, 64), (1, 4000), [1, 2]),
        ((64, 1), (150, 1), [2, 1]),
        ((4, 4), (1, 1), [1, 1, 1]),
        ((42, 64), (150, 203), [1, 1, 1, 1]),
        ((42, 64), (151, 202), [3, 1, 2, 1]),
        ((8, 12), (5, 7), [1, 4, 1]),
    ],
)
def test_class_probabilities_are_a_resize_a_softmax_and_the_largest_synonym(grid, hw, counts):
    logits = cosines(sum(counts), *grid)
    before = logits.copy()
    probabilities = run(logits, hw, counts)
    assert probabilities.shape == (len(counts), *hw)
    assert probabilities.dtype == np.float32
    # a cosine is off by 2⁻²³ after the resize in float32; times the scale of 40, that is the relative error of exp
    np.testing.assert_allclose(probabilities, plain_probabilities(logits, hw, counts), rtol=2e-5, atol=1e-9)
    np.testing.assert_array_equal(logits, before)


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    hw=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    scale=st.sampled_from([1.0, 40.0, 100.0]),
    seed=st.integers(0, 1000),
)
def test_any_sizes_and_synonyms(counts, grid, hw, scale, seed):
    logits = cosines(sum(counts), *grid, seed=seed)
    # the relative error of exp grows with the scale, to 100 · 2⁻²³ and a little
    expected = plain_probabilities(logits, hw, counts, scale)
    np.testing.assert_allclose(run(logits, hw, counts, scale), expected, rtol=5e-5, atol=1e-9)


def test_probabilities_sum_to_one_without_synonyms_and_to_less_with_them():
    logits = cosines(5, 4, 6)
    # five float32 roundings of numbers below 1
    np.testing.assert_allclose(run(logits, (9, 11), [1] * 5).sum(axis=0), 1, atol=1e-6)
    assert (run(logits, (9, 11), [3, 2], scale=1.0).sum(axis=0) < 0.9).all()


@pytest.mark.parametrize("offset", [1e4, -1e4])
def test_large_logits_neither_overflow_nor_lose_the_order(offset):
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1], logits[2] = 10, offset
    probabilities = run(logits, (4, 4), [1, 1, 1])
    assert np.isfinite(probabilities).all()
    assert (probabilities.argmax(axis=0) == (2 if offset > 0 else 1)).all()


def test_synonyms_compete_and_do_not_add_up():
    logits = np.log(np.float32([0.3, 0.3, 0.4])).reshape(3, 1, 1)  # the first class has two words
    probabilities = run(logits, (2, 2), [2, 1], scale=1.0)
    np.testing.assert_allclose(probabilities[:, 0, 0], [0.3, 0.4], atol=1e-6)  # float32
    assert (coarse_mask(probabilities, 0.0).labels == 1).all()


@pytest.mark.parametrize("hw", [(1, 1), (1, 50), (13, 17)])
@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.5, 1.0])
def test_coarse_mask_is_the_argmax_where_it_is_likely_enough(hw, threshold):
    probabilities = np.random.default_rng(1).dirichlet([1] * 4, hw).transpose(2, 0, 1).astype(np.float32)
    coarse = coarse_mask(probabilities, threshold)
    labels, scores = plain_mask(probabilities, threshold)
    assert coarse.labels.dtype == np.uint16
    np.testing.assert_array_equal(coarse.labels, labels)
    np.testing.assert_array_equal(coarse.scores, scores)
    assert coarse.probabilities is probabilities


@pytest.mark.parametrize(
    ("values", "threshold", "label"),
    [
        ([0.5, 0.5], 0.0, 0),  # the first of equals
        ([0.2, 0.4, 0.4], 0.0, 1),
        ([0.25, 0.75], 0.75, 1),  # as large as the threshold is enough
        ([0.25, 0.75], 0.76, 0),
        ([0.0, 1.0], 1.0, 1),
    ],
)
def test_ties_and_thresholds(values, threshold, label):
    coarse = coarse_mask(np.float32(values).reshape(-1, 1, 1), threshold)
    assert coarse.labels.item() == label
    assert coarse.scores.item() == np.float32(max(values))  # of the likeliest class, also where background stands


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(1, 6), seed=st.integers(0, 1000), threshold=st.floats(0, 1))
def test_labels_are_background_or_at_least_as_likely_as_the_threshold(classes, seed, threshold):
    probabilities = np.random.default_rng(seed).dirichlet([0.5] * classes, (6, 7)).transpose(2, 0, 1).astype(np.float32)
    coarse = coarse_mask(probabilities, threshold)
    labels, _ = plain_mask(probabilities, threshold)
    np.testing.assert_array_equal(coarse.labels, labels)
    named = coarse.labels > 0
    assert (coarse.scores[named] >= np.float32(threshold)).all()
    chosen = np.take_along_axis(probabilities, coarse.labels[None].astype(np.intp), axis=0)[0]
    np.testing.assert_array_equal(chosen[named], coarse.scores[named])
