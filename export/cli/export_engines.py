"""`export-engines`. PyTorch is imported when the command runs, not before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...runtime.backends.tensorrt.options import BUILDERS
from ...runtime.boundary.shipped import DATASETS, RECIPES, shipped
from ...runtime.cli.build_plans import build_with_bar, make_options, plan_options
from ...runtime.cli.common import Choice, fail_cleanly
from ...runtime.stage.precision import FP32, HALF, INT8W
from ..models.extra import require_export_extra
from .options import weight_options

if TYPE_CHECKING:
    from rich.console import Console

    from ...runtime.recipe.recipe import Recipe
    from ..reference.networks import Networks


@click.command("export-engines", epilog=f"Recipes: {', '.join(shipped(RECIPES))}; or the path of a TOML file.")
@click.version_option(package_name="ovdeploy", prog_name="export-engines")
@click.argument("recipe")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The bundle's folder. Default: engines/RECIPE[-PRESET]."
)
@click.option("--preset", type=Choice(list(shipped(DATASETS))), help="Settings and classes of a benchmark.")
@click.option(
    "--parameters",
    "overlay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Parameters to lay over the recipe's, as `ovdeploy tune` writes them.",
)
@weight_options
@click.option(
    "--precision",
    type=Choice([FP32, *HALF, INT8W]),
    default=FP32,
    show_default=True,
    help="int8w: FP16 with the weights of products in INT8, without calibration.",
)
@click.option(
    "--islands",
    default="standard",
    show_default=True,
    metavar="standard|auto|none|FILE",
    help="Nodes that stay FP32 in half precision: those that usually must, those that measurements ask for, none, or "
    "as the islands.*.toml of another bundle says.",
)
@click.option(
    "--calibration-images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Photos that --islands auto measures on. Default: the one in the package.",
)
@click.option("--stages", metavar="A,B", help="Export only these; others are kept where they are unchanged.")
@click.option("--interactive", is_flag=True, help="Add what `ovdeploy prompt` and segmenter.prompt need.")
@click.option("--force", is_flag=True, help="Export again what is unchanged.")
@click.option(
    "--backend",
    type=Choice(["onnxruntime", *BUILDERS]),
    default="onnxruntime",
    show_default=True,
    help="tensorrt also builds plans for this machine, tensorrt-rtx for --target on any machine, as "
    "`ovdeploy build-plans` does without PyTorch.",
)
@plan_options
@fail_cleanly
def export_engines(
    recipe: str,
    output: Path | None,
    preset: str | None,
    overlay: Path | None,
    weights: dict[str, str],
    precision: str,
    islands: str,
    calibration_images: Path | None,
    stages: str | None,
    interactive: bool,
    force: bool,
    backend: str,
    device: int,
    **plans: Any,
) -> None:
    """Export every stage of RECIPE to ONNX and write a bundle.

    Stages whose weights, code and settings are unchanged are not exported again. An interrupted export leaves what was
    there before, and goes on where it stopped when it is called again.

    Precision lives in the graphs; the islands used are written to islands.PRECISION.toml in the bundle. Prove the
    result by `ovdeploy parity --bundle BUNDLE --precision fp16`, which emulates half precision on a CPU.

    \b
    Examples:
      export-engines trident-b16
      export-engines trident-b16 --clip-weights clip.safetensors --dino-weights dino.pth --sam-weights sam.pth
      export-engines tiny --output /tmp/tiny --interactive
      export-engines s2clip-b16 --preset voc21
      export-engines trident-b16 --parameters tuned.toml
      export-engines trident-b16 --stages sam_prompt_decoder   (adds it to the bundle that is there)
      export-engines trident-b16 --precision fp16 --islands auto --calibration-images photos/
      export-engines trident-b16 --backend tensorrt --workspace 8
      export-engines trident-b16 --precision fp16 --backend tensorrt-rtx   (no GPU is needed)
    """
    chosen = _chosen(recipe, preset, overlay, interactive)
    require_export_extra()
    if backend in BUILDERS:  # before anything slow
        from ...runtime.backends.tensorrt.libraries import LIBRARIES

        early = make_options(None, **plans)
        LIBRARIES[backend].check(early, precision)
        LIBRARIES[backend].builds_here(early, device)
    elif plans["targets"]:
        raise click.UsageError("--target is for --backend tensorrt-rtx")
    from rich.console import Console

    from ...runtime.bundle.bundle import Bundle
    from ...runtime.cli.progress import line_reporter
    from ...runtime.files import check_folder
    from ..bundling.build import build_bundle
    from ..bundling.half import HalfConversion, calibration_photos

    console = Console(stderr=True)
    target = output or Path("engines") / (f"{chosen.name}-{preset}" if preset else chosen.name)
    check_folder(target.parent)
    networks = _load(chosen, weights, console)
    conversion = None
    if precision != FP32:
        conversion = HalfConversion(networks, precision, islands, calibration_photos(calibration_images))
    names = [name.strip() for name in stages.split(",")] if stages else None
    with console.status("") as status:
        build_bundle(
            networks, target, conversion=conversion, stages=names, force=force, progress=line_reporter(console, status)
        )
    if backend in BUILDERS:
        bundle = Bundle.written_here(target)
        settings = make_options(bundle, **plans)
        build_with_bar(
            bundle, library=backend, precision=precision, stages=stages, device=device, force=force, options=settings
        )
    click.echo(target)


def _chosen(name: str, preset: str | None, overlay: Path | None, interactive: bool) -> Recipe:
    from ...runtime.pipelines.promptable.interactive import Prompter
    from ...runtime.recipe.parameters_file import with_parameters
    from ...runtime.recipe.presets import with_preset
    from ...runtime.recipe.recipe import load_recipe, with_optional

    recipe = load_recipe(name)
    if preset:
        recipe = with_preset(recipe, preset)
    if overlay:
        recipe = with_parameters(recipe, overlay)
    return with_optional(recipe, *recipe.family.needed_by(Prompter)) if interactive else recipe


def _load(recipe: Recipe, weights: dict[str, str], console: Console) -> Networks:
    """Make the models, and tell where their weights come from and what the preset assumes."""
    from ..reference.networks import Networks

    with console.status("loading the models"):
        networks = Networks.load(recipe, weights)
    if recipe.preset and recipe.preset.assumed:
        assumed = ", ".join(recipe.preset.assumed)
        click.echo(f"preset {recipe.preset.name}: assumed, not published: {assumed}", err=True)
    for role, provenance in networks.provenance.items():
        licence = f"; licence {provenance.licence}" if provenance.licence else ""
        click.echo(f"{role:13} {provenance.model}, {provenance.source}{licence}", err=True)
        for change in provenance.changes:
            click.echo(f"{'':13} {change}", err=True)
    return networks


def main() -> None:
    """Entry point of `export-engines`."""
    export_engines(prog_name="export-engines")
