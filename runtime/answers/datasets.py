"""What the answers of many photos become together: one dataset, in a file beside theirs."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ..boundary.reading import from_json, read_bytes
from ..errors import OutputError, warn
from ..files import write_bytes
from .joining import Named, write_joined
from .kinds import KINDS
from .yolo import yolo_data

ANSWER_LIMIT = 1 << 30
"""Bytes of a photo's answer; one of the most instances that a photo may have takes a few hundred million."""

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
    """The folder of photos, from the folder of results; empty if they lie in none together."""


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
        document = from_json(read_bytes(source, OutputError, "the answer", ANSWER_LIMIT))
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{source} holds no answer ({error}); --overwrite makes it anew") from error
    return Named(document, member.file_name, f"{above}/" if above else "", source)


def _write_yolo(path: Path, kind: str, members: Iterable[Member], about: About) -> None:
    if not about.photos:
        warn(f"{path}: Ultralytics will not find photos that do not lie in one folder; give --relative-to FOLDER")
        members = ()  # named as they were given, so that nothing can be said of their labels
    lost = [member.file_name for member in members if member.name != posixpath.splitext(member.file_name)[0]]
    if lost:
        some = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        warn(
            f"{path}: Ultralytics will not find the labels of {len(lost)} photos ({some}): it looks for the photo's "
            f"name with .txt, and another photo or file has it. Rename these photos"
        )
    write_bytes(path, yolo_data(about.names, background=about.background, images=about.photos or "images").encode())


DATASETS: dict[str, Dataset] = {
    "coco": Dataset(f"coco{ENDING}.json", _write_coco),
    "coco-polygons": Dataset(f"coco-polygons{ENDING}.json", _write_coco),
    "panoptic": Dataset(f"panoptic{ENDING}.json", _write_coco),
    "yolo": Dataset("data.yaml", _write_yolo),
}
"""By kind of answer."""


def write_dataset(folder: Path, kind: str, members: Iterable[Member], about: About) -> Path:
    """Write the dataset of a kind of answers whose files lie in a folder.

    Args:
        folder: of the results.
        kind: of answers, a key of `DATASETS`.
        members: all photos whose results are there.
        about: what is known of all.

    Raises:
        OutputError: an answer is gone.
        ParameterError: it is none.
        FileError: the system refuses a path.
    """
    dataset = DATASETS[kind]
    dataset.write(folder / dataset.file, kind, members, about)
    return folder / dataset.file
