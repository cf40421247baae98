from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.calib.int8.budget import fewer
from ovdeploy.calib.int8.speed import speedup, take_turns
from ovdeploy.calib.int8.stage import Choice
from ovdeploy.calib.int8.steps import Steps


def test_a_step_is_done_once_and_again_for_other_inputs(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"a": 1.5}

    for identity in ({"photos": "x"}, {"photos": "x"}, {"photos": "y"}):
        assert Steps(tmp_path, identity).once("one", dict[str, float], make) == {"a": 1.5}
    assert len(made) == 2


def test_a_step_that_fails_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError

    steps = Steps(tmp_path, {})
    with pytest.raises(RuntimeError):
        steps.arrays("one", fail)
    for make in (lambda: {"a/b": np.arange(3)}, fail):
        assert steps.arrays("one", make)["a/b"].tolist() == [0, 1, 2]


def test_runs_take_turns_and_the_median_counts():
    order, ticks = [], iter([0, 1, 1, 3, 3, 13, 13, 15])
    runs = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = take_turns(runs, 2, lambda: next(ticks))
    assert order == ["a", "b", "a", "b", "a", "b"], "once for nothing"
    assert times == {"a": 5500.0, "b": 2000.0}


def test_the_best_of_both_are_compared():
    times = {"fp32 on x": 10.0, "fp16 on x": 30.0, "int8 on x": 9.0, "fp32 on y": 8.0, "int8 on y": 12.0}
    assert speedup(times) == pytest.approx(8 / 9)
    assert speedup({"fp32 on x": 1.0}) == 0.0


def test_the_most_sensitive_quarter_goes_back():
    nodes = [f"n{i}" for i in range(8)]
    errors = {node: float(i % 5) for i, node in enumerate(nodes)}
    choice = Choice(
        smoothing=0.0, method="mse", limits={}, methods={}, on=tuple(nodes), errors=errors, table={}, cosine=1.0,
        relative=0.0,
    )  # fmt: skip
    assert fewer(choice).on == ("n0", "n1", "n2", "n5", "n6", "n7")
    assert fewer(fewer(fewer(fewer(fewer(fewer(fewer(choice))))))).on == ()
