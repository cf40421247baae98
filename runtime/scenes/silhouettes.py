"""Silhouettes of things: closed polygons about the origin, within a radius of 1, y pointing down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Polygon = np.ndarray
"""[N, 2] float64, x y."""

ANGLES = np.linspace(0, 2 * np.pi, 120, endpoint=False)


def _polar(radius: np.ndarray) -> Polygon:
    """The curve r(φ), φ = 0 pointing up."""
    return _fitted(np.stack([radius * np.sin(ANGLES), -radius * np.cos(ANGLES)], axis=1))


def _fitted(points: np.ndarray) -> Polygon:
    """Centred on the bounding box and scaled to radius 1."""
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    fitted: np.ndarray = points / np.linalg.norm(points, axis=1).max()
    return fitted


def _rounded(corners: list[tuple[float, float]], radius: float = 0.3) -> Polygon:
    """A polygon with its corners rounded by quadratic curves; `radius` is the share of each side that bends."""
    points = np.array(corners, float)
    t = np.linspace(0, 1, 9)[:, None]
    arcs = []
    for before, corner, after in zip(np.roll(points, 1, 0), points, np.roll(points, -1, 0), strict=True):
        start, end = corner + radius * (before - corner), corner + radius * (after - corner)
        arcs.append((1 - t) ** 2 * start + 2 * t * (1 - t) * corner + t**2 * end)
    return _fitted(np.concatenate(arcs))


def _regular(count: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """Corners of a regular polygon, or of a star if every second one lies at `inner`."""
    steps = count if inner == 1 else 2 * count
    radii = [1.0 if step % 2 == 0 else inner for step in range(steps)] if inner != 1 else [1.0] * steps
    angles = [2 * np.pi * step / steps for step in range(steps)]
    return [(float(r * np.sin(a)), float(-r * np.cos(a))) for r, a in zip(radii, angles, strict=True)]


def _heart() -> Polygon:
    x = 16 * np.sin(ANGLES) ** 3
    y = -(13 * np.cos(ANGLES) - 5 * np.cos(2 * ANGLES) - 2 * np.cos(3 * ANGLES) - np.cos(4 * ANGLES))
    return _fitted(np.stack([x, y], axis=1))


def _moon() -> Polygon:
    outer = np.linspace(-2.3, 2.3, 60)
    inner = np.linspace(1.75, -1.75, 40)
    curve = np.concatenate(
        [
            np.stack([-np.cos(outer), np.sin(outer)], axis=1),
            np.stack([0.62 - 0.78 * np.cos(inner), 0.76 * np.sin(inner)], axis=1),
        ]
    )
    return _fitted(curve)


def _fish() -> Polygon:
    x = np.cos(ANGLES) - np.sin(ANGLES) ** 2 / np.sqrt(2)
    y = np.cos(ANGLES) * np.sin(ANGLES) * 1.25
    return _fitted(np.stack([x, y], axis=1))


def _drop() -> Polygon:
    x, y = 0.62 * np.sin(ANGLES) * np.sin(ANGLES / 2) ** 1.4, -np.cos(ANGLES)
    return _fitted(np.stack([x, y], axis=1))


def _leaf() -> Polygon:
    x, y = 0.55 * np.sin(ANGLES) * np.abs(np.sin(ANGLES)) ** 0.4, -np.cos(ANGLES)
    return _fitted(np.stack([x, y], axis=1))


def _cross() -> Polygon:
    a, b = 0.36, 1.0
    corners = [
        (-a, -b),
        (a, -b),
        (a, -a),
        (b, -a),
        (b, a),
        (a, a),
        (a, b),
        (-a, b),
        (-a, a),
        (-b, a),
        (-b, -a),
        (-a, -a),
    ]
    return _rounded(corners, 0.25)


SILHOUETTES: dict[str, Callable[[], Polygon]] = {
    "ball": lambda: _polar(np.ones_like(ANGLES)),
    "egg": lambda: _polar(1 - 0.18 * np.cos(ANGLES) - 0.12 * np.cos(2 * ANGLES + np.pi)),
    "box": lambda: _rounded(_regular(4), 0.12),
    "pillow": lambda: _polar(1 + 0.14 * np.cos(4 * ANGLES)),
    "tile": lambda: _rounded([(-1, -0.62), (1, -0.62), (1, 0.62), (-1, 0.62)], 0.15),
    "triangle": lambda: _rounded(_regular(3), 0.15),
    "hexagon": lambda: _rounded(_regular(6), 0.15),
    "star": lambda: _rounded(_regular(5, 0.52), 0.3),
    "sun": lambda: _rounded(_regular(10, 0.76), 0.3),
    "flower": lambda: _polar(1 + 0.24 * np.cos(6 * ANGLES)),
    "clover": lambda: _polar(1 + 0.3 * np.cos(3 * ANGLES)),
    "gear": lambda: _polar(1 + 0.12 * np.tanh(4 * np.cos(9 * ANGLES))),
    "heart": _heart,
    "moon": _moon,
    "fish": _fish,
    "drop": _drop,
    "leaf": _leaf,
    "cross": _cross,
    "house": lambda: _rounded([(0, -1), (0.85, -0.25), (0.85, 0.85), (-0.85, 0.85), (-0.85, -0.25)], 0.1),
    "arrow": lambda: _rounded(
        [(0, -1), (0.9, -0.1), (0.42, -0.1), (0.42, 0.9), (-0.42, 0.9), (-0.42, -0.1), (-0.9, -0.1)], 0.15
    ),
    "bean": lambda: _polar(1 + 0.32 * np.cos(2 * ANGLES) + 0.16 * np.sin(ANGLES)),
    "pebble": lambda: _polar(
        1 + 0.1 * np.cos(2 * ANGLES + 0.6) + 0.07 * np.cos(3 * ANGLES + 2) + 0.04 * np.cos(5 * ANGLES)
    ),
}
"""By the noun that captions use."""
