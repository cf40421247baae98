"""Simpler outlines that stay valid: Douglas and Peucker's method, refined where rings would meet.

No corner that is left out lies further than the tolerance from the line that replaces it. Where two lines would touch
or cross, both get back their furthest corners, until none do; the full outline is valid, so that ends. A smaller
tolerance is taken where a ring would change sides, or where too many pixels would change (`LOST`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .outline import Part, Ring

LOST = 0.008
"""Of an instance's pixels, those that a simpler outline may gain or lose, for each pixel of tolerance from 1 on: so
at 1 pixel the intersection over the union is above 0.99."""

LEAST = 0.3
"""A tolerance below this leaves nothing out: a corner of a step by one pixel is a third of one from its line."""

NONE = -1

CHUNK = 1 << 19
"""Pairs of lines that are compared at once."""


def simplified(parts: Sequence[Part], inside: np.ndarray, tolerance: float) -> Sequence[Part]:
    """The outline of a mask with fewer corners.

    Args:
        parts: from `outline`.
        inside: [h, w] uint8, the mask.
        tolerance: how far the outline may move, in pixels.
    """
    most = LOST * max(tolerance, 1)
    while tolerance >= LEAST:
        rings = [_Simpler(ring, tolerance) for part in parts for ring in part.rings]
        _part_lines(rings)
        lines = iter(rings)
        found = [Part(next(lines).ring, tuple(next(lines).ring for _ in part.holes)) for part in parts]
        if _sides_are_kept(found) and lost(found, inside) <= most:
            return found
        tolerance /= 2
    return parts


class _Simpler:
    """A ring of which some corners are kept."""

    def __init__(self, ring: Ring, tolerance: float) -> None:
        self.full = ring
        self.kept = np.zeros(len(ring.points), bool)
        for first, last in self._anchored():
            self._keep(first, last, tolerance)

    @property
    def ring(self) -> Ring:
        """What is left."""
        return Ring(self.full.points[self.kept], self.full.shared[self.kept])

    def refine(self, line: int) -> bool:
        """Keep the furthest corner of those that a line replaces; whether there is one."""
        kept = np.flatnonzero(self.kept)
        first, last = int(kept[line]), int(kept[(line + 1) % len(kept)])
        furthest, _ = self._furthest(first, last)
        if furthest != NONE:
            self.kept[furthest] = True
        return furthest != NONE

    def _anchored(self) -> list[tuple[int, int]]:
        """Keep the corners that must be: shared ones with their neighbours, so that what meets there meets as before;
        else two, as far apart as can be. Returns the stretches between."""
        shared = self.full.shared
        self.kept |= shared | np.roll(shared, 1) | np.roll(shared, -1)
        if not self.kept.any():
            apart = self.full.points - self.full.points[0]
            self.kept[[0, int((apart**2).sum(axis=1).argmax())]] = True
        kept = np.flatnonzero(self.kept).tolist()
        if len(kept) == 2:  # two corners make no ring
            found = [self._furthest(*stretch) for stretch in (kept, kept[::-1])]
            kept = sorted({*kept, max(found, key=lambda pair: pair[1])[0]})
            self.kept[kept] = True
        return list(zip(kept, [*kept[1:], kept[0]], strict=True))

    def _keep(self, first: int, last: int, tolerance: float) -> None:
        waiting = [(first, last)]
        while waiting:
            first, last = waiting.pop()
            furthest, distance = self._furthest(first, last)
            if distance > tolerance:
                self.kept[furthest] = True
                waiting += [(first, furthest), (furthest, last)]

    def _furthest(self, first: int, last: int) -> tuple[int, float]:
        """Of the corners between two, the one furthest from the line that joins them, and how far; NONE without any."""
        count = len(self.full.points)
        between = (last - first) % count - 1
        if between < 1:
            return NONE, 0.0
        points = self.full.points
        if first + between < count:
            inner = points[first + 1 : first + 1 + between]
        else:
            inner = points[np.arange(first + 1, first + 1 + between) % count]
        x, y = (inner - points[first]).T.astype(float)
        along_x, along_y = (points[last] - points[first]).tolist()
        share = np.clip((x * along_x + y * along_y) / max(along_x**2 + along_y**2, 1), 0, 1)
        distance = (x - share * along_x) ** 2 + (y - share * along_y) ** 2
        index = int(distance.argmax())
        return (first + 1 + index) % count, float(distance[index]) ** 0.5


def _part_lines(rings: list[_Simpler]) -> None:
    """Refine lines until no two meet, but where corners are shared."""
    while True:
        ring_of, line_of, begins, ends = _lines(rings)
        meeting = np.unique(np.concatenate([*_meeting(begins, ends), np.empty(0, np.intp)]))
        by_ring = sorted(zip(ring_of[meeting].tolist(), line_of[meeting].tolist(), strict=True), reverse=True)
        if not sum(rings[ring].refine(line) for ring, line in by_ring):  # the last line first: numbers stay
            return


def _lines(rings: list[_Simpler]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All lines: their rings and numbers in them, [K] int, and their ends, [K, 2] int each."""
    points = [ring.full.points[ring.kept] for ring in rings]
    ring_of = np.repeat(np.arange(len(rings)), [len(each) for each in points])
    line_of = np.concatenate([np.arange(len(each)) for each in points])
    return ring_of, line_of, np.concatenate(points), np.concatenate([np.roll(each, -1, axis=0) for each in points])


def _meeting(begins: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    """The numbers of lines that touch or cross another, some more than once."""
    low, high = np.minimum(begins, ends), np.maximum(begins, ends)
    order = np.argsort(low[:, 1], kind="stable")
    count = np.searchsorted(low[order, 1], high[order, 1], "right") - np.arange(len(order)) - 1
    cuts = np.searchsorted(np.cumsum(count), np.arange(CHUNK, count.sum() + CHUNK, CHUNK))
    for start, stop in zip([0, *(cuts + 1).tolist()], [*(cuts + 1).tolist(), len(order)], strict=True):
        own = count[start:stop]
        first = np.repeat(np.arange(start, start + len(own)), own)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(own) - own, own)
        one, other = order[first], order[second]
        near = (low[one, 0] <= high[other, 0]) & (low[other, 0] <= high[one, 0])
        one, other = one[near], other[near]
        bad = _meet(begins[one], ends[one], begins[other], ends[other])
        yield one[bad]
        yield other[bad]


def _meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Which lines a-b and c-d, whose boxes overlap, meet: touch or cross, or lie on each other if they share an end."""
    sides = [np.sign(_turn(*corners)) for corners in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))]
    touch = (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    on_line = (sides[0] == 0) & (sides[1] == 0)
    shares = np.zeros(len(a), bool)
    folded = np.zeros(len(a), bool)
    for near, far in ((a, b), (b, a)):
        for near_other, far_other in ((c, d), (d, c)):
            same = (near == near_other).all(axis=1)
            shares |= same
            folded |= same & (((far - near) * (far_other - near_other)).sum(axis=1) > 0)
    bad: np.ndarray = np.where(shares, on_line & folded, touch)
    return bad


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    ab, ac = b - a, c - a
    turn: np.ndarray = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    return turn


def _sides_are_kept(parts: Sequence[Part]) -> bool:
    """Whether every exterior still lies outside all others, and every hole inside its own."""
    rings = [(ring.points * 2, ring is not part.exterior) for part in parts for ring in part.rings]
    if len(rings) == 1:
        return True
    begins = np.concatenate([points for points, _ in rings])
    ends = np.concatenate([np.roll(points, -1, axis=0) for points, _ in rings])
    ring_of = np.repeat(np.arange(len(rings)), [len(points) for points, _ in rings])
    return all(
        _inside((points[0] + points[1]) // 2, begins[ring_of != number], ends[ring_of != number]) == is_hole
        for number, (points, is_hole) in enumerate(rings)
    )


def _inside(point: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> bool:
    """Whether a point, on none of the lines, is inside by the even-odd rule."""
    above = (begins[:, 1] > point[1]) != (ends[:, 1] > point[1])
    a, b = begins[above], ends[above]
    turn = _turn(a, b, np.broadcast_to(point, a.shape))
    return bool(np.count_nonzero((turn > 0) == (b[:, 1] > a[:, 1])) % 2)


def filled(parts: Sequence[Part], hw: tuple[int, int], *, left: bool = True) -> np.ndarray:
    """The pixels whose middles lie inside polygons, by the even-odd rule.

    Args:
        parts: polygons.
        hw: height and width; they lie within.
        left: whether a middle on an edge counts where the polygon lies at its right, or where at its left.

    Returns:
        [h, w] uint8, 0 or 1.
    """
    height, width = hw
    rings = [ring.points for part in parts for ring in part.rings]
    a = np.concatenate(rings)
    b = np.concatenate([np.roll(points, -1, axis=0) for points in rings])
    top = np.minimum(a[:, 1], b[:, 1])
    rows = np.abs(b[:, 1] - a[:, 1])
    row = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows - top, rows)
    slope = _slopes(a, b)
    x = np.repeat(a[:, 0] - slope * a[:, 1], rows) + np.repeat(slope, rows) * (row + 0.5)
    column = np.clip(np.ceil(x - 0.5) if left else np.floor(x - 0.5) + 1, 0, width).astype(np.intp)
    crossed = np.bincount(row * (width + 1) + column, minlength=height * (width + 1)).astype(np.uint8) & 1
    inside: np.ndarray = np.bitwise_xor.accumulate(crossed.reshape(height, width + 1), axis=1)[:, :-1]
    return inside


def _slopes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Columns for each row; 0 for level lines, which cross no middle of a row."""
    rise = b[:, 1] - a[:, 1]
    slopes: np.ndarray = np.divide(b[:, 0] - a[:, 0], rise, out=np.zeros(len(a)), where=rise != 0)
    return slopes


def lost(parts: Sequence[Part], inside: np.ndarray) -> float:
    """How many pixels polygons gain or lose, as a share of the mask's; those that readers take either way count too."""
    height, width = inside.shape
    changed = [filled(parts, (height, width), left=left) != inside for left in (True, False)]
    return np.count_nonzero(changed[0] | changed[1]) / max(int(np.count_nonzero(inside)), 1)
