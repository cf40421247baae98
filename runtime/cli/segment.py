"""`ovdeploy segment`: photos and words in; overlays, masks and JSON out."""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ..answers.result import Result
from ..backends.options import MOST_THREADS
from ..boundary.reading import is_folder, is_there, listed, reason, to_json
from ..bundle.bundle import Bundle
from ..errors import OF_ONE_PHOTO, EngineError, OutputError, PhotoError, printable
from ..files import check_folder, is_hidden, is_lasting
from ..photo.reading import SUFFIXES
from ..pipelines.base import Segmenter
from ..words.vocabulary import Vocabulary
from .common import (
    bundle_option,
    engine_options,
    fail_cleanly,
    gpu_options,
    parameter_options,
    read_overrides,
    thread_option,
)
from .progress import progress_bar, status_reporter
from .words import class_entries, classes_file_option

RESULTS = (".overlay.png", ".mask.png")

LOSSY = (".avif", ".jp2", ".jpeg", ".jpg", ".webp")
"""Suffixes of photos that are smaller than a lossless picture of the same size."""


@click.command()
@click.argument("images", nargs=-1, required=True)
@bundle_option
@click.option(
    "--classes", help='Classes by comma, synonyms by semicolon: "cup; mug, table". Default: the bundle\'s own.'
)
@classes_file_option
@click.option("--vocabulary", "saved", type=click.Path(path_type=Path), help="A file of Vocabulary.save, instead.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("ovdeploy-out"), show_default=True
)
@engine_options
@thread_option
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_THREADS),
    help="Photos in work at once, in a thread each. Default: one more than --engines.",
)
@click.option(
    "--engines",
    type=click.IntRange(1, MOST_THREADS),
    default=1,
    show_default=True,
    help="Photos on which engines run at once; more pays for small models, and takes memory for each.",
)
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
    saved: Path | None,
    output: Path,
    backend: str,
    precision: str,
    threads: int | None,
    workers: int | None,
    engines: int,
    device: int,
    allow_fallback: bool,
    allow_host_code: bool,
    backend_options: dict[str, str],
    overlay: Path | None,
    settings: tuple[str, ...],
    background: bool,
    as_json: bool,
) -> None:
    """Name every pixel of IMAGES (files, folders, globs).

    For each photo three files go to --output: NAME.overlay.png with a legend, NAME.mask.png of class indices, and
    NAME.json with areas, boxes, scores and timings. A photo that fails does not stop the others; the exit code is 1 if
    any did. Whether --output can be written to is tried first. A disk that fills up ends the run with the photo's name;
    what was written before stays, and no file is written by half.

    \b
    Example:
      ovdeploy segment photos/ --bundle engines/trident-b16 --classes "cup; mug, table" --set stride=112
    """
    entries = class_entries(classes, classes_file)
    if entries and saved:
        raise click.UsageError("give either --classes, --classes-file or --vocabulary")
    if not entries and not saved and not Bundle.load(bundle).recipe.classes:
        raise click.UsageError("give --classes or --vocabulary; this bundle was not exported with classes of its own")
    overrides = read_overrides(overlay, settings)
    paths = list(expand(images))
    check_folder(output, expected=least_bytes(paths))
    console = Console(stderr=True)
    failed = 0
    with Segmenter.load(
        bundle,
        backend=backend,
        precision=precision,
        parameters=overrides,
        threads=threads,
        device=device,
        allow_fallback=allow_fallback,
        allow_host_code=allow_host_code,
        backend_options=backend_options,
    ) as segmenter:
        if not as_json:
            click.echo(f"engines: {segmenter.backend}, {segmenter.precision}", err=True)
        vocabulary = _vocabulary(segmenter, entries, saved, background or None, console)
        work = _progress(console, list(zip(paths, output_names(paths), strict=True)), quiet=as_json)
        results = segmenter.segment_many(paths, vocabulary, workers=workers, engines=engines)
        with closing(work), closing(results):  # whatever fails, the bar ends before the error is told
            for (path, target), result in zip(work, results, strict=True):
                try:
                    _write(_sound(result), path, output, target, as_json)
                except OF_ONE_PHOTO as error:  # of this photo; the next may be fine
                    failed += 1
                    if isinstance(error, OSError) and is_lasting(error):
                        raise OutputError(_ending(path, output, error)) from error
                    click.echo(f"error: {printable(error)}", err=True)
    if not as_json:
        click.echo(f"{len(paths) - failed} of {len(paths)} photos segmented, in {output}", err=True)
    sys.exit(1 if failed else 0)


def expand(images: Iterable[str]) -> Iterator[Path]:
    """Files of folders (by suffix, sorted) and globs; what names nothing stays, to be reported as missing.

    In folders our own results are passed over, so that photos and results may lie together, and so are hidden files.
    """
    for image in images:
        path = Path(image)
        if is_folder(path):
            yield from _photos_in(path) or [path]
        elif is_there(path):
            yield path
        else:
            yield from _matching(image) or [path]


def _photos_in(folder: Path) -> list[Path]:
    try:
        there = listed(folder, PhotoError)
    except PhotoError:
        return []  # reading it as a photo tells why
    photos = (path for path in there if path.suffix.lower() in SUFFIXES and not path.name.endswith(RESULTS))
    return [photo for photo in photos if not is_hidden(photo)]


def _matching(pattern: str) -> list[Path]:
    try:
        return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    except (OSError, ValueError, re.error):  # it is no pattern either: reading it as a photo tells why
        return []


def output_names(paths: list[Path]) -> list[str]:
    """Distinct names for the results: a photo's stem, its whole name where stems repeat, a number where those do."""
    stems = [path.stem for path in paths]
    names: list[str] = []
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else path.name
        candidates = (name, *(f"{name}-{number}" for number in range(2, len(paths) + 2)))
        names.append(next(candidate for candidate in candidates if candidate not in names))
    return names


def least_bytes(paths: Iterable[Path]) -> int:
    """About what the results of photos take at least: an overlay is no smaller than a photo that lost details, and a
    mask and an overlay of one that did not take a quarter."""
    return sum(size_of(path) // (1 if path.suffix.lower() in LOSSY else 4) for path in paths)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _ending(path: Path, output: Path, error: OSError) -> str:
    return (
        f"{path}: the results cannot be written to {output}: {reason(error)}. The run ends here, since the next photo "
        f"would fail in the same way; the results of the photos before are whole"
    )


def _vocabulary(
    segmenter: Segmenter, entries: list[str] | None, saved: Path | None, background: bool | None, console: Console
) -> Vocabulary:
    if saved is not None:
        return Vocabulary.load(saved, background=background)
    with console.status("embedding names") as status:
        return segmenter.vocabulary(entries, background=background, progress=status_reporter(status))


def _progress(
    console: Console, work: list[tuple[Path, str]], *, quiet: bool
) -> Generator[tuple[Path, str], None, None]:
    with progress_bar(console, quiet=quiet) as progress:
        task = progress.add_task("segmenting", total=len(work))
        for path, name in work:
            progress.update(task, description=escape(printable(path.name)))
            yield path, name
            progress.advance(task)


def _sound(result: Result | PhotoError | EngineError) -> Result:
    if isinstance(result, Result):
        return result
    raise result


def _write(result: Result, path: Path, output: Path, name: str, as_json: bool) -> None:
    result.save_overlay(output / f"{name}.overlay.png")
    result.save_mask(output / f"{name}.mask.png")
    result.save_json(output / f"{name}.json")
    if as_json:
        line = {"image": str(path), "output": str(output / name), **result.to_dict()}
        click.echo(to_json(line).decode())
