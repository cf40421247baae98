"""What the answers of many photos become together: one dataset, in a file beside theirs."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..boundary.reading import read_bytes
from ..errors import OutputError
from ..files import write_bytes
from .joining import Named, write_joined
from .kinds import KINDS
from .yolo import yolo_data

ENDING = ".dataset"
"""Of names that no photo's results have."""


class Member(NamedTuple):
    """A photo of a dataset."""

    name: str
    """Of its results, from the folder that they are in: `a/b`."""
    file_name: str
    """Of itself, from the folder of photos: `a/b.jpg`."""


class About(NamedTuple):
    """What is known of all photos of a dataset."""

    names: tuple[str, ...]
    """Of the classes."""
    background: bool
    """Whether class 0 is one."""
    photos: str
    """The folder of photos, from the folder of results."""


class Dataset(NamedTuple):
    """The file that answers of one kind become together."""

    file: str
    """Its name in the folder of results."""
    write: Callable[[Path, str, Iterable[Member], About], None]
    """Writes it; takes its path, the kind, the photos, and what is known of all."""


def _write_coco(path: Path, kind: str, members: Iterable[Member], about: About) -> None:
    write_joined(path, (_told(path.parent, KINDS[kind].suffixes[0], member) for member in members))


def _told(folder: Path, suffix: str, member: Member) -> Named:
    source = folder / f"{member.name}{suffix}"
    above = posixpath.dirname(member.name)
    try:
        document = msgspec.json.decode(read_bytes(source, OutputError, "the answer"), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise OutputError(f"{source} holds no answer ({error}); --overwrite makes it anew") from error
    return Named(document, member.file_name, f"{above}/" if above else "")


def _write_yolo(path: Path, kind: str, members: Iterable[Member], about: About) -> None:
    write_bytes(path, yolo_data(about.names, background=about.background, images=about.photos).encode())


DATASETS: dict[str, Dataset] = {
    "coco": Dataset(f"coco{ENDING}.json", _write_coco),
    "coco-polygons": Dataset(f"coco-polygons{ENDING}.json", _write_coco),
    "panoptic": Dataset(f"panoptic{ENDING}.json", _write_coco),
    "yolo": Dataset("data.yaml", _write_yolo),
}
"""By kind of answer."""


def write_datasets(
    folder: Path, kinds: Iterable[str], members: Callable[[], Iterator[Member]], about: About
) -> list[Path]:
    """Write the datasets of some kinds of answers whose files lie in a folder.

    Args:
        folder: of the results.
        kinds: of answers; those that become no dataset are passed over.
        members: gives all photos whose results are there; asked for each kind.
        about: what is known of all.

    Raises:
        OutputError: an answer is gone, or is none.
        FileError: the system refuses a path.
    """
    written = []
    for kind in kinds:
        if kind in DATASETS:
            dataset = DATASETS[kind]
            dataset.write(folder / dataset.file, kind, members(), about)
            written.append(folder / dataset.file)
    return written
