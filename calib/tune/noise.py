"""Whether a gain could be luck: photos are drawn again, with replacement, and the figure is taken anew each time."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from ...runtime.evaluation.metrics import class_iou, mean_known

DRAWS, LEVEL, SEED = 2000, 0.95, 0


class Tally:
    """Confusions of photos, each kept apart (as the entries that are not 0).

    Attributes:
        photos: how many were added.
    """

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._cells: list[np.ndarray] = []
        self._pixels: list[np.ndarray] = []
        self.photos = 0

    def add(self, counts: np.ndarray) -> None:
        """Add a photo's confusion, [C, C]."""
        flat = counts.reshape(-1)
        cells = np.flatnonzero(flat)
        self._cells.append(cells)
        self._pixels.append(flat[cells])
        self.photos += 1

    def counts(self, weights: np.ndarray | None = None) -> np.ndarray:
        """The sum of all confusions, [C, C] float64 (exact: pixels stay far below 2⁵³).

        Args:
            weights: [photos], how often each counts; None means once.
        """
        if not self.photos:
            return np.zeros((self._classes, self._classes))
        pixels = np.concatenate(self._pixels).astype(np.float64)
        if weights is not None:
            pixels *= np.repeat(weights, [len(cells) for cells in self._cells])
        flat = np.bincount(np.concatenate(self._cells), pixels, minlength=self._classes**2)
        return flat.reshape(self._classes, self._classes)

    def miou(self, weights: np.ndarray | None = None) -> float:
        """mIoU as `ovdeploy evaluate` computes it; NaN without pixels that count."""
        return mean_known(class_iou(self.counts(weights)))

    def figure(self, weights: np.ndarray | None = None) -> float:
        """See `Countable`: mIoU."""
        return self.miou(weights)


class Countable(Protocol):
    """A tally of photos that a figure is taken of."""

    photos: int

    def figure(self, weights: np.ndarray | None = None) -> float:
        """The figure, each photo counting so often; NaN where it is not defined."""


class Gain(NamedTuple):
    """How much higher one figure is than another, and the interval in which resampled photos put that."""

    gain: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether no gain at all would not surprise."""
        return not self.low > 0


def bootstrap_gain(
    before: Countable, after: Countable, *, draws: int = DRAWS, level: float = LEVEL, seed: int = SEED
) -> Gain:
    """The gain of `after` over `before` on the same photos, by the percentile bootstrap over photos, in pairs.

    Args:
        before: of some photos.
        after: of the same photos in the same order.
        draws: how often photos are drawn.
        level: share of the draws inside the interval.
        seed: of the draws, which are the same each time.

    Returns:
        The gain, NaN without pixels that count; where nothing is known of its spread (fewer than two photos, or no
        labels) the interval is infinite.

    Raises:
        ValueError: the photos differ in number.
    """
    if before.photos != after.photos:
        raise ValueError(f"{before.photos} photos before and {after.photos} after")
    gain = after.figure() - before.figure()
    if before.photos < 2:
        return Gain(gain, -np.inf, np.inf)
    rng = np.random.default_rng(seed)
    even = np.full(before.photos, 1 / before.photos)
    weights = [rng.multinomial(before.photos, even) for _ in range(draws)]
    gains = np.array([after.figure(weight) - before.figure(weight) for weight in weights])
    known = gains[~np.isnan(gains)]  # a draw may consist of photos without labels
    if not known.size:
        return Gain(gain, -np.inf, np.inf)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Gain(gain, float(low), float(high))
