"""Folders with a checkpoint in them, as hubs and trainers leave them, and checkpoints in several shards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ....runtime.boundary.reading import is_file, listed
from ....runtime.errors import WeightsError

NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The names that open_clip, timm and transformers give to weights, safetensors first. Where open_clip's is there, the
others are the same weights for another library, or half of them."""

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")
"""Of other checkpoints: the only one in a folder is taken."""

SHARD = re.compile(r"-\d{5}-of-\d{5}\.")


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint in a folder.

    Args:
        folder: a model's folder, or that of a model in the hub's cache, which has it under `snapshots`.

    Raises:
        WeightsError: it holds none, or several of which none has a usual name.
    """
    there = listed(folder, WeightsError)
    by_name = {path.name: path for path in there if is_file(path)}
    if named := [by_name[name] for name in NAMES if name in by_name]:
        return named[0]
    if (snapshots := folder / "snapshots").is_dir() and len(only := listed(snapshots, WeightsError)) == 1:
        return checkpoint_in(only[0])
    others = [path for path in by_name.values() if path.suffix in SUFFIXES]
    if len(others) == 1:
        return others[0]
    held = ", ".join(path.name for path in (others or there)[:6]) or "nothing"
    raise WeightsError(
        f"{folder} is a folder, and which file in it is meant is not clear: expected "
        f"model.safetensors, pytorch_model.bin or one checkpoint alone, it holds {held}. Give the file."
    )


def is_shard(path: Path) -> bool:
    """Whether a file's name says that it is one of several."""
    return bool(SHARD.search(path.name))


def shards_of(index: Path, names: Iterable[object]) -> list[Path]:
    """The shards that an index names, beside it.

    Raises:
        WeightsError: one is missing, or would lie elsewhere.
    """
    shards = []
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or name in ("", index.name):
            raise WeightsError(f"{index}: {name!r} is no name of a shard beside it")
        if not is_file(index.parent / name):
            raise WeightsError(f"{index}: its shard {name} is missing; put all of them beside it")
        shards.append(index.parent / name)
    return shards
