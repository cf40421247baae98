"""Reading a checkpoint: by what it is, not by its suffix, and without running what is in it."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors.torch import load_file

from ....runtime.boundary.reading import opened, read_text, why_no_file
from ....runtime.errors import WeightsError
from .archive import Archive, Stored, pickle_of
from .folders import checkpoint_in, is_shard, shards_of
from .kinds import HEAD, JSON, TEXT, other_kind
from .nests import innermost

StateDict = dict[str, torch.Tensor]

HEADER_LIMIT = 100_000_000
"""Bytes of a safetensors header, the format's own limit."""

SAVE = "save the model's state dict by torch.save or safetensors"


class Checkpoint(NamedTuple):
    """What a file held."""

    tensors: StateDict
    """By the file's own names, in its own types."""
    kind: str
    """What the file is, with an article."""
    notes: tuple[str, ...] = ()
    """What was chosen on the way, for the user."""
    path: Path | None = None
    """The file, if it is one."""


def open_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or the one in a folder.

    Args:
        path: a file of safetensors or of PyTorch (zip, TorchScript, or the older format), the index of one in
            shards, or a folder that holds one of them.

    Raises:
        WeightsError: it is missing, damaged, something else, or cannot be read without running its code; says which.
    """
    if path.is_dir():
        found = checkpoint_in(path)
        inner = open_checkpoint(found)
        return inner._replace(notes=(f"taken from {found.name} in the folder {path.name}", *inner.notes))
    if why := why_no_file(path):
        raise WeightsError(
            f"{path}: no such checkpoint ({why}; expected 'pretrained', 'random:SEED', or a file or folder)"
        )
    head = _head(path)
    if reads := next((read for fits, read in FORMATS if fits(head)), None):
        came = reads(path)._replace(path=path)
        return came._replace(kind=f"{came.kind}, one of several shards") if is_shard(path) else came
    if kind := other_kind(head):
        raise WeightsError(f"{path} is no checkpoint: it {kind.what}. {kind.advice}.")
    if JSON.match(head):
        return _read_index(path)._replace(path=path)
    told = (
        f"text that begins with {head[:40].decode(errors='replace')!r}" if TEXT.fullmatch(head) else "of no known kind"
    )
    raise WeightsError(
        f"{path} is no checkpoint of plain tensors: it is {told}. Expected safetensors, or a file of torch.save."
    )


def kept_if_read(path: Path) -> StateDict:
    """The tensors of a file that was fetched; one that is no checkpoint, such as a page, is not kept.

    Raises:
        WeightsError: as `open_checkpoint`.
    """
    try:
        return open_checkpoint(path).tensors
    except WeightsError:
        path.unlink(missing_ok=True)
        raise


def _head(path: Path) -> bytes:
    with opened(path, WeightsError, "a checkpoint") as file:
        return file.read(HEAD)


def _is_safetensors(head: bytes) -> bool:
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= HEADER_LIMIT


def _read_safetensors(path: Path) -> Checkpoint:
    _check_length(path)
    try:
        tensors = load_file(path)
    except Exception as error:  # the library's own, and what PyTorch says of types that it has not
        raise WeightsError(f"{path} is a safetensors file that cannot be read ({error}); download it again") from error
    return Checkpoint(tensors, "a safetensors file")


def _check_length(path: Path) -> None:
    """Tell of a download that stopped, with both sizes.

    Raises:
        WeightsError: the file has other bytes than its header says.
    """
    with opened(path, WeightsError, "a checkpoint") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    size = path.stat().st_size
    try:
        entries = json.loads(header) if len(header) == length else {}
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} is a safetensors file with a damaged header; download it again") from error
    if len(header) < length or size != expected:
        missing = "is cut short" if size < expected else "has bytes too many"
        raise WeightsError(
            f"{path} {missing}: a safetensors file of {size} bytes instead of {expected}. Download it again."
        )


def _is_zip(head: bytes) -> bool:
    return head.startswith(b"PK")


def _read_zip(path: Path) -> Checkpoint:
    try:
        with opened(path, WeightsError, "a checkpoint") as file, zipfile.ZipFile(file) as archive:
            return _read_archive(path, archive)
    except WeightsError:
        raise
    except Exception as error:  # zipfile has five kinds, and codecs theirs
        raise WeightsError(
            f"{path} is a zip archive that is cut short or damaged ({error}): PyTorch's checkpoints are zip archives, "
            f"and their directory is at the end. Download it again."
        ) from error


def _read_archive(path: Path, file: zipfile.ZipFile) -> Checkpoint:
    names = file.namelist()
    if (pickled := pickle_of(names)) is None:
        some = ", ".join(names[:4]) or "nothing"
        advice = "NumPy arrays: " + SAVE if any(name.endswith(".npy") for name in names) else "unpack it"
        raise WeightsError(f"{path} is a zip archive, but none of PyTorch's: it holds {some}. If that is it, {advice}.")
    try:
        archive = Archive(file, pickled)
        kind = "a TorchScript archive" if archive.is_script else "a checkpoint of PyTorch"
        chosen = innermost(archive.content)
        return Checkpoint(_tensors(path, kind, chosen.content, archive.tensor), kind, chosen.notes)
    except WeightsError:
        raise
    except Exception as error:  # on damaged files an unpickler raises nearly anything
        raise WeightsError(f"{path} is a damaged checkpoint of PyTorch ({error}). Download it again.") from error


def _is_pickle(head: bytes) -> bool:
    return head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"


def _read_pickle(path: Path) -> Checkpoint:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path} is a pickle, as PyTorch wrote before 1.6, and damaged, or it holds more than tensors: such files "
            f"can run code when they are opened, so this one is not. Where you trust it, load it with the code that "
            f"wrote it, and {SAVE}."
        ) from error
    chosen = innermost(content)
    kind = "a checkpoint of PyTorch in its older format"
    return Checkpoint(_tensors(path, kind, chosen.content, lambda tensor: tensor), kind, chosen.notes)


def _read_index(path: Path) -> Checkpoint:
    """All shards that an index names."""
    try:
        index = msgspec.json.decode(read_text(path, WeightsError, "the index of a checkpoint"))
        places = index["weight_map"]
        files = sorted(set(places.values()))
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path} is no checkpoint: it is a JSON file, and no index of shards. Give the file with the weights: "
            f"model.safetensors, pytorch_model.bin, …"
        ) from error
    tensors: StateDict = {}
    for shard in shards_of(path, files):
        if JSON.match(_head(shard)):
            raise WeightsError(
                f"{path}: its shard {shard.name} is an index itself; put the file with the weights there"
            )
        tensors |= open_checkpoint(shard).tensors
    if lost := sorted(places.keys() - tensors.keys()):
        raise WeightsError(f"{path}: its shards lack {len(lost)} tensors ({', '.join(lost[:4])}); download them again")
    return Checkpoint(tensors, "a checkpoint in shards", (f"read from {len(files)} shards",))


Reader = Callable[[Path], Checkpoint]

FORMATS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (_is_zip, _read_zip),
    (_is_pickle, _read_pickle),
    (_is_safetensors, _read_safetensors),
)
"""What is read, by its first bytes."""


def _tensors(path: Path, kind: str, content: Any, read: Callable[[Any], torch.Tensor]) -> StateDict:
    """The tensors of a mapping that holds nothing else.

    Raises:
        WeightsError: it is none, or holds something else; says what.
    """
    if not isinstance(content, Mapping):
        held = getattr(content, "called", type(content).__name__)
        raise WeightsError(f"{path} does not hold a state dict: expected tensors by name, it is {kind} of {held}")
    pairs: dict[str, Any] = {str(name): value for name, value in dict(content).items()}
    others = [name for name, value in pairs.items() if not isinstance(value, Stored | torch.Tensor)]
    if others or not pairs:
        told = f"{', '.join(others[:6])} {'are' if len(others) > 1 else 'is'} none" if others else "it is empty"
        raise WeightsError(
            f"{path} does not hold a state dict: expected tensors by name, but in this {kind[2:]} {told}"
        )
    return {name: read(value) for name, value in pairs.items()}
