"""Outlines of masks along the edges of pixels: simple rings, of which the inside is the mask, pixel by pixel.

Points are corners of pixels: the pixel in column x and row y covers x to x + 1 and y to y + 1. A ring is a list of
corners, not closed. It has the mask at its right hand: exteriors run clockwise on a screen, holes the other way.

Where two pixels touch at a corner alone, a ring would meet itself. There the mask is cut, and a ring that comes by
twice is split in two; so polygons are valid, and one instance may have several.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT = 1, 2, 4, 8
FALLING, RISING = TOP_LEFT | BOTTOM_RIGHT, TOP_RIGHT | BOTTOM_LEFT
"""Two pixels that touch at a corner alone."""

CORNERS = np.zeros(16, np.uint8)
"""How many corners of rings lie where four pixels meet, by which of them are inside."""
CORNERS[[1, 2, 4, 8, 7, 11, 13, 14]] = 1
CORNERS[[FALLING, RISING]] = 2


class Ring(NamedTuple):
    """A part of an outline."""

    points: np.ndarray
    """[N, 2] int, x and y of corners of pixels, in order; the last is joined to the first."""
    shared: np.ndarray
    """[N] bool, where it may meet another ring, or did meet itself: at corners where pixels touch."""


class Part(NamedTuple):
    """A polygon: pixels that are joined by their edges."""

    exterior: Ring
    holes: tuple[Ring, ...]

    @property
    def rings(self) -> tuple[Ring, ...]:
        """All of them, the exterior first."""
        return (self.exterior, *self.holes)


class _Corners(NamedTuple):
    """Corners of rings, row by row; of two at one place the first ends an edge from the left."""

    x: np.ndarray
    y: np.ndarray
    code: np.ndarray
    """[N] int: which of the four pixels around it are inside."""


def outline(inside: np.ndarray) -> list[Part]:
    """The outline of a mask.

    Args:
        inside: [h, w] uint8, 0 or 1.

    Returns:
        Its parts, from the top.
    """
    corners = _corners(inside)
    rings = [ring for points in _rings(corners, _edges(corners)) for ring in _split(points, corners)]
    areas = [_area(ring.points) for ring in rings]
    exteriors = [ring for ring, area in zip(rings, areas, strict=True) if area > 0]
    holes = [ring for ring, area in zip(rings, areas, strict=True) if area < 0]
    if len(exteriors) == 1:
        return [Part(exteriors[0], tuple(holes))]
    _, parts = cv2.connectedComponents(inside, connectivity=4)
    of_part: dict[int, list[Ring]] = {}
    for hole in holes:
        of_part.setdefault(int(parts[_pixel(hole.points)]), []).append(hole)
    return [Part(each, tuple(of_part.get(int(parts[_pixel(each.points)]), ()))) for each in exteriors]


def _corners(inside: np.ndarray) -> _Corners:
    padded = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    code = padded[:-1, :-1] | padded[:-1, 1:] << 1 | padded[1:, :-1] << 2 | padded[1:, 1:] << 3
    flat = code.reshape(-1)
    count = CORNERS[flat]
    place = np.flatnonzero(count)
    place = np.repeat(place, count[place])
    y, x = np.divmod(place, code.shape[1])
    return _Corners(x, y, flat[place].astype(np.intp))


def _edges(corners: _Corners) -> np.ndarray:
    """The horizontal edges: the corners of a row belong together by twos.

    Returns:
        [E, 2] int, the corners that each begins and ends at, with the mask at its right hand.
    """
    pairs = np.arange(len(corners.x)).reshape(-1, 2)
    leftwards = corners.code[::2] & BOTTOM_RIGHT == 0  # the mask lies above
    pairs[leftwards] = pairs[leftwards, ::-1]
    return pairs


def _rings(corners: _Corners, edges: np.ndarray) -> list[np.ndarray]:
    """Follow the edges.

    Returns:
        Of each ring [N] int, its corners in order.
    """
    second = np.zeros(len(corners.x), bool)
    second[1:] = (np.diff(corners.x) == 0) & (np.diff(corners.y) == 0)
    lower = second ^ (corners.code == RISING)  # of two corners at one place; pixels that touch are kept apart
    columns = np.lexsort((lower, corners.y, corners.x)).reshape(-1, 2)
    across = np.empty(len(corners.x), np.intp)  # the other end of each corner's vertical edge
    across[columns[:, 0]], across[columns[:, 1]] = columns[:, 1], columns[:, 0]
    following = (across[edges[:, 1]] // 2).tolist()
    seen, rings = bytearray(len(edges)), []
    for first in range(len(edges)):
        ring, edge = [], first
        while not seen[edge]:
            seen[edge] = 1
            ring.append(edge)
            edge = following[edge]
        if ring:
            rings.append(edges[ring].reshape(-1))
    return rings


def _split(ring: np.ndarray, corners: _Corners) -> list[Ring]:
    """A ring, cut where it comes by a place twice."""
    points = np.stack([corners.x[ring], corners.y[ring]], axis=1)
    shared = CORNERS[corners.code[ring]] == 2
    if not shared.any():
        return [Ring(points, shared)]
    return [Ring(points[part], shared[part]) for part in _simple_parts(list(map(tuple, points.tolist())))]


def _simple_parts(places: list[tuple[int, ...]]) -> list[list[int]]:
    """The indices of each part of a closed path that comes by no place twice."""
    parts: list[list[int]] = []
    path: list[int] = []
    at: dict[tuple[int, ...], int] = {}
    for index, place in enumerate(places):
        if place in at:
            begin = at[place]
            parts.append(path[begin:])
            for left in path[begin:]:
                del at[places[left]]
            del path[begin:]
        at[place] = len(path)
        path.append(index)
    return [*parts, path]


def _area(points: np.ndarray) -> int:
    """The area inside, negative of a hole."""
    x, y = points[:, 0], points[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _pixel(points: np.ndarray) -> tuple[int, int]:
    """Row and column of a pixel inside, at one of a ring's horizontal edges."""
    first = 0 if points[0, 1] == points[1, 1] else 1
    (x, y), (other, _) = points[first].tolist(), points[(first + 1) % len(points)].tolist()
    return (y, x) if other > x else (y - 1, other)
