"""`ovdeploy calibrate`. What measures is imported when the command runs, not before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ...runtime.backends.registry import available_backends, choose_backend
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.calibration import Calibration
from ...runtime.cli.common import Choice, bundle_argument, fail_cleanly, parse_settings
from ...runtime.cli.progress import line_reporter
from ...runtime.cli.words import class_entries, classes_file_option
from ...runtime.errors import needing
from ...runtime.files import check_folder
from ...runtime.geometry.limits import PHOTOS, REPEATS
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.stage.precision import FP8, INT8, QUANTISED, RESTS

if TYPE_CHECKING:
    from .calibrate import Request

RUN_BY = {FP8: ["emulated"]}
"""Backends that engines are tried on, where not all that are installed can run them as they are."""

SEARCH = "search"
"""The method of a stage whose products each have their own, and their own balancing."""

REFUSED = 3
"""Exit code of a calibration that the gate refused."""


@click.command()
@bundle_argument
@click.option("--images", multiple=True, required=True, help="Photos, folders or globs; may be repeated.")
@click.option("--gate-images", multiple=True, help="Photos to judge by.  [default: every third of --images]")
@click.option(
    "--precision",
    type=Choice(QUANTISED),
    default=INT8,
    show_default=True,
    help="fp8 (E4M3) is for GPUs from Ada on; a CPU emulates it, so it is judged by its masks alone.",
)
@click.option("--output", type=click.Path(path_type=Path), help="The new bundle.  [default: BUNDLE-PRECISION]")
@click.option("--report", type=click.Path(path_type=Path), help="Folder of the report.  [default: OUTPUT-report]")
@classes_file_option
@click.option("--classes", help="What is looked for: commas, semicolons.  [default: the bundle's own, else VOC's]")
@click.option(
    "--photos", type=click.IntRange(1, PHOTOS), help="Least photos to calibrate on.  [default: the recipe's, 16]"
)
@click.option(
    "--gate-photos", type=click.IntRange(1, PHOTOS), help="Least photos to judge by.  [default: the recipe's, 8]"
)
@click.option("--limit", type=click.IntRange(1, PHOTOS), help="Most photos to calibrate on, evenly chosen.")
@click.option("--search", type=Choice(["stage", "block", "product"]), help="What gets a method of its own.")
@click.option("--ranges", multiple=True, help="minmax, wide, percentile, entropy or mse, instead of trying several.")
@click.option("--budget", type=click.FloatRange(0, 1), help="Least share of equal pixels; products go back to float.")
@click.option("--rest", type=Choice(["fp32", "fp16", "bf16"]),
              help="Precision of what is not quantised.  [default: fp32 for int8, fp16 for fp8]")  # fmt: skip
@click.option("--backend", "backends", multiple=True, help="What must be faster; may be repeated.  [default: all here]")
@click.option("--rounds", type=click.IntRange(1, REPEATS), default=5, show_default=True, help="Of measuring speed.")
@click.option(
    "--keep-anyway", is_flag=True, help="Write the bundle although the gate refuses it; the manifest says so."
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a parameter; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@fail_cleanly
def calibrate(bundle: Path, as_json: bool, **options: Any) -> None:
    """Make INT8 or FP8 engines for BUNDLE from your own photos, and accept them only if they are still right.

    The FP32 pipeline runs on the photos, ranges and balancing are chosen by the error at the stages' outputs, and what
    the recipe's [int8] table keeps stays float; --budget puts more back until the masks agree. Then the gate, on
    photos that were not calibrated on: a stage that is slower in INT8 stays float, and with no stage left, a whole
    photo that is slower, or masks that differ too much, nothing is written but the report. FP8 is emulated (every value
    is rounded to E4M3 as the graph says), so it is judged by its masks, and what is not FP8 is FP16.

    What was done is kept in the cache, so the same command goes on after an interruption. The exit code is 3 if the
    gate refused.

    \b
    Examples:
      ovdeploy calibrate --bundle engines/trident-b16 --images photos/ --classes "cup; mug, table"
      ovdeploy calibrate --bundle engines/trident-b16 --images photos/ --budget 0.97 --output engines/trident-b16-int8
      ovdeploy calibrate --bundle engines/trident-b16 --images photos/ --precision fp8
    """
    with needing("onnx", "graph", "quantising graphs"):
        from .calibrate import calibrate as run
        from .report import REPORT
    request = _request(bundle, options)
    console = Console(stderr=True)
    for folder in (request.output.parent, request.report):
        check_folder(folder)
    outcome = run(request, line_reporter(console))
    if as_json:
        click.echo(msgspec.json.encode(outcome.calibration).decode())
    else:
        _print(outcome.calibration)
    for reason in outcome.calibration.gate.refused:
        click.echo(f"refused: {reason}", err=True)
    where = f"{request.output}, " if outcome.accepted else ""
    click.echo(f"wrote {where}{request.report / REPORT}", err=True)
    sys.exit(0 if outcome.accepted else REFUSED)


def _request(bundle: Path, options: dict[str, Any]) -> Request:
    from ...runtime.photo.sources import expand
    from .calibrate import Request

    opened = Bundle.load(bundle)
    precision = options["precision"]
    output = options["output"] or bundle.with_name(f"{bundle.resolve().name}-{precision}")
    gate = options["gate_images"]
    return Request(
        bundle=opened,
        images=list(expand(options["images"])),
        gate_images=list(expand(gate)) if gate else None,
        output=output,
        report=options["report"] or output.with_name(f"{output.name}-report"),
        settings=_settings(opened.recipe.int8, options),
        limit=options["limit"],
        classes=class_entries(options["classes"], options["classes_file"]),
        parameters=parse_settings(options["settings"]),
        backends=[choose_backend(name) for name in options["backends"]] or RUN_BY.get(precision, available_backends()),
        rounds=options["rounds"],
        precision=precision,
        rest=options["rest"] or RESTS[precision],
        search_budget=options["budget"] is not None,
        keep_anyway=options["keep_anyway"],
    )


def _settings(recipe: Int8Settings, options: dict[str, Any]) -> Int8Settings:
    """The recipe's, with what the command line says instead."""
    given = {name: options[name] for name in ("photos", "gate_photos", "search", "ranges") if options[name]}
    if options["budget"] is not None:
        given["labels"] = options["budget"]
    try:
        return msgspec.convert({**msgspec.to_builtins(recipe), **given}, Int8Settings)
    except msgspec.ValidationError as error:
        raise click.BadParameter(str(error)) from error


def _print(calibration: Calibration) -> None:
    console = Console()
    quantised = calibration.precision
    table = Table("stage", "precision", f"in {quantised}", "won", "cosine", "error", "speed", box=None)
    for name, stage in calibration.stages.items():
        count = sum(layer.precision == quantised for layer in stage.layers)
        balanced = f", α {stage.smoothing:g}" if stage.method != SEARCH else ""
        won = f"{stage.method}{balanced}, {stage.weight_bits} bits"
        ratio = calibration.gate.speedups.get(name)
        table.add_row(
            name, stage.precision, f"{count} of {len(stage.layers)}", won,
            f"{stage.cosine:.5f}", f"{stage.relative:.4f}", f"{ratio:.2f}×" if ratio is not None else "",
        )  # fmt: skip
    console.print(table)
    for name, stage in calibration.stages.items():
        if stage.reason:
            console.print(f"{name} stays float: {stage.reason}", highlight=False)
    names = list(dict.fromkeys(name for stage in calibration.stages.values() for name in stage.methods))
    tried = Table("relative error by", *calibration.stages, box=None)
    for name in names:
        tried.add_row(name, *(_error(stage.methods.get(name)) for stage in calibration.stages.values()))
    console.print(tried)
    gate = calibration.gate
    speed = f", a photo {gate.speedups['photo']:.2f}× as fast" if "photo" in gate.speedups else ""
    console.print(
        f"gate: masks equal on {gate.labels:.2%} of pixels of {gate.photos} photos (worst {gate.worst:.2%}){speed}",
        highlight=False,
    )


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
