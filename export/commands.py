"""`export-engines` and `ovdeploy parity`. PyTorch is imported when a command runs, not before."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from ..runtime.cli.common import fail_cleanly
from ..runtime.errors import MissingExtraError
from ..runtime.recipe import available_recipes, load_recipe

WEIGHTS_HELP = "`pretrained` (the recipe's tag), `random:SEED`, or a checkpoint's path. Default: as the recipe says."


def weight_options(command: click.decorators.FC) -> click.decorators.FC:
    """The three options that say where weights come from."""
    for role in ("sam", "dino", "clip"):
        command = click.option(f"--{role}-weights", metavar="SOURCE", help=f"{role}: {WEIGHTS_HELP}")(command)
    return command


def require_export_extra() -> None:
    """Say which extra is missing, before an import fails somewhere deep.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
    """
    for package in ("torch", "open_clip", "segment_anything", "timm", "onnx", "onnxscript", "onnxslim", "safetensors"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtraError(package, "export", "working with PyTorch models") from error


@click.command("export-engines", epilog=f"Recipes: {', '.join(available_recipes())}; or the path of a TOML file.")
@click.argument("recipe")
@click.option("--output", type=click.Path(path_type=Path), help="The bundle's folder. Default: engines/RECIPE.")
@weight_options
@click.option("--precision", type=click.Choice(["fp32"]), default="fp32", show_default=True)
@click.option("--stages", metavar="A,B", help="Export only these; others are kept where they are unchanged.")
@click.option("--force", is_flag=True, help="Export again what is unchanged.")
@fail_cleanly
def export_engines(
    recipe: str,
    output: Path | None,
    clip_weights: str | None,
    dino_weights: str | None,
    sam_weights: str | None,
    precision: str,
    stages: str | None,
    force: bool,
) -> None:
    """Export every stage of RECIPE to ONNX and write a bundle.

    Stages whose weights, code and settings are unchanged are not exported again. An interrupted export leaves what was
    there before, and goes on where it stopped when it is called again.

    \b
    Examples:
      export-engines trident-b16
      export-engines trident-b16 --clip-weights clip.safetensors --dino-weights dino.pth --sam-weights sam.pth
      export-engines tiny --output /tmp/tiny
    """
    chosen = load_recipe(recipe)
    require_export_extra()
    from .build import build_bundle
    from .reference.networks import Networks

    console = Console(stderr=True)
    target = output or Path("engines") / chosen.name
    with console.status("loading the models"):
        weights = {"clip": clip_weights, "dino": dino_weights, "sam": sam_weights}
        networks = Networks.load(chosen, weights)
    for role, provenance in networks.provenance.items():
        console.print(f"{role:13} {provenance.model}, {provenance.source}", highlight=False)
    with console.status("") as status:

        def tell(stage: str, event: str) -> None:
            if event == "exporting":
                status.update(f"{stage}: exporting")
            else:
                console.print(f"{stage:13} {event}", highlight=False)

        names = [name.strip() for name in stages.split(",")] if stages else None
        build_bundle(networks, target, precision=precision, stages=names, force=force, progress=tell)
    click.echo(target)


def main() -> None:
    """Entry point of `export-engines`."""
    export_engines(prog_name="export-engines")


if __name__ == "__main__":
    sys.exit(main())
