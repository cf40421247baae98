"""Pairs of rows and columns that are worth most together: the Hungarian algorithm with potentials, in O(n²m).

After Kuhn, "The Hungarian method for the assignment problem", 1955, and Jonker and Volgenant, "A shortest augmenting
path algorithm for dense and sparse linear assignment problems", 1987: rows come in one after another, each by the
shortest path of swaps.
"""

from __future__ import annotations

import numpy as np


def best_pairs(worth: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of the largest sum of worths; every row and column is in one pair at most.

    Args:
        worth: [R, C], finite.

    Returns:
        min(R, C) pairs (row, column), sorted.
    """
    if worth.shape[0] > worth.shape[1]:
        return sorted((row, column) for column, row in best_pairs(worth.T))
    if not worth.size:
        return []
    cost = worth.max() - worth.astype(np.float64)
    owner = np.full(cost.shape[1], -1)
    rows, columns = np.zeros(cost.shape[0]), np.zeros(cost.shape[1])
    for row in range(cost.shape[0]):
        _let_in(row, cost, owner, rows, columns)
    return sorted((int(row), column) for column, row in enumerate(owner) if row >= 0)


def _let_in(row: int, cost: np.ndarray, owner: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    """Give a row a column, by the cheapest path on which each owner moves on; owners and potentials change in place."""
    before, done = np.full(len(owner), -1), np.zeros(len(owner), bool)
    least = np.full(len(owner), np.inf)
    at, here, price = row, -1, 0.0
    while True:
        through = price + cost[at] - rows[at] - columns
        nearer = ~done & (through < least)
        least[nearer], before[nearer] = through[nearer], here
        here = int(np.where(done, np.inf, least).argmin())
        price = least[here]
        if owner[here] < 0:
            break
        done[here] = True
        at = owner[here]
    rows[row] += price
    rows[owner[done]] += price - least[done]
    columns[done] -= price - least[done]
    while here >= 0:  # from the free column back to the row that came
        owner[here] = owner[before[here]] if before[here] >= 0 else row
        here = int(before[here])
