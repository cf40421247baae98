"""The tally's figures against plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdeploy.runtime.batch.tally import Tally, described, spoken

BIN = 10 ** (1 / 40)
"""How much wider the upper edge of a bin is than its lower one."""


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=200))
def test_quantiles_are_right_to_the_width_of_a_bin(seconds):
    tally = Tally()
    tally.end(seconds, 1.0, 0.5, 7)
    times = tally.summary("out").times
    ordered = sorted(seconds)
    for share, told in ((0.5, times.p50), (0.9, times.p90), (0.99, times.p99)):
        low = ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
        high = ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        assert low / BIN * (1 - 1e-9) <= told <= high * BIN * (1 + 1e-9)  # the edges are rounded powers of ten
    assert times.max == max(seconds) and times.mean == pytest.approx(
        np.mean(seconds), rel=1e-9
    )  # sums in another order
    assert sum(times.counts) == times.photos == len(seconds) and len(times.edges) == len(times.counts) + 1


def test_times_beyond_the_bins_are_counted_in_the_last_ones():
    tally = Tally()
    tally.end([1e-9, 1e9], 1.0, 0.5, 7)
    assert tally.summary("out").times.photos == 2


def test_the_rate_begins_when_the_first_worker_is_open():
    clock = iter([0.0, 12.0, 14.0, 15.0]).__next__
    tally = Tally(clock)
    tally.opened(10.0)
    tally.opened(11.0)
    tally.add(failed=False)
    tally.add(failed=True)
    assert tally.rate == 2 / 4 and tally.failed == 1 and tally.summary("out").seconds == 15.0


def test_a_run_that_did_nothing_has_no_times():
    told = Tally().summary("out")
    assert told.times is None and told.engine_busy is None and told.photos_per_second == 0


def test_what_is_left_is_told_in_hours():
    tally = Tally(iter([0.0, 10.0]).__next__)
    tally.opened(0.0)
    tally.add(failed=False)
    assert described(tally, 1000) == "0.1 photos/s, 2:46:40 left"
    assert spoken(59.6) == "0:01:00" and spoken(0) == "0:00:00" and spoken(90_061) == "25:01:01"
