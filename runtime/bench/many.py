"""Throughput: photos from files by `segment_many` against a plain loop, in turn, in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from ..photo.reading import resize
from ..words.vocabulary import Vocabulary
from .rounds import Figures, figures, ratio
from .soak import SIZES, mixed_sizes


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds a photo, decoding included."""

    runner: str
    photos: int
    loop: Figures
    many: Figures
    ratio: float
    """How many times more photos a second `segment_many` does: the median over rounds."""
    equal: bool
    """Whether all masks are the same, in the same order."""


def throughput(
    runner: str,
    call: Callable[..., Any],
    photo: np.ndarray,
    vocabulary: Vocabulary,
    photos: int,
    rounds: int,
    workers: int | None = None,
) -> Throughput:
    """Time both ways on a photo in mixed sizes, written as JPEG files.

    Args:
        runner: its label.
        call: calls a method of the runner by its name.
        photo: [H, W, 3] uint8 RGB.
        vocabulary: the classes.
        photos: how many.
        rounds: how often each way.
        workers: what `segment_many` is given.

    Raises:
        EngineError: a photo failed.
    """
    seconds: dict[str, list[float]] = {"loop": [], "many": []}
    equal = True
    ways: dict[str, tuple[Any, ...]] = {"loop": (), "many": (workers,)}
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(photo, Path(folder), photos)
        call("many", paths[:2], vocabulary, workers)  # whatever starts once has started
        for number in range(rounds):
            masks = {}
            for way in sorted(ways, reverse=number % 2 == 1):
                taken, masks[way] = call(way, paths, vocabulary, *ways[way])
                seconds[way].append(taken)
            equal &= _equal(masks["loop"], masks["many"])
    loop, many = ([value * 1e3 / photos for value in seconds[way]] for way in ("loop", "many"))
    return Throughput(
        runner=runner, photos=photos, loop=figures(loop), many=figures(many), ratio=ratio(loop, many) or 0.0,
        equal=equal,
    )  # fmt: skip


def _write(photo: np.ndarray, folder: Path, count: int) -> list[Path]:
    sizes = mixed_sizes((photo.shape[0], photo.shape[1]), min(SIZES, count))
    paths = [folder / f"{index:04d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(resize(photo, sizes[index % len(sizes)])).save(path, quality=92)
    return paths


def _equal(own: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    return len(own) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(own, theirs, strict=True))
