"""`ovdeploy track`: things of a clip, pointed out or named, followed from frame to frame."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..bundle.bundle import Bundle
from ..files import check_folder
from ..geometry.limits import AXIS, FRAMES
from ..photo.reading import MOST_PIXELS
from ..pipelines.tracking.tracker import Tracker
from ..video.answer import MOST_IDENTITIES
from ..video.frame import Choice as Frames
from ..video.prompts import refuse_unread
from ..video.reading import open_clip
from ..video.ways import WAYS
from ..video.words import Joining
from .common import (
    Choice,
    bundle_option,
    engine_options,
    fail_cleanly,
    gpu_options,
    parameter_options,
    parse_settings,
    read_overrides,
    thread_option,
    together,
)
from .object_options import object_options, object_prompts
from .tracking import Job, Wanted, Words, prompted, tracked
from .words import class_entries, classes_options

JOINING = Joining(min_area=100)
"""What is meant where the command line says nothing."""

word_options = together(
    click.option(
        "--words",
        type=click.Path(path_type=Path),
        metavar="BUNDLE",
        help="An open-vocabulary bundle, which finds --classes in key frames; what it finds is followed.",
    ),
    classes_options,
    click.option("--stuff", metavar="CLASSES", help="Further classes of pixels, which are not followed: sky, grass, …"),
    click.option(
        "--key-every",
        type=click.IntRange(1, FRAMES),
        default=JOINING.every,
        show_default=True,
        help="Frames from one key frame to the next.",
    ),
    click.option(
        "--min-area",
        type=click.IntRange(1, AXIS),
        default=JOINING.min_area,
        show_default=True,
        help="Pixels of a thing that may join.",
    ),
    click.option(
        "--most",
        type=click.IntRange(1, MOST_IDENTITIES),
        default=JOINING.most,
        show_default=True,
        help="Things that are followed at once.",
    ),
    click.option(
        "--rejoin", is_flag=True, help="Take a newcomer for a thing of its class that is out of sight: a guess."
    ),
    click.option(
        "--words-set", "words_settings", multiple=True, metavar="NAME=VALUE", help="A parameter of --words' bundle."
    ),
)
frame_options = together(
    click.option(
        "--direction",
        "direction",
        type=Choice(list(WAYS)),
        default="forward",
        show_default=True,
        help="From the prompts' frames to the end, to the beginning, or both.",
    ),
    click.option("--first", type=click.IntRange(0, FRAMES), default=0, show_default=True, help="First frame."),
    click.option("--end", type=click.IntRange(1, FRAMES), help="Frame behind the last.  [default: all]"),
    click.option(
        "--every", type=click.IntRange(1, FRAMES), default=1, show_default=True, help="Take each so many-th frame."
    ),
)


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@bundle_option
@object_options
@word_options
@frame_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("ovdeploy-out"), show_default=True
)
@click.option("--masks/--no-masks", default=True, show_default=True, help="A mask for each frame.")
@click.option("--overlay/--no-overlay", "film", default=True, show_default=True, help="A film; needs PyAV.")
@engine_options
@thread_option
@gpu_options
@parameter_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line per frame on standard output, and no progress.")
@fail_cleanly
def track(
    video: Path,
    bundle: Path,
    points: tuple[str, ...],
    boxes: tuple[str, ...],
    masks_given: tuple[str, ...],
    identities: tuple[str, ...],
    files: tuple[Path, ...],
    words: Path | None,
    classes: str | None,
    classes_file: Path | None,
    classes_from: str | None,
    stuff: str | None,
    key_every: int,
    min_area: int,
    most: int,
    rejoin: bool,
    words_settings: tuple[str, ...],
    direction: str,
    first: int,
    end: int | None,
    every: int,
    output: Path,
    masks: bool,
    film: bool,
    overlay: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    **how: Any,
) -> None:
    """Follow things through VIDEO, a file or a folder of frames in the order of their names.

    Things are pointed out on some frames, or found by words. A prompt is about object 1 on the first frame, unless
    OBJECT@FRAME= stands before it: `2@40=300,200` is a point on object 2 on frame 40, `2=300,200` one on the first
    frame. Several about the same object and frame are one prompt; one on a frame that its object was followed into is a
    correction. Frames have numbers from 0. --prompts takes many from a file:

    \b
      {"prompts": [{"object": 1, "frame": 0, "points": [[300, 200], [40, 40]], "labels": [1, 0]},
                   {"object": 2, "frame": 40, "box": [80, 60, 400, 390]},
                   {"object": 3, "mask": "cup.png"}]}

    With --words and --classes no prompts are needed: the first and each --key-every-th frame is searched for the
    classes, and what is found there and followed by nobody yet joins.

    Files go to --output: NAME.track.jsonl with things, boxes and masks of every frame, NAME.track.masks/NUMBER.png
    with the number of the object that each pixel belongs to, and NAME.track.overlay.mp4. The lines and the film are
    there when all is done. A video that is damaged is followed up to the damage. The exit code is 1 if it is, or if
    video, prompts or bundle cannot be used.

    \b
    Examples:
      ovdeploy track clip.mp4 --bundle engines/sam2-tiny --point 300,200 --box 2=80,60,400,390
      ovdeploy track frames/ --bundle engines/sam2-tiny --point 1@40=300,200 --direction both
      ovdeploy track clip.mp4 --bundle engines/sam2-tiny --words engines/trident-b16 --classes "dog, cat" --stuff grass
    """
    joining = Joining(every=key_every, least_iou=JOINING.least_iou, min_area=min_area, most=most, rejoin=rejoin)
    values, frames = read_overrides(overlay, settings), Frames(every, first, end).check()
    things = class_entries(classes, classes_file, classes_from)
    opened = Bundle.load(bundle)
    limit = getattr(opened.recipe.override(values), "max_pixels", MOST_PIXELS)
    if words and things is None:
        things = list(Bundle.load(words).recipe.classes or ())
    prompts = object_prompts(points, boxes, masks_given, identities, files, first, limit)
    left = class_entries(stuff, None) or []
    _check(bool(prompts), words, things, left, direction)
    if direction == "backward" and prompts and max(each.frame for each in prompts) == first:
        raise click.UsageError("nothing lies before the prompts' frame; say which it is, as in --point 1@40=300,200")
    clip = open_clip(video, every=every, first=first, end=end, max_pixels=limit)
    refuse_unread(prompts, frames, clip.count)
    check_folder(output)
    console = Console(stderr=True)
    with Tracker.load(bundle, parameters=values, **how) as tracker:
        if not as_json:
            click.echo(f"engines: {tracker.backend}, {tracker.precision}", err=True)
        job = Job(
            clip=clip, way=WAYS[direction], bundle=opened.digest, stem=output / f"{_name(video)}.track",
            masks=masks, overlay=film, as_json=as_json,
        )  # fmt: skip
        found: AbstractContextManager[Wanted] = nullcontext(prompted(tracker, prompts))
        if words:
            opening = {**how, "parameters": parse_settings(words_settings)}
            asked = Words(bundle=words, things=things or [], stuff=left, joining=joining, opening=opening)
            found = asked.opened(tracker, console, quiet=as_json)
        with found as wanted:
            whole = tracked(job, wanted, console)
    sys.exit(0 if whole else 1)


def _name(video: Path) -> str:
    """Of a file without its suffix, or of a folder."""
    return video.stem if video.is_file() else video.resolve().name


def _check(prompted: bool, words: Path | None, things: list[str] | None, stuff: list[str], direction: str) -> None:
    """Refuse what does not go together.

    Raises:
        click.UsageError: says what to give, or to leave away.
    """
    if prompted and words:
        raise click.UsageError("give either --words or prompts (--point, --box, --mask, --objects, --prompts)")
    if not words and (things or stuff):
        raise click.UsageError("classes are found by an open-vocabulary bundle; give it as --words BUNDLE")
    if words and not things:
        raise click.UsageError(
            "give --classes, what is to be followed; the bundle of --words has no classes of its own"
        )
    if not (prompted or words):
        raise click.UsageError(
            "say what to follow: --point 300,200, --box, --mask, --objects or --prompts FILE; or --words BUNDLE "
            "with --classes"
        )
    if words and WAYS[direction].forward and WAYS[direction].backward:
        raise click.UsageError("--words goes one way: forward, or --direction backward from the last frame")
