"""Prompts about things in a clip: which thing, on which frame, and where; their file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from ..boundary.arguments import public
from ..boundary.reading import read_bytes, reason
from ..datasets.labels import read_values
from ..errors import DatasetError, PromptError, shown
from ..geometry.limits import FRAMES, LONGEST_SIDE
from ..photo.reading import MOST_PIXELS
from .answer import MOST_IDENTITIES
from .frame import Choice

SCHEMA = "ovdeploy/prompts/1"

Number = Annotated[int, msgspec.Meta(ge=1, le=MOST_IDENTITIES)]
Place = Annotated[float, msgspec.Meta(ge=-LONGEST_SIDE, le=2 * LONGEST_SIDE)]


@dataclass(frozen=True, eq=False)
class ObjectPrompt:
    """What is said of a thing on a frame.

    Attributes:
        object_id: its number, from 1 to 65,535.
        frame: the frame's number in the clip.
        points: [N, 2], x y in the frame's pixels; None without points.
        labels: [N], 1 for a point on the thing, 0 for one off it; None means that all are on it.
        box: [4], x₀ y₀ x₁ y₁ in the frame's pixels; None without one.
        mask: [H, W] bool, the thing itself, without points and box; None without one.
    """

    object_id: int
    frame: int
    points: Any = None
    labels: Any = None
    box: Any = None
    mask: Any = None

    def check(self) -> ObjectPrompt:
        """The same.

        Raises:
            PromptError: a number is out of range, nothing is said, or a mask stands beside something else.
        """
        if not 1 <= self.object_id <= MOST_IDENTITIES or not 0 <= self.frame < FRAMES:
            told = f"object {shown(self.object_id)} on frame {shown(self.frame)}"
            raise PromptError(f"{told}: objects have numbers from 1 to {MOST_IDENTITIES:,}, frames from 0")
        if self.points is None and self.box is None and self.mask is None:
            raise PromptError(f"{self}: nothing is said; give points, a box or a mask")
        if self.mask is not None and not (self.points is None and self.labels is None and self.box is None):
            raise PromptError(f"{self}: a mask is the whole answer; give it without points and box")
        return self

    def __str__(self) -> str:
        """Which thing, and where."""
        return f"object {self.object_id} on frame {self.frame}"


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    object: Number
    frame: Annotated[int, msgspec.Meta(ge=0, lt=FRAMES)] | None = None
    points: tuple[tuple[Place, Place], ...] | None = None
    labels: tuple[int, ...] | None = None
    box: tuple[Place, Place, Place, Place] | None = None
    mask: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prompts: tuple[_Entry, ...]
    schema: str = SCHEMA


@public()
def read_prompts(path: str | Path, first: int = 0, max_pixels: int = MOST_PIXELS) -> tuple[ObjectPrompt, ...]:
    """The prompts of a JSON file.

    Its `prompts` is a list of objects with `object` (its number), `frame` (by default the first that is wanted), and
    `points` ([[x, y], …]) with `labels` ([1, 0, …]), `box` ([x₀, y₀, x₁, y₁]), or `mask`: a picture whose pixels that
    are not 0 are the thing, named from the file's folder.

    Args:
        path: the file.
        first: the frame of prompts that name none.
        max_pixels: of a mask.

    Raises:
        PromptError: it cannot be read, is no such file, or a prompt cannot be used.
    """
    content = read_bytes(path, PromptError, "the file of prompts")
    try:
        found = msgspec.json.decode(content, type=_File)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise PromptError(f"{path}: no file of prompts ({reason(error)}); {EXAMPLE}") from error
    if found.schema != SCHEMA or not found.prompts:
        raise PromptError(f"{path}: expected {SCHEMA} with at least one prompt, got {found.schema!r}; {EXAMPLE}")
    folder = Path(path).parent
    return merged(_prompt_of(entry, folder, first, max_pixels) for entry in found.prompts)


EXAMPLE = 'for example {"prompts": [{"object": 1, "frame": 0, "points": [[300, 200]]}]}'


def _prompt_of(entry: _Entry, folder: Path, first: int, max_pixels: int) -> ObjectPrompt:
    mask = read_mask(folder / entry.mask, max_pixels) if entry.mask is not None else None
    frame = first if entry.frame is None else entry.frame
    return ObjectPrompt(entry.object, frame, entry.points, entry.labels, entry.box, mask)


def read_mask(path: str | Path, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """A thing's mask from a picture of one channel: [H, W] bool, where it is not 0.

    Raises:
        PromptError: the picture cannot be read, is in colours, or has nothing in it.
    """
    mask: np.ndarray = _values(path, max_pixels) > 0
    if not mask.any():
        raise PromptError(f"{path}: all pixels of this mask are 0; those of the object should not be")
    return mask


def read_identities(path: str | Path, frame: int, max_pixels: int = MOST_PIXELS) -> tuple[ObjectPrompt, ...]:
    """A prompt for each thing of a picture whose pixels are things' numbers, 0 for nobody's.

    `STEM.masks` has such pictures, `ovdeploy scenes --frames` writes them, and annotations of DAVIS are some.

    Args:
        path: the picture, of one channel or with a palette.
        frame: the number of the frame that it is of.
        max_pixels: it may have.

    Raises:
        PromptError: the picture cannot be read, is in colours, or has nothing in it.
    """
    values = _values(path, max_pixels)
    numbers = [int(each) for each in np.unique(values) if each]
    if not numbers:
        raise PromptError(f"{path}: all pixels are 0; those of objects should be their numbers")
    return tuple(ObjectPrompt(number, frame, mask=values == number) for number in numbers)


def _values(path: str | Path, max_pixels: int) -> np.ndarray:
    try:
        return read_values(Path(path), max_pixels)
    except DatasetError as error:
        raise PromptError(f"a mask cannot be used: {error}") from error


def merged(prompts: Iterable[ObjectPrompt]) -> tuple[ObjectPrompt, ...]:
    """Prompts with those about the same thing on the same frame as one, in the order of their first parts.

    Raises:
        PromptError: one says nothing, two say different things that are no points, or a number is out of range.
    """
    whole: dict[tuple[int, int], ObjectPrompt] = {}
    for each in prompts:
        key = each.object_id, each.frame
        whole[key] = _both(whole[key], each) if key in whole else each
    return tuple(each.check() for each in whole.values())


def _both(one: ObjectPrompt, other: ObjectPrompt) -> ObjectPrompt:
    for name in ("box", "mask"):
        if getattr(one, name) is not None and getattr(other, name) is not None:
            raise PromptError(f"{one}: two of {name} are given; give one")
    points = [*_rows(one.points), *_rows(other.points)]
    labels = [*_labels(one), *_labels(other)]
    box, mask = (a if a is not None else b for a, b in ((one.box, other.box), (one.mask, other.mask)))
    return replace(one, points=points or None, labels=labels or None, box=box, mask=mask)


def _rows(points: Any) -> Sequence[Any]:
    return () if points is None else points


def _labels(prompt: ObjectPrompt) -> Sequence[int]:
    return prompt.labels if prompt.labels is not None else [1] * len(_rows(prompt.points))


def refuse_unread(prompts: Iterable[ObjectPrompt], choice: Choice, frames: int | None) -> None:
    """Refuse prompts about frames that will not be read.

    Args:
        prompts: all.
        choice: which frames are wanted.
        frames: of the clip; None where nobody knows.

    Raises:
        PromptError: a prompt's frame is not among those.
    """
    for each in prompts:
        if frames is not None and each.frame >= frames:
            raise PromptError(f"{each}: the clip has {frames} frames, numbered from 0 to {frames - 1}")
        if not choice.wants(each.frame):
            every = f", every {choice.every}" if choice.every > 1 else ""
            end = f", before {choice.end}" if choice.end is not None else ""
            raise PromptError(f"{each}: this frame is not read, but those from {choice.first} on{end}{every}")
