"""Outputs that are sets: rows in the order of the reference's, so that a near tie is no error and all else is."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ...runtime.evaluation.assignment import best_pairs


def in_order_of(
    expected: Mapping[str, np.ndarray], came: Mapping[str, np.ndarray], sets: Collection[str]
) -> dict[str, np.ndarray]:
    """What came, with the rows of sets where their counterparts are in what was expected.

    Rows are those of all sets side by side, so that a box stays with its logits. Rows are paired one to one, so that
    the sum of their distances is least; the distance of two is the largest difference of their entries, each output
    as shares of the largest that was expected.

    Args:
        expected: outputs by name.
        came: likewise, of the same shapes.
        sets: names of outputs [1, Q, …] whose rows are together a set; none leaves all as it is.
    """
    if not sets:
        return dict(came)
    wanted, found = (np.concatenate([_rows(of[name], expected[name]) for name in sorted(sets)], 1)
                     for of in (expected, came))  # fmt: skip
    apart = np.stack([np.abs(found - row).max(1) for row in wanted])
    order = [column for _, column in best_pairs(-apart)]
    return {name: array[:, order] if name in sets else array for name, array in came.items()}


def _rows(array: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """[Q, n] float64."""
    largest = float(np.abs(expected).max()) or 1.0
    return array[0].reshape(array.shape[1], -1).astype(np.float64) / largest
