"""Scenes drawn in advance: shards of raw pixels on disk, read as memory maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ...runtime.files import atomic_path, write_bytes
from ...runtime.scenes import draw_scene

SHARD = 200
"""Scenes of a file."""


class Drawn(NamedTuple):
    """A training scene."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    labels: np.ndarray
    """[H, W] uint8, index into `ALL_NAMES`."""
    captions: list[str]


class Scenes:
    """The scenes of seeds 0 to N − 1, by seed."""

    def __init__(self, folder: Path, count: int, shard: int = SHARD) -> None:
        """Open what `draw_shards` wrote; `count` may be less than there is."""
        self._count = count
        self._items: list[tuple[np.ndarray, np.ndarray, int, int, int, list[str]]] = []
        for path in (_shard(folder, number) for number in range(-(-count // shard))):
            photos, labels = (np.load(path.with_suffix(f".{kind}.npy"), mmap_mode="r") for kind in ("photos", "labels"))
            start = 0
            for item in json.loads(path.read_bytes()):
                self._items.append((photos, labels, start, *item["hw"], item["captions"]))
                start += item["hw"][0] * item["hw"][1]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, seed: int) -> Drawn:
        photos, labels, start, h, w, captions = self._items[seed]
        end = start + h * w
        return Drawn(photos[3 * start : 3 * end].reshape(h, w, 3), labels[start:end].reshape(h, w), captions)


def draw_shards(folder: Path, count: int, workers: int, shard: int = SHARD) -> Iterator[int]:
    """Draw the scenes of seeds 0 to `count` − 1 that are not there yet; yields how many each finished file holds."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-count // shard))
    missing = [number for number in numbers if not _shard(folder, number).exists()]
    yield (len(numbers) - len(missing)) * shard
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_draw_shard, folder, number, shard) for number in missing]):
            yield done.result()


def _draw_shard(folder: Path, number: int, shard: int) -> int:
    cv2.setNumThreads(1)
    scenes = [draw_scene(seed) for seed in range(number * shard, (number + 1) * shard)]
    path = _shard(folder, number)
    parts: dict[str, Callable[[int], np.ndarray]] = {
        "photos": lambda i: scenes[i].photo.reshape(-1),
        "labels": lambda i: scenes[i].labels.reshape(-1),
    }
    for kind, part in parts.items():
        with atomic_path(path.with_suffix(f".{kind}.npy")) as temporary, open(temporary, "wb") as file:
            np.save(file, np.concatenate([part(i) for i in range(shard)]))
    told = [{"hw": scene.labels.shape, "captions": scene.captions} for scene in scenes]
    write_bytes(path, json.dumps(told).encode())  # last: a shard with this file is complete
    return shard


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.json"
