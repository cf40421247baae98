"""Damage to files: bits that flip, cuts, and other things in a file's place."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

Damage = Callable[[Path], None]


def flip(place: int) -> Damage:
    """One bit, counted from the file's beginning, beyond its end from there again."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        place_in = place % (8 * len(data))
        data[place_in // 8] ^= 1 << place_in % 8
        rewrite(path, bytes(data))

    return damage


def cut(share: float) -> Damage:
    """All behind a share of the file."""
    return lambda path: rewrite(path, path.read_bytes()[: int(share * path.stat().st_size)])


def overwrite(seed: int) -> Damage:
    """A few bytes in the middle by random ones."""

    def damage(path: Path) -> None:
        rng, data = random.Random(seed), bytearray(path.read_bytes())
        start = rng.randrange(len(data))
        data[start : start + 16] = rng.randbytes(len(data[start : start + 16]))
        rewrite(path, bytes(data))

    return damage


def rewrite(path: Path, data: bytes) -> None:
    """New content in the same file, as a careless program would write it."""
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


def put_in_place(path: Path, what: str) -> None:
    """Something that is no file: a pipe that nobody writes to, a folder, a link to itself, a device."""
    path.unlink(missing_ok=True)
    {
        "pipe": os.mkfifo,
        "folder": os.mkdir,
        "loop": lambda path: os.symlink(path, path),
        "endless": lambda path: os.symlink("/dev/zero", path),
        "nowhere": lambda path: os.symlink("/nowhere/at/all", path),
    }[what](path)


def in_place_of_files() -> dict[str, Damage]:
    """All of these."""
    kinds = ("pipe", "folder", "loop", "endless", "nowhere")
    return {kind: lambda path, kind=kind: put_in_place(path, kind) for kind in kinds}


def clear(path: Path) -> None:
    """Whatever lies there is gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def some(count: int, seed: int = 0) -> Iterator[tuple[str, Damage]]:
    """Damages to content: mostly flips, a quarter of them at the beginning, some cuts, some overwritten places."""
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.choice(["flip", "flip", "flip", "head", "cut", "overwrite"])
        if kind == "flip":
            yield kind, flip(rng.randrange(1 << 40))
        elif kind == "head":
            yield kind, flip(rng.randrange(8 * 600))
        elif kind == "cut":
            yield kind, cut(rng.random())
        else:
            yield kind, overwrite(rng.randrange(1 << 30))
