"""`ovdeploy tune`. What measures is imported when the command runs, not before."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from ...runtime.bundle.bundle import MANIFEST
from ...runtime.cli.common import (
    bundle_argument,
    engine_options,
    fail_cleanly,
    parameter_options,
    read_overrides,
    thread_option,
)
from ...runtime.cli.dataset_options import EPILOG, dataset_options, open_dataset, template_option
from ...runtime.cli.progress import progress_bar
from ...runtime.errors import DatasetError, ParameterError
from ...runtime.files import cache_root, check_folder
from ...runtime.geometry.limits import LARGEST, REPEATS

if TYPE_CHECKING:
    from ...runtime.datasets import Dataset
    from ...runtime.pipelines.base import Segmenter
    from .axes import Axis
    from .fit import Fit
    from .replay import Recorder

TOLD = 10
"""Photos left out that are told one by one."""


@click.command(epilog=EPILOG)
@bundle_argument
@dataset_options
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("tuned.toml"), show_default=True,
    help="The overlay.",
)  # fmt: skip
@click.option("--check-share", type=click.FloatRange(0, 1, max_open=True), default=0.5, show_default=True,
              help="Share of the photos that is held out, to check what was found.")  # fmt: skip
@click.option("--trials", type=click.IntRange(1, REPEATS), default=80, show_default=True,
              help="How many settings may be tried.")  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), help="Where what the engines made of the "
              "photos is kept.  [default: tune, in ovdeploy's cache folder]")  # fmt: skip
@click.option(
    "--budget-ms", type=click.FloatRange(0, LARGEST, min_open=True), metavar="MS",
    help="Fit the pace instead: the best mIoU within so many milliseconds a photo on this machine.",
)  # fmt: skip
@click.option("--max-loss", type=click.FloatRange(0, 100), metavar="POINTS",
              help="Fit the pace instead: the fastest within so many points of mIoU.")  # fmt: skip
@engine_options
@thread_option
@parameter_options
@template_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and no progress bar.")
@fail_cleanly
def tune(
    bundle: Path,
    dataset_name: str,
    data: Path | None,
    photos: int | None,
    held_out: bool,
    given: str,
    first_seed: int,
    output: Path,
    check_share: float,
    trials: int,
    cache: Path | None,
    budget_ms: float | None,
    max_loss: float | None,
    backend: str,
    precision: str,
    threads: int | None,
    overlay: Path | None,
    settings: tuple[str, ...],
    templates: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fit BUNDLE's thresholds to labelled photos: logit_scale, probability_threshold (where the dataset has a
    background), region_threshold, iou_threshold and min_area (where masks are refined); of bundles that find single
    things box_threshold, text_threshold (where the detector uses it), nms_threshold and mask_nms_threshold.

    A part of the photos is held out. On the others coordinate descent over small grids looks for the highest mIoU, or
    for the highest F1 of single things at an IoU of 0.5, on scenes and datasets with COCO's annotations; on
    those held out the values found are compared with the values that held, and kept only if they do better. The
    overlay goes to --output, for --parameters of segment, evaluate and export-engines. Encoders and head run once a
    photo; what they gave is kept in --cache (some 4 MB a photo with SAM at full size; delete it when you are done), so
    that a run that was interrupted goes on. Photos that cannot be read are told and left out. The exit code is 0
    whether something better was found or the values that held were kept.

    With --budget-ms or --max-loss it fits short_side, stride and refine: how long a photo takes, and what that costs.
    Each setting then segments each photo, in turn, on this machine with these threads; thresholds stay, and can be
    fitted afterwards with --parameters. The exit code is 1 if nothing is within the budget.

    \b
    Examples:
      ovdeploy tune --bundle demo/tiny --dataset scenes --photos 100
      ovdeploy tune --bundle engines/trident-b16 --dataset voc21 --data VOCdevkit --photos 200 --output voc21.toml
      ovdeploy segment photos/ --bundle engines/trident-b16 --classes "cup; mug, table" --parameters voc21.toml
      ovdeploy tune --bundle demo/tiny --dataset scenes --photos 20 --budget-ms 60 --output fast.toml
    """
    from ...runtime.pipelines.base import Segmenter
    from .fit import replaying, tunable
    from .goal import goal_of
    from .pace_command import fit_pace
    from .report import comments

    if budget_ms is not None and max_loss is not None:
        raise click.UsageError("--budget-ms and --max-loss are two goals; give one of them")
    goal = goal_of(budget_ms, max_loss)
    if not output.parent.is_dir():
        raise ParameterError(f"{output} cannot be written: {output.parent} is no folder")
    check_folder(output.parent)
    overrides = read_overrides(overlay, settings)
    dataset = open_dataset(dataset_name, data, photos, held_out=held_out, given=given, first_seed=first_seed)
    with Segmenter.load(
        bundle, backend=backend, precision=precision, parameters=overrides, threads=threads
    ) as segmenter:
        replaying(segmenter)
        if goal:
            fit_pace(
                segmenter,
                dataset,
                goal,
                bundle=bundle,
                output=output,
                overrides=overrides,
                templates=templates or None,
                threads=threads,
                share=check_share,
                trials=trials,
                as_json=as_json,
            )
            return
        recipe = segmenter.manifest.recipe
        axes = tunable(segmenter.parameters, dataset.background, recipe.family.unused(recipe))
        identity = _identity(bundle, segmenter)
        folder = cache or cache_root() / "tune"
        found, told = _tune(
            segmenter, dataset, axes, folder, identity, templates or None, check_share, trials, quiet=as_json
        )
    name = os.path.basename(os.path.abspath(bundle))
    _save(output, {**overrides, **found.chosen}, comments(found, name, dataset.title))
    _print(found, {"bundle": name, "dataset": dataset.title, **told, "overlay": str(output)}, as_json)


def _tune(
    segmenter: Segmenter,
    dataset: Dataset,
    axes: Sequence[Axis],
    folder: Path,
    identity: dict[str, Any],
    templates: tuple[str, ...] | None,
    share: float,
    budget: int,
    *,
    quiet: bool,
) -> tuple[Fit, dict[str, Any]]:
    """Record all photos, then fit; also what to tell of the photos."""
    from ...runtime.evaluation.predictors import Words
    from .fit import fit, replaying, split
    from .replay import Recorder, Replay
    from .yardsticks import yardstick_of

    recipe = segmenter.manifest.recipe
    things = recipe.family.things
    words = Words(dataset, lambda entries: segmenter.vocabulary(entries, templates=templates).embeddings, recipe)
    recorder = Recorder(replaying(segmenter), dataset, words, folder, identity, things=things)
    yardstick = yardstick_of(segmenter, dataset, Replay(replaying(segmenter), recorder, words))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bar(Console(stderr=True), MofNCompleteColumn(), *times, quiet=quiet) as progress:
        usable, failed, unlabelled = _record(recorder, dataset, progress, things=things)
        names, held_out = split(usable, share)
        click.echo(
            f"{recorder.encoded} photos went through the engines, {recorder.reused} were in {folder} "
            f"({recorder.bytes / 1e6:.0f} MB); {len(names)} are fitted on, {len(held_out)} held out",
            err=True,
        )
        found = fit(
            yardstick,
            segmenter.parameters,
            axes,
            background=dataset.background,
            names=names,
            held_out=held_out,
            budget=budget,
            advance=_bar(progress, len(names) * budget + 2 * len(usable)),
        )
    told = {"failed": failed, "unlabelled": unlabelled, "encoded": recorder.encoded, "reused": recorder.reused}
    return found, told


def _record(
    recorder: Recorder, dataset: Dataset, progress: Progress, *, things: bool
) -> tuple[list[str], dict[str, str], list[str]]:
    """Record every photo: the names of those that can be used, errors by name, and names of those without labels.

    Raises:
        DatasetError: none can be used, or single things are measured and the dataset tells of none.
    """
    from ...runtime.datasets import IGNORED
    from ...runtime.errors import OF_ONE_PHOTO, printable

    usable: list[str] = []
    unlabelled: list[str] = []
    failed: dict[str, str] = {}
    for name in progress.track(dataset.names, description="engines"):
        try:
            recorded = recorder.record(name)
        except OF_ONE_PHOTO as error:
            failed[printable(name)] = printable(error)
            if len(failed) <= TOLD:
                click.echo(f"left out: {printable(error)}", err=True)
            continue
        if things and recorded.things is None:
            raise DatasetError(
                f"this bundle finds single things, and {dataset.title} has pixels labelled alone; take `scenes`, or a "
                f"dataset with COCO's annotations"
            )
        (usable if things or (recorded.labels != IGNORED).any() else unlabelled).append(name)
    if len(failed) > TOLD:
        click.echo(f"left out: and {len(failed) - TOLD} more that failed", err=True)
    if unlabelled:
        click.echo(f"left out: {len(unlabelled)} photos have no pixel whose label counts", err=True)
    if not usable:
        raise DatasetError("no photo could be used; there is nothing to fit on")
    return usable, failed, unlabelled


def _bar(progress: Progress, most: int) -> Callable[[int], None]:
    """A bar over trials of photos. `most` is what the budget allows; the search usually ends sooner."""
    task = progress.add_task("trials of photos (at most)", total=most)
    return lambda trials: progress.update(task, advance=trials)


def _identity(bundle: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Dependencies of the engines' results, beside photo and words."""
    from .axes import AXES

    tuned = {axis.name for axis in AXES}
    kept = {name: value for name, value in msgspec.structs.asdict(segmenter.parameters).items() if name not in tuned}
    return {
        "ovdeploy": version("ovdeploy"),
        "bundle": hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest(),
        "backend": segmenter.backend,
        "precision": segmenter.precision,
        "parameters": kept,
    }


def _save(path: Path, values: dict[str, Any], lines: Sequence[str]) -> None:
    from ...runtime.recipe.parameters_file import save_parameters

    save_parameters(path, values, lines)


def _print(found: Fit, told: dict[str, Any], as_json: bool) -> None:
    from .report import describe, part_table, value_table, verdict, warnings

    if as_json:
        click.echo(msgspec.json.encode({**told, **describe(found)}).decode())
    else:
        console = Console()
        console.print(value_table(found))
        console.print(part_table(found))
        console.print(verdict(found), highlight=False)
        console.print(
            f"{len(found.trials)} settings were tried; the overlay is {told['overlay']}",
            highlight=False,
            soft_wrap=True,
        )
    for warning in warnings(found):
        click.echo(f"warning: {warning}", err=True)
