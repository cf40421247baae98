"""`export-engines` and `ovdeploy parity`. PyTorch is imported when a command runs, not before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from ..runtime.bundle import Bundle
from ..runtime.cli.common import fail_cleanly
from ..runtime.errors import MissingExtraError
from ..runtime.photo import demo_photo
from ..runtime.recipe import available_recipes, load_recipe

if TYPE_CHECKING:
    from .parity import Check

WEIGHTS_HELP = (
    "`pretrained` (the recipe's tag), `package`, `random:SEED`, or a checkpoint's path. Default: as the recipe says."
)


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
        click.echo(f"{role:13} {provenance.model}, {provenance.source}", err=True)
    with console.status("") as status:

        def tell(stage: str, event: str) -> None:
            if event == "exporting":
                status.update(f"{stage}: exporting")
            else:
                console.print(f"{stage:13} {event}", highlight=False)

        names = [name.strip() for name in stages.split(",")] if stages else None
        build_bundle(networks, target, precision=precision, stages=names, force=force, progress=tell)
    click.echo(target)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@weight_options
@click.option("--image", type=click.Path(path_type=Path), help="The photo. Default: the one in the package.")
@click.option("--backend", default="auto", show_default=True, help="What runs the engines.")
@click.option("--precision", default="fp32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@fail_cleanly
def parity(
    bundle: Path,
    clip_weights: str | None,
    dino_weights: str | None,
    sam_weights: str | None,
    image: Path | None,
    backend: str,
    precision: str,
    as_json: bool,
) -> None:
    """Prove that BUNDLE's engines agree with PyTorch: every stage by itself, then the whole pipeline.

    Stages are fed the reference's inputs. Weights that came from files must be given again; they are compared with the
    bundle's manifest. The tolerances are the recipe's. The exit code is 1 if any check fails.

    \b
    Example:
      ovdeploy parity engines/tiny
      ovdeploy parity engines/trident-b16 --clip-weights clip.safetensors --dino-weights dino.pth --sam-weights sam.pth
    """
    require_export_extra()
    from .parity import check_parity, check_weights, missing_stages, weight_sources
    from .reference.networks import Networks

    opened = Bundle.load(bundle)
    given = {"clip": clip_weights, "dino": dino_weights, "sam": sam_weights}
    networks = Networks.load(opened.recipe, weight_sources(opened, given))
    check_weights(opened, networks)
    console = Console(stderr=True)
    checks: list[Check] = []
    with console.status("running the PyTorch reference", spinner="line"):
        for check in check_parity(opened, networks, image or demo_photo(), backend=backend, precision=precision):
            checks.append(check)
            if not as_json:
                click.echo(_parity_line(check))
    if missing := missing_stages(opened):
        console.print(f"the pipeline was not checked: the bundle has no {', '.join(missing)}", highlight=False)
    failed = [check for check in checks if not check.passed]
    if as_json:
        click.echo(msgspec.json.encode({"passed": not failed, "checks": [c._asdict() for c in checks]}).decode())
    else:
        click.echo(f"{len(checks) - len(failed)} of {len(checks)} checks passed")
    sys.exit(1 if failed else 0)


def _parity_line(check: Check) -> str:
    measures = "  ".join(f"{name} {value:.3g}" for name, value in check.measures.items() if name != "cosine")
    if "agreement" in check.measures:
        measures = f"agreement {check.measures['agreement']:.6f}"
    if "cosine" in check.measures:
        measures += f"  1−cosine {1 - check.measures['cosine']:.1e}"
    times = ""
    if check.torch_ms is not None and check.engine_ms is not None:
        times = f"  torch {check.torch_ms:.0f} ms, engine {check.engine_ms:.0f} ms"
    return f"{'ok  ' if check.passed else 'FAIL'} {check.stage:13} {check.what:16} {measures}  ({check.limit}){times}"


def main() -> None:
    """Entry point of `export-engines`."""
    export_engines(prog_name="export-engines")
