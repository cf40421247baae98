"""Polygons with holes as single rings, for formats that know no holes: each hole is joined by a cut of no width.

A cut runs straight to the left, from a hole's leftmost point to the first ring that it meets. That lies further left,
so holes that are taken from the left are joined to what is joined already, and a cut never leaves the polygon.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def keyhole(exterior: np.ndarray, holes: Iterable[np.ndarray]) -> np.ndarray:
    """One ring around a polygon and its holes.

    Args:
        exterior: [N, 2], not closed.
        holes: [M, 2] each.

    Returns:
        [K, 2] of the same kind, or floats where a cut ends between two corners. It comes by the cuts twice.
    """
    ring = exterior
    for hole in sorted(holes, key=_leftmost):
        first = int(np.lexsort((hole[:, 1], hole[:, 0]))[0])
        at, point = _hit(ring, hole[first])
        around = [hole[first:], hole[: first + 1]]
        ring = np.concatenate([ring[: at + 1], point, *around, point, ring[at + 1 :]])
    return ring


def _leftmost(hole: np.ndarray) -> tuple[float, float]:
    first = np.lexsort((hole[:, 1], hole[:, 0]))[0]
    return float(hole[first, 0]), float(hole[first, 1])


def _hit(ring: np.ndarray, start: np.ndarray) -> tuple[int, np.ndarray]:
    """Where a ray to the left meets a ring first: the edge's number, and the point, [1, 2]."""
    a, b = ring, np.roll(ring, -1, axis=0)
    x, y = start
    rise = b[:, 1] - a[:, 1]
    crosses = (np.minimum(a[:, 1], b[:, 1]) <= y) & (y <= np.maximum(a[:, 1], b[:, 1]))
    share = np.divide(y - a[:, 1], rise, out=np.zeros(len(a)), where=rise != 0)
    at = a[:, 0] + share * (b[:, 0] - a[:, 0])
    level = rise == 0  # such an edge is met at the end that is nearer, or where the ray begins
    at[level] = np.minimum(np.maximum(a[level, 0], b[level, 0]), np.maximum(x, np.minimum(a[level, 0], b[level, 0])))
    at[~crosses | (at > x)] = -np.inf
    edge = int(at.argmax())
    return edge, np.array([[at[edge], y]])
