"""Things that the command line points out in a clip: `--point 2@40=300,200`, `--box`, `--mask`, `--objects`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from ..errors import PromptError
from ..geometry.limits import FRAMES
from ..video.answer import MOST_IDENTITIES
from ..video.prompts import ObjectPrompt, merged, read_identities, read_mask, read_prompts
from .common import together

WHOSE = re.compile(r"([0-9]{1,9})?(?:@([0-9]{1,9}))?=(.*)", re.DOTALL)
"""OBJECT@FRAME=…, either of which may be left out."""

object_options = together(
    click.option(
        "--point",
        "points",
        multiple=True,
        metavar="[OBJECT@FRAME=]X,Y[,LABEL]",
        help="In the frame's pixels; label 1 (on it, the default) or 0 (off it). May be repeated, as those below.",
    ),
    click.option("--box", "boxes", multiple=True, metavar="[OBJECT@FRAME=]X0,Y0,X1,Y1", help="In the frame's pixels."),
    click.option(
        "--mask",
        "masks_given",
        multiple=True,
        metavar="[OBJECT@FRAME=]FILE",
        help="A grey picture; what is not 0 is the object.",
    ),
    click.option(
        "--objects",
        "identities",
        multiple=True,
        metavar="[@FRAME=]FILE",
        help="A grey picture of objects' numbers, as this command and `scenes --frames` write them.",
    ),
    click.option(
        "--prompts",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE.json",
        help="Many prompts, as shown above.",
    ),
)


class Whose(NamedTuple):
    """What a prompt is about, and its rest."""

    object_id: int
    frame: int
    text: str


def whose(text: str, first: int, *, numbered: bool = True) -> Whose:
    """Read OBJECT@FRAME= off the front; object 1 on the first frame without it.

    Args:
        text: a value of an option.
        first: the first frame.
        numbered: whether an object may be named; else what looks like one belongs to the rest.

    Raises:
        click.BadParameter: a number is out of range.
    """
    found = WHOSE.fullmatch(text)
    if found is None or not (found[1] or found[2]) or (found[1] and not numbered):
        return Whose(1, first, text)
    number, frame = int(found[1] or 1), int(found[2] or first)
    if not 1 <= number <= MOST_IDENTITIES or frame >= FRAMES:
        raise click.BadParameter(f"{text!r}: objects have numbers from 1 to {MOST_IDENTITIES:,}, frames from 0")
    return Whose(number, frame, found[3])


def object_prompts(
    points: Sequence[str],
    boxes: Sequence[str],
    masks: Sequence[str],
    identities: Sequence[str],
    files: Sequence[Path],
    first: int,
    max_pixels: int,
) -> tuple[ObjectPrompt, ...]:
    """All prompts of the command line, one for an object and frame; none if it has none.

    Args:
        points, boxes, masks, identities, files: values of the options.
        first: the first frame.
        max_pixels: of a mask.

    Raises:
        click.BadParameter: a value cannot be read.
        PromptError: a file cannot be used, or prompts contradict each other.
    """

    def found() -> Iterator[ObjectPrompt]:
        for path in files:
            yield from read_prompts(path, first, max_pixels)
        for text in identities:
            _, frame, name = whose(text, first, numbered=False)
            yield from read_identities(name, frame, max_pixels)
        yield from (_told(text, first, lambda name: {"mask": read_mask(name, max_pixels)}) for text in masks)
        yield from (_told(text, first, _box) for text in boxes)
        yield from (_told(text, first, _point) for text in points)

    return merged(found())


def _told(text: str, first: int, read: Callable[[str], dict[str, Any]]) -> ObjectPrompt:
    number, frame, rest = whose(text, first)
    return ObjectPrompt(number, frame, **read(rest)).check()


def _point(text: str) -> dict[str, Any]:
    x, y, *label = numbers(text, (2, 3), "--point X,Y or X,Y,LABEL, or 2@40=X,Y for object 2 on frame 40")
    if label and label[0] not in (0, 1):
        raise PromptError(f"--point {text}: a label is 1 (on the object) or 0 (off it)")
    return {"points": [(x, y)], "labels": [int(label[0]) if label else 1]}


def _box(text: str) -> dict[str, Any]:
    return {"box": numbers(text, (4,), "--box X0,Y0,X1,Y1, or 2@40=X0,Y0,X1,Y1 for object 2 on frame 40")}


def numbers(text: str, counts: tuple[int, ...], expected: str) -> list[float]:
    """Numbers by comma.

    Raises:
        click.BadParameter: there are others than so many, or something that is none.
    """
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in counts:
        raise click.BadParameter(f"{text!r}: expected {expected}")
    return found
