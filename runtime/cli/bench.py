"""`ovdeploy bench`: how fast a bundle is here, side by side with the PyTorch reference."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.status import Status

from ..backends.options import MOST_THREADS
from ..bench.chart import draw_chart
from ..bench.plan import RunnerSpec, product_specs, rival_spec, runners_of
from ..bench.process import Process
from ..bench.report import LEAST_ROUNDS, NOISY, Report
from ..bench.run import Job
from ..bench.run import bench as run_bench
from ..bench.tables import tables
from ..bundle.bundle import Bundle
from ..errors import ParameterError, one_of
from ..evaluation.pictures import save
from ..files import check_folder, write_bytes
from ..geometry.limits import CLASSES, PHOTOS, REPEATS
from ..photo.reading import demo_photo, load_photo, resize
from ..words.vocabulary import Vocabulary, random_vocabulary
from .common import bundle_argument, fail_cleanly, parse_pairs, parse_settings
from .progress import status_reporter
from .words import class_entries, classes_file_option

CLASSES_WITHOUT_WORDS = 6
"""So many random embeddings, if neither the user nor the recipe names classes."""


@click.command(
    epilog=f"""A run is called too noisy to judge if it has fewer than {LEAST_ROUNDS} rounds, if the best
library's matrix product was more than {NOISY:.0%} slower in one round than in another, or if the middle half of a
runner's rounds spreads over more than {NOISY:.0%} of their median. Figures are shown all the same."""
)
@bundle_argument
@click.option("--against", multiple=True, metavar="RIVAL",
              help="torch, or a bundle: FOLDER[@PRECISION]. Ratios refer to the first.")  # fmt: skip
@click.option("--runner", "chosen", multiple=True, metavar="BACKEND[@PRECISION]",
              help="Measure only these.  [default: every installed backend and every precision]")  # fmt: skip
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, REPEATS))
@click.option("--starts", default=1, show_default=True, type=click.IntRange(1, REPEATS), help="Cold starts of each.")
@click.option("--photo", type=click.Path(path_type=Path), help="Default: the photo in the package.")
@click.option("--size", metavar="WxH", help="Resize the photo first.")
@classes_file_option
@click.option("--classes", help='By comma, synonyms by semicolon: "cup; mug, table". Default: the recipe\'s, if any.')
@click.option("--class-count", type=click.IntRange(1, CLASSES), help="So many random unit embeddings instead of words.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a parameter; may be repeated.")
@click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), help="Threads of every runner.  [default: each one's choice]"
)
@click.option("--weights", multiple=True, metavar="ROLE=SOURCE", help="For --against torch, if weights were files.")
@click.option(
    "--sweep",
    "axes",
    metavar="A,B",
    help="How time grows along size, windows, classes, regions: those that the pipeline has.",
)
@click.option("--soak", type=click.IntRange(4, PHOTOS), metavar="N", help="Memory over N photos, mixed sizes.")
@click.option("--many", type=click.IntRange(2, PHOTOS), metavar="N", help="segment_many on N files, and a loop.")
@click.option("--workers", type=click.IntRange(1, MOST_THREADS), help="Of segment_many.")
@click.option("--json", "json_file", metavar="FILE", help="Write everything as JSON; - prints it, and no tables.")
@click.option("--chart", type=click.Path(path_type=Path), help="Draw a bar chart (PNG).")
@fail_cleanly
def bench(
    bundle: Path,
    against: tuple[str, ...],
    chosen: tuple[str, ...],
    rounds: int,
    starts: int,
    photo: Path | None,
    size: str | None,
    classes: str | None,
    classes_file: Path | None,
    class_count: int | None,
    settings: tuple[str, ...],
    threads: int | None,
    weights: tuple[str, ...],
    axes: str | None,
    soak: int | None,
    many: int | None,
    workers: int | None,
    json_file: str | None,
    chart: Path | None,
) -> None:
    """Measure how fast BUNDLE is on this machine, side by side with the PyTorch reference.

    Every runner (a backend in a precision, or the reference) has a process of its own, so that its cold start and its
    peak memory are its own. All take the same decoded photo in turn, round by round; medians, 90th percentiles and
    ratios are told for every stage and for the whole photo, from the decoded photo to the mask, and how far the masks
    agree. Before each round the machine's peak is measured: a matrix product of 4096×768×3072 by every library that is
    installed. An engine's share of it is that of its matrix products and convolutions, counted in the graph; of the
    peak in its own precision, where a library has that.

    The exit code is 1 if a runner that was asked for by name fails; others that do not work here are left out, and
    told. Ctrl-C (or a time limit's SIGTERM) after the first round ends the run with what there is, and code 130.
    --sweep, --soak and --many do not run what stands behind --against.

    \b
    Examples:
      ovdeploy bench --bundle engines/trident-b16 --against torch --json bench.json --chart bench.png
      ovdeploy bench --bundle engines/trident-b16 --size 683x512 --class-count 150 --runner onnxruntime
      ovdeploy bench --bundle engines/trident-b16 --rounds 3 --sweep size,windows,classes,regions
      ovdeploy bench --bundle engines/trident-b16 --rounds 1 --soak 200 --many 20
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    entries = class_entries(classes, classes_file)
    for place in (chart, Path(json_file) if json_file not in (None, "-") else None):
        if place:
            check_folder(place.parent)
    opened, overrides = Bundle.load(bundle), parse_settings(settings)
    how = RunnerSpec(label="", bundle=bundle, threads=threads, parameters=overrides, weights=parse_pairs(weights))
    rivals = [rival_spec(name, how) for name in dict.fromkeys(against)]
    runners = runners_of(opened, how, chosen)
    pixels = _resized(load_photo(photo or demo_photo()), size)
    sweeps = _axes(axes, opened)
    with Console(stderr=True).status("starting") as status:
        vocabulary = _vocabulary(opened, runners[0], entries, class_count, overrides, status)
        job = Job(
            bundle=opened, runners=(*rivals, *runners), rivals=frozenset(spec.label for spec in rivals),
            required=frozenset(spec.label for spec in (*rivals, *(runners if chosen else ()))),
            products=product_specs([spec.precision for spec in runners], threads), photo=pixels,
            vocabulary=vocabulary, parameters=overrides, rounds=rounds, starts=starts, sweeps=sweeps, soak=soak or 0,
            many=many or 0, workers=workers,
        )  # fmt: skip
        report = run_bench(job, say=status_reporter(status))
    _deliver(report, json_file, chart)
    if report.cut_short:
        sys.exit(130)


def _deliver(report: Report, json_file: str | None, chart: Path | None) -> None:
    told = msgspec.json.encode(report)
    if json_file == "-":
        click.echo(told.decode())
    else:
        console = Console()
        for part in tables(report):
            console.print(part, highlight=False)
        if json_file:
            write_bytes(json_file, msgspec.json.format(told, indent=1))
    if chart:
        save(draw_chart(report), chart)


def _vocabulary(
    bundle: Bundle, runner: RunnerSpec, entries: list[str] | None, count: int | None, overrides: dict[str, object],
    status: Status,
) -> Vocabulary:  # fmt: skip
    """Words embedded by a process of its own, which the runners' memory does not remember; or random embeddings."""
    if entries and count:
        raise click.UsageError("--classes and --class-count exclude each other")
    threshold = getattr(bundle.recipe.override(overrides), "probability_threshold", 0)
    background = True if threshold > 0 else None
    takes_words = bundle.manifest.text is not None
    if takes_words and (count or not (entries or bundle.recipe.classes)):
        length = bundle.manifest.dimensions.embedding
        return random_vocabulary(count or CLASSES_WITHOUT_WORDS, length, background=bool(background))
    status.update("embedding the classes")
    with Process(runner) as process:
        embedded: Vocabulary = process.call("embed", entries, background)
        return embedded


def _resized(photo: np.ndarray, size: str | None) -> np.ndarray:
    if size is None:
        return photo
    width, _, height = size.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise click.BadParameter(f"--size {size!r}: expected WIDTHxHEIGHT, for example 683x512")
    return resize(photo, (int(height), int(width)))


def _axes(text: str | None, bundle: Bundle) -> list[str]:
    known = bundle.recipe.family.sweeps
    names = [name.strip() for name in text.split(",")] if text else []
    if wrong := [name for name in names if name not in known]:
        raise ParameterError(one_of("axis", wrong[0], known))
    return list(dict.fromkeys(names))
