"""`ovdeploy evaluate`: accuracy of a bundle on labelled photos."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..datasets import Dataset
from ..evaluation.journal import BUNDLE, Entry, Journal
from ..evaluation.pictures import draw_confusion, save
from ..evaluation.predictors import KINDS, Predictor, Rival, Settings, find_rival, open_bundle
from ..evaluation.report import file_name, write_report
from ..evaluation.run import evaluate as run_photos
from ..evaluation.summary import Summary, summarise
from ..evaluation.worst import Worst, draw_worst
from ..files import check_folder
from ..geometry.limits import PHOTOS
from .common import (
    bundle_argument,
    engine_options,
    fail_cleanly,
    parameter_options,
    parse_pairs,
    read_overrides,
    thread_option,
)
from .dataset_options import EPILOG, dataset_options, open_dataset, template_option
from .progress import progress_bar

TOLD = 10
"""Errors of single photos that are told as they come; all are in the table of photos."""
FIGURES = {"miou": "mIoU", "accuracy": "pixel accuracy", "boundary_f": "boundary F"}
PRECISIONS = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "small": "small", "medium": "medium", "large": "large"}


@click.command(epilog=EPILOG)
@bundle_argument
@dataset_options
@click.option("--against", multiple=True, metavar="RIVAL", help="torch, colour, or a bundle: FOLDER[@PRECISION].")
@click.option("--weights", multiple=True, metavar="ROLE=SOURCE", help="For --against torch, if weights were files.")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Default: evaluation/BUNDLE-DATASET.")
@click.option("--restart", is_flag=True, help="Throw away what an earlier run left in --output.")
@click.option("--worst", default=6, show_default=True, type=click.IntRange(0, PHOTOS), help="Photos drawn as pictures.")
@engine_options
@thread_option
@parameter_options
@template_option
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, and no progress bar.")
@fail_cleanly
def evaluate(
    bundle: Path,
    dataset_name: str,
    data: Path | None,
    photos: int | None,
    against: tuple[str, ...],
    weights: tuple[str, ...],
    output: Path | None,
    restart: bool,
    worst: int,
    backend: str,
    precision: str,
    threads: int | None,
    overlay: Path | None,
    settings: tuple[str, ...],
    templates: tuple[str, ...],
    held_out: bool,
    given: str,
    first_seed: int,
    as_json: bool,
) -> None:
    """Measure BUNDLE on labelled photos: mIoU, pixel accuracy and boundary F-score, before and after refinement.

    Benchmarks are read in their usual folder layouts: mmsegmentation's, with converted labels or original ones. What
    comes out goes to --output: results.json, photos and classes as CSV, the confusion as CSV and as a plot, and the
    worst photos as pictures. A run that was interrupted goes on when it is called again, also with more --photos. A
    photo or label map that cannot be read does not stop the others; the exit code is 1 if there was one.

    \b
    Examples:
      ovdeploy evaluate --bundle demo/tiny --dataset scenes --photos 50 --against torch --against colour
      ovdeploy evaluate --bundle engines/trident-b16 --dataset voc21 --data VOCdevkit --set probability_threshold=0.2
      ovdeploy evaluate --bundle engines/proxyclip-b16 --dataset ade20k --data ADE2016 --against engines/trident-b16
    """
    overrides, sources = read_overrides(overlay, settings), parse_pairs(weights)
    dataset = open_dataset(dataset_name, data, photos, held_out=held_out, given=given, first_seed=first_seed)
    rivals = _rivals(against)
    folder = output or Path("evaluation") / f"{_folder_name(bundle)}-{Path(dataset_name).stem}"
    check_folder(folder)
    common = Settings(
        bundle=bundle, dataset=dataset, backend=backend, precision=precision, threads=threads, parameters=overrides,
        templates=templates or None, weights=sources,
    )  # fmt: skip
    with ExitStack() as stack:
        with Console(stderr=True).status("loading"):
            predictors = {BUNDLE: stack.enter_context(open_bundle(common))}
            predictors |= {name: stack.enter_context(rival(common)) for name, rival in rivals.items()}
        identity = _identity(dataset, predictors)
        journal = stack.enter_context(Journal(folder, identity, restart=restart))
        summary = _run(dataset, predictors, journal, folder, worst, quiet=as_json)
    found = write_report(folder, dataset, summary, identity)
    for column, totals in summary.columns.items():
        whose = f"{_folder_name(bundle)} " if totals.predictor == BUNDLE else ""
        title = f"{whose}{column}: {dataset.title}"
        save(draw_confusion(totals.counts, dataset.classes, title), folder / f"confusion-{file_name(column)}.png")
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _print(found, folder)
    sys.exit(1 if summary.failed else 0)


def _run(
    dataset: Dataset,
    predictors: dict[str, Predictor],
    journal: Journal,
    folder: Path,
    wanted: int,
    *,
    quiet: bool,
) -> Summary:
    """Do what is left, with a bar; then draw the worst photos."""
    before = len(journal.done.intersection(dataset.names))
    if before:
        click.echo(f"{folder}: going on after {before} photos", err=True)
    worst = Worst(wanted)
    entries = run_photos(dataset, predictors, journal, keep=worst.keep)
    _follow(entries, before, len(dataset.names), quiet)
    summary = summarise(dataset, journal.entries_of(dataset.names))
    if summary.columns:
        draw_worst(folder / "worst", dataset, predictors, summary, worst, wanted)
    return summary


def _follow(entries: Iterable[Entry], before: int, total: int, quiet: bool) -> None:
    """Show progress, and tell errors (the first ones) as they come."""
    failed = 0
    with progress_bar(Console(stderr=True), quiet=quiet) as progress:
        task = progress.add_task("evaluating", total=total, completed=before)
        for entry in entries:
            progress.update(task, advance=1, description=escape(Path(entry.photo).name))
            failed += entry.error is not None
            if entry.error is not None and failed <= TOLD:
                click.echo(f"error: {entry.error}", err=True)
    if failed > TOLD:
        click.echo(f"error: and {failed - TOLD} more photos failed; photos.csv tells why", err=True)


def _rivals(against: Iterable[str]) -> dict[str, Rival]:
    """Rivals by what to call them: a bundle by its folder's name, or by the whole path where that would be mistaken."""
    found: dict[str, Rival] = {}
    for rival in dict.fromkeys(against):
        name = _folder_name(rival)
        found[os.path.abspath(rival) if name in {*found, *KINDS, BUNDLE} else name] = find_rival(rival)
    return found


def _folder_name(path: str | Path) -> str:
    """Of a folder, as the user calls it."""
    return os.path.basename(os.path.abspath(path))


def _identity(dataset: Dataset, predictors: dict[str, Predictor]) -> dict[str, Any]:
    """All that the figures depend on."""
    who = {name: predictor.identity for name, predictor in predictors.items()}
    return {"ovdeploy": version("ovdeploy"), "dataset": dataset.identity, **who}


def _print(found: dict[str, Any], folder: Path) -> None:
    console = Console()
    console.print(_class_table(found))
    console.print(f"[bold]{escape(found['dataset'])}[/], {found['photos']} photos", highlight=False)
    groups = list(dict.fromkeys(name for figures in found["columns"].values() for name in figures["groups"]))
    table = Table("", *FIGURES.values(), *groups, box=None)
    for column, figures in found["columns"].items():
        values = [figures[name] for name in FIGURES] + [figures["groups"][name] for name in groups]
        table.add_row(escape(column), *map(_percent, values))
    console.print(table)
    for gains in found["differences"]:
        told = ", ".join(f"{title} {_percent(gains[name], '+')}" for name, title in FIGURES.items())
        same = f"; equal on {100 * gains['agreement']:.3f} % of pixels" if "agreement" in gains else ""
        console.print(f"{escape(gains['column'])} less {escape(gains['against'])}: {told}{same}", highlight=False)
    if found["things"]:
        console.print(_things_table(found["things"]))
    if found["failed"]:
        console.print(f"[bold]{found['failed']} photos failed[/]; they do not count", highlight=False)
    times = ", ".join(f"{escape(name)} {value:.0f} ms" for name, value in found["milliseconds"].items())
    console.print(f"a photo took: {times}" if times else "no photo was done", highlight=False)
    console.print(f"all of it: {escape(str(folder))}", highlight=False, soft_wrap=True)


def _things_table(rows: list[dict[str, Any]]) -> Table:
    """Average precision of things, and the bundle's less each rival's."""
    table = Table("things", *PRECISIONS.values(), box=None)
    for row in rows:
        table.add_row(f"{row['predictor']}, {row['compared']}", *(_percent(row[name]) for name in PRECISIONS))
        if "less" in row:
            less = (_percent(row["less"][name], "+") for name in PRECISIONS)
            table.add_row(f"{BUNDLE} less {row['predictor']}", *less)
    return table


def _class_table(found: dict[str, Any]) -> Table:
    """Every class that is there or was called: its share of the pixels, and its IoU in every column."""
    columns = list(found["columns"])
    total = sum(row.get("pixels", 0) for row in found["classes"]) or 1
    table = Table("class", "% of pixels", *(f"IoU {escape(column)}" for column in columns), box=None)
    for row in found["classes"]:
        values = [row[f"{column} iou"] for column in columns]
        if any(value is not None for value in values):
            table.add_row(escape(row["class"]), _percent(row["pixels"] / total), *map(_percent, values))
    return table


def _percent(share: float | None, sign: str = "") -> str:
    return "–" if share is None else f"{100 * share:{sign}.2f}"
