"""`ovdeploy parity`. PyTorch is imported when the command runs, not before."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from ...runtime.backends.registry import choose_backend
from ...runtime.bundle.bundle import Bundle
from ...runtime.cli.common import bundle_argument, engine_options, fail_cleanly
from ...runtime.cli.progress import line_reporter
from ...runtime.photo.reading import demo_photo
from ..models.extra import require_export_extra
from .options import weight_options

if TYPE_CHECKING:
    from ..reference.checks import Check


@click.command()
@bundle_argument
@weight_options
@click.option("--image", type=click.Path(path_type=Path), help="The photo. Default: the one in the package.")
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@fail_cleanly
def parity(
    bundle: Path,
    weights: dict[str, str],
    image: Path | None,
    backend: str,
    precision: str,
    as_json: bool,
) -> None:
    """Prove that BUNDLE's engines agree with PyTorch: every stage by itself, then the whole pipeline.

    On a CPU, graphs in half precision are emulated: they would be computed in FP32. (OpenVINO's bf16 is run.)

    Stages are fed the reference's inputs. Weights that came from files must be given again; they are compared with the
    bundle's manifest. The tolerances are the recipe's. The exit code is 1 if any check fails.

    \b
    Example:
      ovdeploy parity --bundle engines/tiny
      ovdeploy parity --bundle engines/trident-b16 --clip-weights clip.safetensors --sam-weights sam.pth
    """
    require_export_extra()
    from ..parity.check import check_parity, check_weights, must_emulate, weight_sources
    from ..reference.networks import Networks

    opened = Bundle.load(bundle)
    networks = Networks.load(opened.recipe, weight_sources(opened, weights))
    check_weights(opened, networks)
    console = Console(stderr=True)
    checks: list[Check] = []
    backend = choose_backend(backend, precision)
    emulated = must_emulate(backend, precision)
    console.print(f"engines: {backend}, {precision}", highlight=False)
    if emulated:
        console.print(f"{precision} is emulated: this backend would compute it in FP32", highlight=False)
    how: dict[str, Any] = {"backend": backend, "precision": precision, "tell": line_reporter(console)}
    with console.status("running the PyTorch reference", spinner="line"):
        for check in check_parity(opened, networks, image or demo_photo(), **how):
            checks.append(check)
            if not as_json:
                click.echo(_parity_line(check))
    if missing := opened.missing_stages():
        console.print(f"the pipeline was not checked: the bundle has no {', '.join(missing)}", highlight=False)
    failed = [check for check in checks if not check.passed]
    if as_json:
        click.echo(_report(checks, backend, emulated))
    else:
        told = f" ({precision} emulated)" if emulated else ""
        click.echo(f"{len(checks) - len(failed)} of {len(checks)} checks passed{told}")
    sys.exit(1 if failed else 0)


def _report(checks: list[Check], backend: str, emulated: bool) -> str:
    passed = all(check.passed for check in checks)
    report = {
        "passed": passed,
        "backend": backend,
        "emulated": emulated,
        "checks": [check._asdict() for check in checks],
    }
    return msgspec.json.encode(report).decode()


def _parity_line(check: Check) -> str:
    shown = {name: value for name, value in check.measures.items() if name != "cosine"}
    measures = "  ".join(
        f"{name} {value:.6f}" if name == "agreement" else f"{name} {value:.3g}" for name, value in shown.items()
    )
    if "cosine" in check.measures:
        measures += f"  1−cosine {1 - check.measures['cosine']:.1e}"
    times = ""
    if check.torch_ms is not None and check.engine_ms is not None:
        times = f"  torch {check.torch_ms:.0f} ms, engine {check.engine_ms:.0f} ms"
    return f"{'ok  ' if check.passed else 'FAIL'} {check.stage:18} {check.what:24} {measures}  ({check.limit}){times}"
