"""Rounds and what their times say; memory; all without engines."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ovdeploy.runtime import EngineError
from ovdeploy.runtime.bench.machine import machine_facts
from ovdeploy.runtime.bench.memory import Memory, own_memory
from ovdeploy.runtime.bench.plan import Outcome
from ovdeploy.runtime.bench.rounds import Series, agreement, alternate, figures, ratio, rotated, spread


def outcome(whole, mask=0, regions=1, **steps):
    labels = np.full((2, 2), mask, np.uint16)
    return Outcome(whole, steps, labels, labels, regions)


@pytest.mark.parametrize(("by", "expected"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc")])
def test_every_round_begins_with_the_next(by, expected):
    assert "".join(rotated("abc", by)) == expected


def test_all_are_run_in_every_round_after_what_comes_before_it():
    log = []

    def run(name):
        log.append(name)
        return outcome(1.0)

    series = alternate({name: lambda name=name: run(name) for name in "ab"}, 3, lambda number: log.append(number))
    assert log == [0, "a", "b", 1, "b", "a", 2, "a", "b"]
    assert [len(each.whole) for each in series.values()] == [3, 3]


def test_an_interruption_keeps_the_rounds_that_are_whole():
    calls = []

    def run():
        calls.append(1)
        if len(calls) == 6:  # the second of the third round
            raise KeyboardInterrupt
        return outcome(float(len(calls)))

    series = alternate({"a": run, "b": run}, 5)
    assert {key: each.whole for key, each in series.items()} == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
    assert all(len(each.regions) == len(each.steps) == 2 for each in series.values())


def test_an_interruption_in_the_first_round_leaves_nothing_to_tell():
    def run():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        alternate({"a": run}, 3)


def test_what_is_no_stage_is_the_rest_of_the_whole():
    series = Series()
    series.add(outcome(10.0, dino=4.0, coarse=1.0))
    series.add(outcome(20.0, dino=5.0, merge=2.0))
    assert series.without(["dino", "head"]) == [6.0, 15.0], "with what no step accounts for"
    assert series.step_names() == ["dino", "coarse", "merge"]
    assert series.step("merge") == [0.0, 2.0]


def test_masks_that_change_between_rounds_are_noticed():
    series = Series()
    for mask in (0, 0, 1):
        series.add(outcome(1.0, mask=mask))
    assert series.repeats == 0.0 and series.first is not None and not series.first.mask.any()


@pytest.mark.parametrize(
    ("reference", "own", "expected"),
    [
        ([8.0, 8.0, 8.0], [2.0, 4.0, 4.0], 2.0),
        ([2.0, 20.0, 2.0], [1.0, 10.0, 1.0], 2.0),  # a slow round falls on both
        ([0.0, 8.0], [2.0, 4.0], None),
        ([8.0], [0.0], None),
    ],
)
def test_the_ratio_pairs_the_times_of_a_round(reference, own, expected):
    assert ratio(reference, own) == expected


def test_figures_of_one_and_of_many_rounds():
    one, many = figures([3.0]), figures([float(n) for n in range(11)])
    assert (one.median, one.p90, one.min, one.max) == (3.0, 3.0, 3.0, 3.0)
    assert (many.median, many.p90, many.min, many.max) == (5.0, 9.0, 0.0, 10.0)


def test_a_single_bad_round_does_not_spread():
    assert spread([1.0, 1.0, 1.0, 1.0, 9.0]) == 0.0
    assert spread([1.0, 2.0, 3.0]) == pytest.approx(0.5)
    assert spread([0.0, 0.0]) == 0.0


def test_masks_of_other_sizes_agree_nowhere():
    assert agreement(np.zeros((2, 2)), np.zeros((2, 3))) == 0.0
    assert agreement(np.zeros((2, 2)), np.eye(2)) == 0.5


def test_memory_is_read_from_the_kernel(tmp_path):
    (tmp_path / "status").write_text("Name:\ta\nVmHWM:\t  20 kB\nVmRSS:\t  10 kB\n")
    assert own_memory(tmp_path / "status") == Memory(10 * 1024, 20 * 1024)
    before = own_memory()
    taken = np.ones(40_000_000)
    assert own_memory().peak - before.resident > 0.9 * taken.nbytes, "every page of it was written"


@pytest.mark.parametrize("text", [None, "", "VmRSS:\n", "VmRSS: a kB\nVmHWM: 1 kB\n"])
def test_without_the_kernels_word_there_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "status").write_text(text)
    with pytest.raises(EngineError, match="needs Linux"):
        own_memory(tmp_path / "status")


def test_the_peak_of_a_child_is_its_own():
    """`ru_maxrss` would begin with the parent's."""
    large = np.ones(100_000_000)
    code = "from ovdeploy.runtime.bench.memory import own_memory; print(own_memory().peak)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert int(told.stdout) < large.nbytes


@pytest.mark.parametrize(
    ("text", "processor", "instructions"),
    [
        ("model name\t: A\nflags\t\t: sse avx2 amx_bf16\n\nmodel name\t: B\nflags\t: avx512f\n", "A", "avx2 amx_bf16"),
        ("BogoMIPS\t: 1\nFeatures\t: asimd bf16\n", None, "bf16"),
        (None, None, None),
    ],
)
def test_the_machine_is_told_without_a_name(tmp_path, text, processor, instructions):
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    facts = machine_facts(tmp_path / "cpuinfo")
    assert facts.get("instructions") == instructions
    assert processor is None or facts["processor"] == processor
    assert int(facts["cores"]) >= 1 and facts["numpy"] == np.__version__
    assert os.uname().nodename not in facts.values()
