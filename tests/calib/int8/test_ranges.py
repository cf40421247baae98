from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.calib.int8.ranges import FLOOR, HEADROOM, METHODS, clipped, limit_of
from ovdeploy.runtime.graph.observe import Observation
from ovdeploy.runtime.graph.qdq import quantised


def seen(rows: np.ndarray, largest: np.ndarray | None = None) -> Observation:
    return Observation(np.abs(rows).max(axis=0) if largest is None else largest, rows.astype(np.float32))


@pytest.mark.parametrize("method", METHODS)
def test_a_value_that_is_always_zero_has_a_range(method):
    assert limit_of(seen(np.zeros((16, 4))), method) == FLOOR


@pytest.mark.parametrize("method", METHODS)
def test_even_values_are_hardly_clipped(method):
    rows = np.random.default_rng(0).uniform(-1, 1, (500, 16))
    assert 0.95 <= limit_of(seen(rows), method) <= (HEADROOM if method == "wide" else 1.0)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_a_lone_outlier_does_not_set_the_range_but_by_minmax(method):
    rows = np.random.default_rng(0).standard_normal((2000, 16))
    rows[5, 3] = 200.0
    assert limit_of(seen(rows), method) < 100 < limit_of(seen(rows), "minmax") == 200.0


def test_minmax_knows_what_the_sample_did_not_catch():
    assert limit_of(seen(np.ones((4, 2)), np.array([1.0, 9.0])), "minmax") == 9.0


def test_mse_has_the_least_squared_error_of_all():
    rows = np.random.default_rng(1).laplace(size=(2000, 16))
    errors = {m: np.square(quantised(rows, limit_of(seen(rows), m)) - rows).sum() for m in METHODS}
    assert min(errors, key=errors.get) == "mse"


def test_the_share_that_is_clipped():
    assert clipped(seen(np.array([[1.0, -2.0], [3.0, 0.0]])), 1.5) == 0.5
