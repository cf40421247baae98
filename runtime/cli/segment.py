"""`ovdeploy segment`: photos and words in; overlays, masks, JSON and other answers out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ..answers.datasets import DATASETS
from ..answers.kinds import KINDS, check_kinds
from ..backends.options import MOST_THREADS
from ..bundle.bundle import Bundle
from ..errors import one_of
from ..photo.listing import Listing
from ..photo.sources import below, sources
from ..words.vocabulary import Vocabulary
from .common import (
    bundle_option,
    engine_options,
    fail_cleanly,
    gpu_options,
    parameter_options,
    read_overrides,
    thread_option,
    together,
)
from .dataset_options import template_option
from .segmenting import Job, Words, resolved, segmented
from .words import class_entries, classes_options

USUAL = ("mask", "overlay", "json")
"""Kinds of answers that are saved unless others are asked for."""


def _kinds(context: click.Context, option: click.Parameter, given: str) -> tuple[str, ...]:
    """The kinds of answers that `--save` lists, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in names:
        if name not in KINDS:
            raise click.BadParameter(one_of("kind of answer", name, KINDS))
    if not names:
        raise click.BadParameter(f"name at least one of {', '.join(KINDS)}")
    return names


photo_options = together(
    click.option(
        "--recursive/--no-recursive",
        default=True,
        show_default=True,
        help="Whether folders are searched to the bottom.",
    ),
    click.option(
        "--relative-to",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Results are placed as photos lie below this folder, also those of files, globs and lists.",
    ),
    click.option("--allow-urls", is_flag=True, help="Fetch photos whose names are URLs, http or https."),
)
output_options = together(
    click.option(
        "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("ovdeploy-out"), show_default=True
    ),
    click.option(
        "--save",
        "kinds",
        default=",".join(USUAL),
        show_default=True,
        callback=_kinds,
        metavar="KINDS",
        help="What is written for each photo, by comma; see below. Only that is computed.",
    ),
    click.option("--overwrite", is_flag=True, help="Do all photos again, also those that are done."),
)
running_options = together(
    click.option(
        "--workers",
        type=click.IntRange(1, MOST_THREADS),
        help="Photos in work at once, in a thread each. Default: one more than --engines.",
    ),
    click.option(
        "--engines",
        type=click.IntRange(1, MOST_THREADS),
        default=1,
        show_default=True,
        help="Photos on which engines run at once; more pays for small models, and takes memory for each.",
    ),
)


EPILOG = (
    "\b\nKinds of --save:\n"
    + "\n".join(f"  {name:14} {kind.holds}" for name, kind in KINDS.items())
    + "\n\nOf some kinds all photos become one dataset too: "
    + ", ".join(f"{dataset.file} ({name})" for name, dataset in DATASETS.items())
    + "."
)


@click.command(epilog=EPILOG)
@click.argument("images", nargs=-1, required=True)
@bundle_option
@classes_options
@template_option
@click.option("--vocabulary", "saved", type=click.Path(path_type=Path), help="A file of Vocabulary.save, instead.")
@photo_options
@output_options
@engine_options
@thread_option
@running_options
@gpu_options
@parameter_options
@click.option("--background", is_flag=True, help="The first class is the background, whatever its name.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON line per photo on standard output, and no progress bar."
)
@fail_cleanly
def segment(
    images: tuple[str, ...],
    bundle: Path,
    classes: str | None,
    classes_file: Path | None,
    classes_from: str | None,
    templates: tuple[str, ...],
    saved: Path | None,
    recursive: bool,
    relative_to: Path | None,
    allow_urls: bool,
    output: Path,
    kinds: tuple[str, ...],
    overwrite: bool,
    overlay: Path | None,
    settings: tuple[str, ...],
    background: bool,
    as_json: bool,
    workers: int | None,
    engines: int,
    **how: Any,
) -> None:
    """Name every pixel of IMAGES.

    IMAGES are files, folders with all that lies below them, globs in quotation marks, "@FILE" for a list of names, one
    a line, "-" for a list on standard input, and URLs with --allow-urls. In folders all photos are taken (also .JPG),
    but hidden files and our own results.

    For each photo three files go to --output: NAME.overlay.png with a legend, NAME.mask.png of class indices, and
    NAME.json with areas, boxes, scores and timings; --save asks for others. What lies in a folder keeps its place below
    it: photos/a/b.jpg becomes a/b.mask.png. Where two photos would have the same name, both keep their suffixes (b.jpg,
    b.png), and then get numbers (b.jpg-2).

    The same command again does only what is not done: --output holds a record of it, by the content of the bundle and
    the photo, the words, the parameters and the backend. Photos that failed are tried again.

    A photo that fails does not stop the others; the exit code is 1 if any did. Whether --output can be written to is
    tried first. A disk that fills up ends the run with the photo's name; what was written before stays, and no file is
    written by half.

    \b
    Examples:
      ovdeploy segment photos/ --bundle engines/trident-b16 --classes "cup; mug, table" --set stride=112
      ovdeploy segment "photos/**/*.png" --relative-to photos --bundle demo/tiny --classes-from voc21 --save mask
      find photos -newer last -print0 | ovdeploy segment - --bundle demo/tiny --classes '"salt, pepper", table'
    """
    check_kinds(kinds)  # a library that is missing should not be told after the first photo
    entries = class_entries(classes, classes_file, classes_from)
    opened = Bundle.load(bundle)
    if entries and saved:
        raise click.UsageError("give either --classes, --classes-file, --classes-from or --vocabulary")
    if templates and saved:
        raise click.UsageError("a --vocabulary was embedded with its templates; leave --template away")
    if not entries and not saved and not opened.recipe.classes:
        raise click.UsageError("give --classes or --vocabulary; this bundle was not exported with classes of its own")
    words = Vocabulary.load(saved, background=background or None) if saved else None
    parameters = read_overrides(overlay, settings)
    given = sources(images, recursive=recursive)
    photos = Listing(below(given, str(relative_to)) if relative_to else given)
    job = Job(
        bundle=opened,
        photos=photos,
        words=Words(entries, templates, words, background or None),
        parameters=parameters,
        output=output,
        kinds=kinds,
        overwrite=overwrite,
        allow_urls=allow_urls,
        as_json=as_json,
        running={"workers": workers, "engines": engines},
        opening=resolved(opened, how),
    )
    sys.exit(1 if segmented(job, Console(stderr=True)) else 0)
