"""Sets in parity: another order passes, another row does not."""

from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.export.parity.sets import in_order_of
from ovdeploy.export.reference.checks import limits_for
from ovdeploy.runtime.recipe.recipe import Tolerances

SETS = ("logits", "boxes")


@pytest.fixture
def expected():
    rng = np.random.default_rng(0)
    return {
        "logits": rng.normal(0, 8, (1, 60, 7)).astype(np.float32),
        "boxes": rng.random((1, 60, 4)).astype(np.float32),
        "other": rng.random((1, 60)).astype(np.float32),
    }


def passes(expected, came):
    check = limits_for(Tolerances(), "fp32").check
    ordered = in_order_of(expected, came, SETS)
    return [name for name, array in ordered.items() if check("ground_detector", name, array, expected[name]).passed]


def shuffled(outputs):
    order = np.random.default_rng(1).permutation(60)
    return {name: array[:, order] if name in SETS else array for name, array in outputs.items()}


def test_rows_in_another_order_pass(expected):
    assert passes(expected, shuffled(expected)) == ["logits", "boxes", "other"]


@pytest.mark.parametrize(("name", "column"), [("logits", 3), ("boxes", 0)])
def test_a_changed_row_does_not(expected, name, column):
    came = {each: array.copy() for each, array in shuffled(expected).items()}
    came[name][0, 5, column] += 0.1 * np.abs(expected[name]).max()
    assert passes(expected, came) == [each for each in expected if each != name]


def test_a_row_twice_in_the_place_of_another_does_not(expected):
    came = {each: array.copy() for each, array in shuffled(expected).items()}
    for name in SETS:
        came[name][:, 5] = came[name][:, 6]
    assert passes(expected, came) == ["other"]


def test_boxes_stay_with_their_logits(expected):
    came = shuffled(expected)
    assert passes(expected, {**came, "boxes": came["boxes"][:, ::-1]}) != ["logits", "boxes", "other"]


def test_outputs_that_are_no_sets_are_left_as_they_are(expected):
    came = shuffled(expected)
    assert all(in_order_of(expected, came, ())[name] is came[name] for name in came)
