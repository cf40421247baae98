"""Soaking: many photos of mixed sizes through one runner, and whether its memory grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from ..photo.reading import resize
from ..words.vocabulary import Vocabulary
from .memory import Memory
from .plan import Outcome

SIZES = 20
"""So many different sizes come, again and again."""

GROWTH = 0.01
"""Growth past this share of the resident memory, per hundred photos, counts."""


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """Memory over many photos, in bytes."""

    runner: str
    photos: int
    sizes: int
    """How many different ones; all have come before growth is measured."""
    settled: int
    """Resident after the first quarter."""
    end: int
    """Resident after the last photo."""
    peak: int
    """At most, opening included."""
    per_hundred: float
    """Growth per hundred photos after the first quarter: the line of least squares."""
    grows: bool


def soak(
    runner: str,
    run: Callable[..., Outcome],
    memory: Callable[[], Memory],
    photo: np.ndarray,
    vocabulary: Vocabulary,
    count: int,
) -> Soak:
    """Segment a photo in many sizes, and look at the process's memory after each.

    Args:
        runner: its label.
        run: the runner's `run`.
        memory: tells its process's memory.
        photo: [H, W, 3] uint8 RGB.
        vocabulary: the classes.
        count: photos, at least 4.
    """
    sizes = mixed_sizes((photo.shape[0], photo.shape[1]), min(SIZES, count // 4))
    seen = []
    for index in range(count):
        run(resize(photo, sizes[index % len(sizes)]), vocabulary)
        seen.append(memory())
    return judged(runner, seen, len(sizes))


def mixed_sizes(hw: tuple[int, int], count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Heights and widths between half and one and a half of a photo's, half of them turned upright or lying."""
    rng = np.random.default_rng(seed)
    factors = rng.uniform(0.5, 1.5, (count, 2))
    return [
        (max(1, int(a * hw[turn])), max(1, int(b * hw[1 - turn])))
        for (a, b), turn in zip(factors, np.arange(count) % 2, strict=True)
    ]


def judged(runner: str, seen: Sequence[Memory], sizes: int) -> Soak:
    """The verdict on the memory after each photo."""
    resident = np.array([memory.resident for memory in seen], np.float64)
    later = resident[len(resident) // 4 :]
    slope = float(np.polyfit(np.arange(len(later)), later, 1)[0]) if len(later) > 1 else 0.0
    return Soak(
        runner=runner, photos=len(seen), sizes=sizes, settled=int(later[0]), end=int(later[-1]),
        peak=max(memory.peak for memory in seen), per_hundred=slope * 100,
        grows=slope * 100 > GROWTH * float(later.mean()),
    )  # fmt: skip
