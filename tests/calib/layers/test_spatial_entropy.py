"""Algorithm 1 against a plain transcription, line by line, and against what can be known beforehand."""

import math

import numpy as np
import pytest

from ovdeploy.calib.layers.spatial_entropy import spatial_entropy


def transcription(features):
    """S2CLIP's Algorithm 1 with its line numbers, a number at a time. Returns H̄, H, G and ρ."""
    b_count, c_count, height, width = features.shape
    n = height * width  # 1
    f = [[[float(x) for x in features[b, c].reshape(-1)] for c in range(c_count)] for b in range(b_count)]
    mu = [[sum(row) / n for row in channel] for channel in f]  # 2
    sigma = [
        [math.sqrt(sum((x - mu[b][c]) ** 2 for x in f[b][c]) / n) for c in range(c_count)] for b in range(b_count)
    ]  # 3
    epsilon = max(min(min(row) for row in sigma) * 1e-2, 1e-6)  # 4
    h, g, rho = np.zeros((b_count, c_count)), np.zeros((b_count, c_count)), np.zeros(b_count)  # 13
    for b in range(b_count):
        p = []
        for c in range(c_count):
            standard = [(x - mu[b][c]) / (sigma[b][c] + epsilon) for x in f[b][c]]  # 5
            shifted = [x - max(standard) for x in standard]  # 6
            total = sum(math.exp(x) for x in shifted) + epsilon
            share = [math.exp(x) / total for x in shifted]  # 7
            total = sum(max(x, epsilon) for x in share)
            share = [max(x, epsilon) / total for x in share]  # 8
            h[b, c] = -sum(x * math.log(x) for x in share)  # 9
            ranked = sorted(share)  # 10
            lorenz = [sum(ranked[: i + 1]) for i in range(n)]  # 11
            g[b, c] = 1 - 2 / n * sum((i + 1) * lorenz[i] / sum(ranked) for i in range(n))  # 12
            p.append(share)
        if c_count > 1:  # 14
            with np.errstate(invalid="ignore"):  # a constant channel correlates with nothing
                r = np.corrcoef(p)  # 16
            rho[b] = sum(r[i, j] for i in range(c_count) for j in range(c_count) if i != j) / (c_count * (c_count - 1))
    return h.sum() / (b_count * c_count), h, g, rho  # 20


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (1, 2, 3, 3), (2, 5, 4, 7), (3, 1, 5, 5), (1, 16, 6, 6)])
@pytest.mark.parametrize("kind", ["noise", "tiny", "huge", "heavy", "half"])
def test_it_is_the_algorithm(shape, kind):
    rng = np.random.default_rng(sum(shape))
    features = {
        "noise": lambda: rng.standard_normal(shape),
        "tiny": lambda: rng.standard_normal(shape) * 1e-7,  # ε is its floor, and larger than the deviations
        "huge": lambda: rng.standard_normal(shape) * 1e5,  # ε is larger than all shares
        "heavy": lambda: rng.standard_normal(shape) ** 5,
        "half": lambda: rng.standard_normal(shape).astype(np.float16),
    }[kind]()
    came = spatial_entropy(features)
    mean, entropy, gini, correlation = transcription(features)
    # double precision in another order of summation; where ε flattens all shares, correlations are of rounding alone
    assert came.mean == pytest.approx(mean, rel=1e-9)
    np.testing.assert_allclose(came.entropy, entropy, rtol=1e-9)
    np.testing.assert_allclose(came.gini, gini, rtol=1e-9)
    if np.isfinite(correlation).all() and kind not in ("tiny", "huge"):
        np.testing.assert_allclose(came.correlation, correlation, rtol=1e-7, atol=1e-9)


def test_an_even_map_has_the_largest_entropy_and_one_peak_the_smallest():
    even, peak = np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4))
    peak[..., 1, 2] = 1.0
    rng = np.random.default_rng(0)
    noise = spatial_entropy(rng.standard_normal((1, 1, 4, 4))).mean
    assert spatial_entropy(even).mean == pytest.approx(math.log(16))
    assert spatial_entropy(peak).mean < noise < math.log(16)


def test_the_usual_gini_coefficient_is_0_where_all_is_even_and_grows_with_the_peak():
    even, peak = np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4))
    peak[..., 1, 2] = 1.0
    assert spatial_entropy(even).gini_coefficient[0, 0] == pytest.approx(0, abs=1e-12)
    assert 0.3 < spatial_entropy(peak).gini_coefficient[0, 0] < 1 - 1 / 16
    assert spatial_entropy(even).gini[0, 0] < -8, "the printed formula is no coefficient: 1 − (N + 1)(2N + 1)/3N"


def test_channels_that_are_alike_correlate_and_opposite_ones_do_not():
    rng = np.random.default_rng(1)
    one = rng.standard_normal((1, 1, 6, 6))
    assert spatial_entropy(np.concatenate([one, 2 * one + 1], axis=1)).correlation[0] == pytest.approx(1, abs=1e-3)
    assert spatial_entropy(np.concatenate([one, -one], axis=1)).correlation[0] < -0.1
    assert spatial_entropy(np.concatenate([one, np.ones_like(one)], axis=1)).correlation[0] == pytest.approx(0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_answered_by_0(value):
    """Line 21."""
    features = np.zeros((1, 2, 3, 3))
    features[0, 0, 0, 0] = value
    assert spatial_entropy(features).mean == 0.0


@pytest.mark.parametrize("shape", [(3, 3), (1, 2, 3), (1, 2, 0, 3)])
def test_what_is_no_feature_map_is_refused(shape):
    with pytest.raises(ValueError, match=r"\[B, C, H, W\]"):
        spatial_entropy(np.zeros(shape))


def test_scale_and_shift_of_a_channel_change_little_while_epsilon_is_small():
    features = np.random.default_rng(2).standard_normal((1, 3, 5, 5)) * 1e-4
    moved = features * np.array([1, 2, 3]).reshape(1, 3, 1, 1) + 5
    assert spatial_entropy(moved).mean == pytest.approx(spatial_entropy(features).mean, rel=2e-2)
