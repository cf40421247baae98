"""Scenes drawn in advance: shards of raw pixels on disk, each scene with its digest."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from ...runtime.files import write_bytes
from ...runtime.kept.form import Form
from ...runtime.kept.trust import UnfitError, open_kept, tell_once
from ...runtime.scenes import draw_scene

SHARD = 200
"""Scenes of a file."""

INDEX = Form("scenes", 1, most=1 << 28)
PHOTOS, LABELS = ".photos", ".labels"
"""Files beside the index."""


class Drawn(NamedTuple):
    """A training scene."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    labels: np.ndarray
    """[H, W] uint8, index into `ALL_NAMES`."""
    captions: list[str]


class Item(msgspec.Struct, frozen=True):
    """A scene in the index of its shard."""

    hw: tuple[int, int]
    captions: list[str]
    digest: str
    """SHA-256 of its photo's bytes and its labels'."""


class Scenes:
    """The scenes of seeds 0 to N − 1, by seed. One that is damaged on disk is drawn again."""

    def __init__(self, folder: Path, count: int, shard: int = SHARD) -> None:
        """Open what `draw_shards` wrote; `count` may be less than there is."""
        self._count = count
        self._items: list[tuple[Path, int, Item]] = []
        for number in range(-(-count // shard)):
            path, start = _shard(folder, number), 0
            for item in _index(path, shard) or _draw_shard(folder, number, shard):
                self._items.append((path, start, item))
                start += math.prod(item.hw)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, seed: int) -> Drawn:
        path, start, item = self._items[seed]
        pixels = math.prod(item.hw)
        photo, labels = _part(path, PHOTOS, 3 * start, 3 * pixels), _part(path, LABELS, start, pixels)
        if _digest(photo, labels) != item.digest:
            tell_once(f"the scenes of {path} are damaged; those that are, are drawn again each time")
            scene = draw_scene(seed)
            return Drawn(scene.photo, scene.labels.astype(np.uint8), item.captions)
        whole = np.frombuffer(photo, np.uint8).reshape(*item.hw, 3)
        return Drawn(whole, np.frombuffer(labels, np.uint8).reshape(item.hw), item.captions)


def draw_shards(folder: Path, count: int, workers: int, shard: int = SHARD) -> Iterator[int]:
    """Draw the scenes of seeds 0 to `count` − 1 that are not there yet; yields how many each finished file holds."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(-(-count // shard))
    missing = [number for number in numbers if _index(_shard(folder, number), shard) is None]
    yield (len(numbers) - len(missing)) * shard
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_draw_shard, folder, number, shard) for number in missing]):
            yield len(done.result())


def _draw_shard(folder: Path, number: int, shard: int) -> list[Item]:
    cv2.setNumThreads(1)
    scenes = [draw_scene(seed) for seed in range(number * shard, (number + 1) * shard)]
    path = _shard(folder, number)
    parts = {PHOTOS: [scene.photo.tobytes() for scene in scenes],
             LABELS: [scene.labels.astype(np.uint8).tobytes() for scene in scenes]}  # fmt: skip
    for suffix, content in parts.items():
        write_bytes(path.with_suffix(suffix), b"".join(content))
    items = [
        Item((scene.labels.shape[0], scene.labels.shape[1]), list(scene.captions), _digest(photo, labels))
        for scene, photo, labels in zip(scenes, parts[PHOTOS], parts[LABELS], strict=True)
    ]
    INDEX.write(path, f"{path.name} {shard}", msgspec.json.encode(items))  # last: a shard with this file is complete
    return items


def _index(path: Path, shard: int) -> list[Item] | None:
    """The scenes of a shard; None if it is not there."""
    content = INDEX.read(path, f"{path.name} {shard}")
    return None if content is None else msgspec.json.decode(content, type=list[Item])


def _part(path: Path, suffix: str, start: int, size: int) -> bytes:
    """Bytes of a shard's file; nothing if it is not one of ours. (A memory map would end the process, were it cut.)"""
    try:
        descriptor = open_kept(path.with_suffix(suffix))
    except UnfitError:
        descriptor = None
    if descriptor is None:
        return b""
    with open(descriptor, "rb") as file:
        return os.pread(file.fileno(), size, start)


def _digest(photo: bytes, labels: bytes) -> str:
    return hashlib.sha256(photo + labels).hexdigest()


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:04d}.index"
