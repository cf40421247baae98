"""The dynamic axes of stages that answer prompts."""

from __future__ import annotations

from ...stage.contract import Axis

POINTS = Axis(smallest=1, usual=2, largest=16, example=4)
"""Points of a prompt, a box's corners among them."""


def batch_axis(largest: int, *, example: int) -> Axis:
    """An axis of things that go through together: batches are full but for the last."""
    return Axis(smallest=1, usual=largest, largest=largest, example=example)
