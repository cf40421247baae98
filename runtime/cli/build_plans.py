"""`ovdeploy build-plans`: TensorRT plans for this machine, from the graphs of a bundle. It needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import TaskProgressColumn, TimeElapsedColumn

from ..backends.tensorrt.options import HARDWARE, PlanOptions
from ..bundle.bundle import Bundle
from ..bundle.plans import build_plans as build
from ..stage.axes import parse_ranges
from .common import fail_cleanly, progress_bar

GIBIBYTE = 1 << 30


RANGE_HELP = "Sizes of a dynamic axis, for example B=1:4:8; may be repeated. Default: what the recipe allows."
WORKSPACE_HELP = "GiB of scratch memory that a layer may use. Default: no limit."
LEVEL_HELP = "0 builds fastest, 5 searches longest."
VERSION_HELP = "Newer versions of TensorRT can run the plans too. They bring code for the host: see --allow-host-code."
HARDWARE_HELP = "Other GPUs that the plans should run on; they may be slower."
LEVELS, KINDS = click.IntRange(0, 5), click.Choice(list(HARDWARE))

OPTIONS = (
    click.option("--device", type=click.IntRange(min=0), default=0, show_default=True, help="Which GPU."),
    click.option("--range", "ranges", multiple=True, metavar="AXIS=MIN:USUAL:MAX", help=RANGE_HELP),
    click.option("--workspace", type=click.FloatRange(min=0, min_open=True), help=WORKSPACE_HELP),
    click.option("--optimization-level", type=LEVELS, default=3, show_default=True, help=LEVEL_HELP),
    click.option("--tf32", is_flag=True, help="Let FP32 products be computed in TF32: faster, no parity."),
    click.option("--version-compatible", is_flag=True, help=VERSION_HELP),
    click.option("--hardware-compatibility", type=KINDS, default="none", show_default=True, help=HARDWARE_HELP),
)


def plan_options(command: click.decorators.FC) -> click.decorators.FC:
    """The options that say how plans are built, shared with `export-engines --backend tensorrt`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def make_options(
    bundle: Bundle,
    *,
    ranges: tuple[str, ...],
    workspace: float | None,
    optimization_level: int,
    tf32: bool,
    version_compatible: bool,
    hardware_compatibility: str,
) -> PlanOptions:
    """The command line's options, checked.

    Raises:
        ParameterError: a range is none.
    """
    return PlanOptions(
        optimization_level=optimization_level,
        workspace=None if workspace is None else round(workspace * GIBIBYTE),
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
        ranges=parse_ranges(ranges, bundle.ranges()),
    )


def build_with_bar(
    bundle: Bundle, *, precision: str, stages: str | None, device: int, force: bool, options: PlanOptions
) -> None:
    """Build plans, and show how far each stage is."""
    names = [name.strip() for name in stages.split(",")] if stages else None
    console = Console(stderr=True)
    with progress_bar(console, TaskProgressColumn(), TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
            if lasting:
                console.print(f"{about:13} {event}", highlight=False, markup=False)
            bar.update(task, description=f"{about}: {event}"[:60], completed=share)

        build(bundle, precision=precision, stages=names, options=options, device=device, force=force, progress=tell)


@click.command("build-plans")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--precision", default="fp32", show_default=True, help="Of the graphs that plans are built from.")
@click.option("--stages", metavar="A,B", help="Build only these.")
@click.option("--force", is_flag=True, help="Build again what is there and unchanged.")
@plan_options
@fail_cleanly
def build_plans(
    bundle: Path,
    precision: str,
    stages: str | None,
    force: bool,
    device: int,
    ranges: tuple[str, ...],
    workspace: float | None,
    optimization_level: int,
    tf32: bool,
    version_compatible: bool,
    hardware_compatibility: str,
) -> None:
    """Build TensorRT plans from BUNDLE's graphs, for this machine's GPU and TensorRT, and keep them in BUNDLE.

    A plan fits the GPU and the TensorRT that it was built with; on another machine, run this there. Networks are
    strongly typed: the precision is the graph's. What is there and unchanged is kept, and plans of other machines stay.
    The timing cache is kept in BUNDLE too, so that the next build is faster. The exit code is 1 if a plan cannot be
    built; those that were built before it are kept.

    \b
    Examples:
      ovdeploy build-plans engines/trident-b16
      ovdeploy build-plans engines/trident-b16 --stages head --range Q=1:150:2000 --workspace 4
    """
    opened = Bundle.load(bundle)
    options = make_options(
        opened,
        ranges=ranges,
        workspace=workspace,
        optimization_level=optimization_level,
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
    )
    build_with_bar(opened, precision=precision, stages=stages, device=device, force=force, options=options)
    click.echo(bundle)
