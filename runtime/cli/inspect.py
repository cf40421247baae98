"""`ovdeploy inspect`: what is in a bundle."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..backends.tensorrt.libraries import LIBRARIES
from ..backends.tensorrt.targets import USUAL
from ..bundle.bundle import Bundle, manifest_data
from ..bundle.calibration import Calibration
from ..recipe.recipe import Recipe
from ..stage.census import Census
from ..stage.contract import TensorSpec
from .common import bundle_argument, fail_cleanly


@click.command()
@bundle_argument
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
@click.option("--verify/--no-verify", default=True, help="Compare every file with its SHA-256.  [default: verify]")
@fail_cleanly
def inspect(bundle: Path, as_json: bool, verify: bool) -> None:
    """Show what BUNDLE holds: recipe, weights, what every stage takes and gives, and its precision.

    The precision is counted: shares of weights, of nodes that compute, and of their operations.

    Every file is checked; a missing or altered one makes the exit code 1 (a text engine that was left out on purpose
    too: delete it from the bundle by exporting with --stages).
    """
    opened = Bundle.load(bundle)
    if verify:
        if opened.manifest.text is not None:
            opened.tokenizer_path()
        for name, stage in opened.manifest.stages.items():
            for precision in stage.engines:
                opened.engine_path(name, precision)
            for plan in stage.plans:
                opened.verified(plan.file)
    if as_json:
        click.echo(msgspec.json.encode(manifest_data(opened.manifest)).decode())
        return
    console = Console()
    recipe = opened.recipe
    console.print(f"[bold]{escape(recipe.name)}[/]  {escape(recipe.description)}", highlight=False)
    console.print(f"pipeline {recipe.pipeline}; {escape(recipe.family.describe(recipe))}", highlight=False)
    for line in _classes(recipe):
        console.print(line, highlight=False)
    console.print(_weights(opened))
    console.print(_stages(opened))
    if any(stage.plans for stage in opened.manifest.stages.values()):
        console.print(_plans(opened))
    console.print(_census(opened))
    if calibration := opened.manifest.calibration:
        console.print(_calibration(calibration), highlight=False)
    console.print(_parameters(opened))
    made_by = ", ".join(f"{name} {number}" for name, number in opened.manifest.versions.items())
    console.print(f"made by {made_by}", style="dim", highlight=False)


def _classes(recipe: Recipe) -> list[str]:
    """Lines about the recipe's own classes and its preset."""
    lines = []
    if recipe.preset:
        lines.append(f"preset {recipe.preset.name}, from {escape(recipe.preset.source)}")
        if recipe.preset.assumed:
            lines.append(f"[yellow]assumed, not published:[/] {', '.join(recipe.preset.assumed)}")
        if recipe.preset.left_out:
            lines.append(f"left out: {escape(recipe.preset.left_out)}")
    if recipe.classes:
        first = " (the first is the background)" if recipe.background else ""
        names = ", ".join(entry.partition(";")[0].strip() for entry in recipe.classes)
        lines.append(f"{len(recipe.classes)} classes unless --classes is given{first}: {escape(names)}")
    return lines


def _weights(bundle: Bundle) -> Table:
    table = Table("model", "name", "weights", "sha256", "licence", box=None)
    for role, provenance in bundle.manifest.provenance.items():
        row = (role, provenance.model, provenance.source, provenance.sha256[:16], provenance.licence or "not recorded")
        table.add_row(*map(escape, row))
    return table


def _stages(bundle: Bundle) -> Table:
    table = Table("stage", "precision", "size", "in", "out", box=None)
    for name, stage in bundle.manifest.stages.items():
        for precision, engine in stage.engines.items():
            size = f"{sum(file.bytes for file in engine.files) / 1e6:.1f} MB"
            inputs, outputs = (
                "\n".join(map(_signature, specs)) for specs in (stage.contract.inputs, stage.contract.outputs)
            )
            table.add_row(name, precision, size, inputs, outputs)
    return table


def _plans(bundle: Bundle) -> Table:
    table = Table("plan of", "precision", "size", "built by", "for", "layers", "graph", box=None)
    for name, stage in bundle.manifest.stages.items():
        for plan in stage.plans:
            layers = ", ".join(f"{count} {precision}" for precision, count in plan.layers.items()) or "unknown"
            current = "current" if plan in stage.fitting_plans() else "[yellow]exported again since[/]"
            gpu = f"{escape(plan.gpu)} ({plan.compute_capability})" if plan.gpu else ", ".join(plan.targets) or USUAL
            built_by = f"{LIBRARIES[plan.library].title} {plan.tensorrt}"
            table.add_row(name, plan.precision, f"{plan.file.bytes / 1e6:.1f} MB", built_by, gpu, layers, current)
    return table


def _census(bundle: Bundle) -> Table:
    """The precision that the engines really have: shares of weights, nodes and FLOPs."""
    table = Table("stage", "precision", "weights", "nodes", "FLOPs", box=None)
    for name, stage in bundle.manifest.stages.items():
        for precision in stage.engines:
            census = bundle.census(name, precision)
            shares = [_shares(census, of) for of in ("weights", "nodes", "flops")] if census else ["not counted"] * 3
            table.add_row(name, precision, *shares)
    return table


def _calibration(calibration: Calibration) -> str:
    """How the quantised engines came about, in a line or two."""
    gate = calibration.gate
    ratio = f", a photo {gate.speedups['photo']:.2f} times as fast" if "photo" in gate.speedups else ""
    floats = [name for name, stage in calibration.stages.items() if stage.precision != calibration.precision]
    kept = f"; [red]the gate refused it[/]: {escape('; '.join(gate.refused))}" if calibration.kept_anyway else ""
    return (
        f"{calibration.precision} calibrated on {calibration.photos} photos; masks equal to FP32's on "
        f"{gate.labels:.2%} of pixels of {gate.photos} others{ratio}; stages without such an engine use a float one"
        + (f" (tried and left: {', '.join(floats)})" if floats else "")
        + kept
    )


def _shares(census: Census, of: str) -> str:
    kinds = sorted(getattr(census, of), key=lambda kind: -census.share(of, kind))
    return ", ".join(f"{kind} {census.share(of, kind):.2%}" for kind in kinds)


def _signature(spec: TensorSpec) -> str:
    shape = ", ".join(map(str, spec.shape))
    kind = "" if spec.dtype == "float32" else f" {spec.dtype}"
    return rf"{spec.name} \[{shape}]{kind}"


def _parameters(bundle: Bundle) -> str:
    values = msgspec.structs.asdict(bundle.recipe.parameters)
    return "parameters " + ", ".join(f"{name} {value}" for name, value in values.items())
