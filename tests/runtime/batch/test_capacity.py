"""The simulation against what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from support.capacity import Fleet, Load, measured, simulated

SECOND = np.ones(1)


def test_without_chance_it_is_a_division():
    load = Load(photos=1200, shard=10, seconds=SECOND, overhead=2.0)
    found = simulated(load, Fleet(workers=4, opening=7.0))
    assert found.end * 3600 == pytest.approx(7 + 30 * 12) and found.lost == 0
    assert found.efficiency == pytest.approx(1200 / (4 * (7 + 360)))


def test_the_last_shard_alone_is_the_tail():
    found = simulated(Load(photos=50, shard=10, seconds=SECOND, overhead=0.0), Fleet(workers=4, opening=0.0))
    assert found.end * 3600 == pytest.approx(20) and found.tail * 3600 == pytest.approx(10)


@pytest.mark.parametrize("shard", [100, 1000])
def test_lost_work_is_what_the_exponential_law_says(shard):
    """A shard of T hours on workers that fail r times an hour takes (e^(rT) − 1) / r hours, redone parts included."""
    rate = 2.0
    load = Load(photos=2_000_000, shard=shard, seconds=SECOND, overhead=0.0)
    found = simulated(load, Fleet(workers=100, failures_per_hour=rate, opening=0.0, away=0.0), seed=1)
    expected = (np.expm1(rate * shard / 3600) / rate) * (2_000_000 / shard)  # hours of work
    assert found.ideal + found.lost == pytest.approx(expected, rel=0.03)  # of thousands of failures, chance has 2 %
    assert found.failures == pytest.approx(expected * rate, rel=0.05)


def test_copies_take_a_stragglers_last_shard_from_it():
    load = Load(photos=100_000, shard=1000, seconds=SECOND, overhead=0.0)
    slow = {"workers": 50, "slow_share": 0.1, "slow_factor": 10.0}
    plain, copied = (simulated(load, Fleet(**slow, copies=copies), seed=3) for copies in (False, True))
    assert plain.end * 3600 > 9000 and copied.end * 3600 < 4500 and copied.lost > 0


def test_every_photo_is_done_whatever_befalls():
    """It ends, though every shard is lost more often than not."""
    load = Load(photos=1000, shard=100, seconds=SECOND)
    found = simulated(load, Fleet(workers=3, failures_per_hour=40.0, copies=True, slow_share=0.5), seed=2)
    assert found.failures > 10 and found.end > 0


def test_a_histogram_gives_its_mean_back_to_the_width_of_a_bin():
    times = np.random.default_rng(0).lognormal(-1, 0.5, 5000)
    edges = np.geomspace(1e-3, 1e3, 241)
    again = measured(edges, np.histogram(times, edges)[0])
    assert len(again) == 5000 and again.mean() == pytest.approx(times.mean(), rel=0.03)  # a bin is 6 % wide
