"""`ovdeploy batch`: any number of photos and words in, a table of Parquet out, in processes or on many machines."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from ..backends.options import MOST_THREADS
from ..backends.registry import BACKENDS
from ..batch.columns import COLUMNS, USUAL, check_columns
from ..batch.job import Batch
from ..batch.messages import Spec
from ..batch.plan import SHARD, Division, planned
from ..batch.run import RUNNERS, run, runner_named
from ..batch.table import SCHEMA, Table
from ..batch.tally import Tally
from ..bundle.bundle import Bundle
from ..errors import ParameterError
from ..geometry.limits import LARGEST, LISTED
from ..pipelines.base import Segmenter
from ..words.vocabulary import Vocabulary
from .batching import Screen
from .common import (
    Choice,
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
from .segmenting import Words, resolved
from .words import class_entries, classes_options

PART = re.compile(r"(\d{1,7})/(\d{1,7})")


def _columns(context: click.Context, option: click.Parameter, given: str) -> tuple[str, ...]:
    """The columns that `--save` lists, each once."""
    names = [name.strip() for name in given.split(",") if name.strip()]
    try:
        return check_columns(names)
    except ParameterError as error:
        raise click.BadParameter(str(error)) from error


def _part(context: click.Context, option: click.Parameter, given: str) -> tuple[int, int]:
    """Which of how many parts `--shard` means."""
    found = PART.fullmatch(given)
    at, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= at <= of:
        raise click.BadParameter(f"{given!r}: expected I/N, such as 2/8 for the second of eight machines")
    return at, of


source_options = together(
    click.option(
        "--column", default="image", show_default=True, help="Of Parquet: where photos are, or their paths or URLs."
    ),
    click.option("--recursive/--no-recursive", default=True, show_default=True, help="Whether folders are searched."),
    click.option("--allow-urls", is_flag=True, help="Fetch photos that lists and columns name by URLs."),
)
table_options = together(
    click.option(
        "--save", "columns", default=",".join(USUAL), show_default=True, callback=_columns, metavar="COLUMNS",
        help="What is in a row beside the photo's name and size, by comma; see below.",
    ),
    click.option(
        "--shard-size", type=click.IntRange(1, LISTED), default=SHARD, show_default=True,
        help="Photos of a shard. A tar is one, whatever it holds.",
    ),
    click.option("--retry-failed", is_flag=True, help="Try photos again that failed before."),
)  # fmt: skip
running_options = together(
    click.option(
        "--workers", type=click.IntRange(1, MOST_THREADS), default=1, show_default=True,
        help="Processes, each with engines of its own; with Ray, over all machines.",
    ),
    click.option(
        "--at-once", type=click.IntRange(1, MOST_THREADS), default=2, show_default=True,
        help="Photos in work at once in each: one is read or merged while engines run on another.",
    ),
    click.option("--shard", "part", default="1/1", callback=_part, metavar="I/N",
                 help="Do part I of N, which is each Nth shard (a file of the table) from the Ith on: for N machines "
                 "without Ray."),
    click.option("--time-limit", type=click.FloatRange(0.1, LARGEST), metavar="SECONDS",
                 help="A photo that takes longer becomes the row of an error.  [default: none]"),
    click.option("--max-failures", type=click.IntRange(0, LISTED), metavar="N",
                 help="End the run when more than N photos failed.  [default: never]"),
    click.option("--runner", type=Choice(list(RUNNERS)), default="local", show_default=True,
                 help="This machine's processes, or a cluster of Ray."),
    click.option("--address", metavar="ADDRESS", help="Of a cluster of Ray: auto, or HOST:PORT.  "
                 "[default: one is started here]"),
)  # fmt: skip

EPILOG = "\b\nColumns of --save:\n" + "\n".join(f"  {name:10} {column.holds}" for name, column in COLUMNS.items())


@click.command(epilog=EPILOG)
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="DST", type=click.Path(path_type=Path, file_okay=False))
@bundle_option
@classes_options
@template_option
@click.option("--vocabulary", "saved", type=click.Path(path_type=Path), help="A file of Vocabulary.save, instead.")
@source_options
@table_options
@running_options
@engine_options
@thread_option
@gpu_options
@parameter_options
@click.option("--background", is_flag=True, help="The first class is the background, whatever its name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, and no progress bar.")
@fail_cleanly
def batch(
    source: str,
    folder: Path,
    bundle: Path,
    classes: str | None,
    classes_file: Path | None,
    classes_from: str | None,
    templates: tuple[str, ...],
    saved: Path | None,
    background: bool,
    overlay: Path | None,
    settings: tuple[str, ...],
    as_json: bool,
    columns: tuple[str, ...],
    at_once: int,
    runner: str,
    **how: Any,
) -> None:
    """Name every pixel of all photos of SRC, and write a table to DST.

    SRC is a folder, a glob in quotation marks, "@FILE" for a list, a tar or a folder or glob of tars (webdataset), a
    file of Parquet with photos or their names in a column, or any of these in a store: s3://bucket/prefix.

    DST becomes a folder of Parquet files, a shard each, with a row for each photo, also for one that fails. A shard is
    written whole or not at all, and one that is there is done: the same command again goes on where a run stopped,
    however it ended. A table of another bundle, other words, parameters or photos is refused.

    The exit code is 1 if the table holds rows of errors, those of runs before included.

    \b
    Examples:
      ovdeploy batch photos/ table/ --bundle engines/trident-b16 --classes "cup; mug, table" --workers 4 --threads 4
      ovdeploy batch "s3://bucket/tars/*.tar" table/ --bundle engines/trident-b16 --classes-from voc21 --shard 2/8
      ovdeploy batch @list.txt table/ --bundle engines/trident-b16 --classes cup --retry-failed --time-limit 60
    """
    division = Division(
        how.pop("shard_size"), how.pop("column"), how.pop("recursive"), allow_urls=how.pop("allow_urls")
    )
    running = {name: how.pop(name) for name in RUNNING}
    opened = Bundle.load(bundle)
    words = _words(opened, class_entries(classes, classes_file, classes_from), templates, saved, background or None)
    how = resolved(opened, how)
    table = Table(folder.absolute(), columns)  # the processes of a cluster start in folders of their own
    parameters = read_overrides(overlay, settings)
    console = Console(stderr=True)
    with console.status("listing photos"):
        plan = planned(source, division)
    how["threads"] = how["threads"] or _threads(running["workers"])

    def spec() -> Spec:
        return Spec(
            bundle=opened.path.absolute(), digest=opened.digest, vocabulary=_embedded(words, opened, how, console),
            parameters=parameters, opening=how, columns=columns, at_once=at_once, folder=Path.cwd(),
        )  # fmt: skip

    depends = {**_depends(opened, words, parameters, how), "photos": plan.digest, "columns": columns}
    work = Batch(spec=spec, plan=plan, table=table, depends=depends, **running)
    tally = Tally()
    with Screen(console, work, tally, quiet=as_json) as screen:
        run(work, runner_named(runner), tally, screen.heard)
    screen.end(as_json)
    sys.exit(1 if tally.failed or tally.failed_before else 0)


RUNNING = ("workers", "part", "time_limit", "max_failures", "retry_failed", "address")
"""Options that are fields of a `Batch`."""


def _words(
    opened: Bundle, entries: list[str] | None, templates: tuple[str, ...], saved: Path | None, background: bool | None
) -> Words:
    if entries and saved:
        raise click.UsageError("give either --classes, --classes-file, --classes-from or --vocabulary")
    if templates and saved:
        raise click.UsageError("a --vocabulary was embedded with its templates; leave --template away")
    if not entries and not saved and not opened.recipe.classes:
        raise click.UsageError("give --classes or --vocabulary; this bundle was not exported with classes of its own")
    return Words(entries, templates, Vocabulary.load(saved, background=background) if saved else None, background)


def _threads(workers: int) -> int | None:
    """Several workers share the processor's cores; one is left to its backend."""
    return max(1, (os.cpu_count() or 1) // workers) if workers > 1 else None


def _embedded(words: Words, opened: Bundle, how: dict[str, Any], console: Console) -> Vocabulary:
    if words.saved is not None:
        return words.saved
    with Segmenter.load(opened.path, **how) as segmenter:
        return words.embedded(segmenter, console)


def _depends(opened: Bundle, words: Words, parameters: dict[str, Any], how: dict[str, Any]) -> dict[str, Any]:
    """All that rows depend on but the photos, as plain values; in whose words differences are told."""
    return {
        "schema": SCHEMA,
        "bundle": opened.digest,
        "words": msgspec.to_builtins(words.depends(opened)),
        "parameters": msgspec.to_builtins(opened.recipe.override(parameters)),
        "backend": how["backend"],
        "backend's version": _installed(BACKENDS[how["backend"]].package),
        "ovdeploy's version": version("ovdeploy"),
        "precision": how["precision"],
        "backend options": dict(how["backend_options"]),
    }


def _installed(package: str) -> dict[str, str]:
    """Versions of what brings a package: more than one thing may."""
    return {name: version(name) for name in sorted(set(packages_distributions().get(package, ())))}
