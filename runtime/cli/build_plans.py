"""`ovdeploy build-plans`: plans of TensorRT and TensorRT-RTX from the graphs of a bundle. It needs no PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..backends.tensorrt.options import BUILDERS, HARDWARE, PlanOptions
from ..backends.tensorrt.targets import TARGETS
from ..geometry.limits import DEVICES, LARGEST
from .common import Choice, bundle_argument, fail_cleanly

if TYPE_CHECKING:
    from ..bundle.bundle import Bundle

GIBIBYTE = 1 << 30


RANGE_HELP = "Sizes of a dynamic axis, for example B=1:4:8; may be repeated. Default: what the recipe allows."
WORKSPACE_HELP = "GiB of scratch memory that a layer may use. Default: no limit."
LEVEL_HELP = "0 builds fastest, 5 searches longest."
VERSION_HELP = "Newer versions of TensorRT can run the plans too. They bring code for the host: see --allow-host-code."
HARDWARE_HELP = "Other GPUs that the plans should run on; they may be slower."
TARGET_HELP = (
    "GPUs that TensorRT-RTX's plans are for; may be repeated. "
    + "; ".join(f"{name}: {gpus}" for name, gpus in TARGETS.items())
    + ".  [default: ampere-plus]"
)
LEVELS, KINDS = click.IntRange(0, 5), Choice(list(HARDWARE))

OPTIONS = (
    click.option("--device", type=click.IntRange(0, DEVICES), default=0, show_default=True, help="Which GPU."),
    click.option("--target", "targets", multiple=True, type=Choice(list(TARGETS)), help=TARGET_HELP),
    click.option("--range", "ranges", multiple=True, metavar="AXIS=MIN:USUAL:MAX", help=RANGE_HELP),
    click.option("--workspace", type=click.FloatRange(0, LARGEST, min_open=True), help=WORKSPACE_HELP),
    click.option("--optimization-level", type=LEVELS, default=3, show_default=True, help=LEVEL_HELP),
    click.option("--tf32", is_flag=True, help="Let FP32 products be computed in TF32: faster, no parity."),
    click.option("--version-compatible", is_flag=True, help=VERSION_HELP),
    click.option("--hardware-compatibility", type=KINDS, default="none", show_default=True, help=HARDWARE_HELP),
)


def plan_options(command: click.decorators.FC) -> click.decorators.FC:
    """The options that say how plans are built, shared with `export-engines --backend`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def make_options(
    bundle: Bundle | None,
    *,
    targets: tuple[str, ...],
    ranges: tuple[str, ...],
    workspace: float | None,
    optimization_level: int,
    tf32: bool,
    version_compatible: bool,
    hardware_compatibility: str,
) -> PlanOptions:
    """The command line's options, checked; without a bundle, all but the ranges.

    Raises:
        ParameterError: a range is none.
    """
    from ..stage.axes import parse_ranges

    return PlanOptions(
        optimization_level=optimization_level,
        workspace=None if workspace is None else round(workspace * GIBIBYTE),
        tf32=tf32,
        version_compatible=version_compatible,
        hardware_compatibility=hardware_compatibility,
        targets=tuple(dict.fromkeys(targets)),
        ranges=parse_ranges(ranges, bundle.ranges()) if bundle else {},
    )


def build_with_bar(
    bundle: Bundle, *, library: str, precision: str, stages: str | None, device: int, force: bool, options: PlanOptions
) -> None:
    """Build plans, and show how far each stage is."""
    from rich.console import Console
    from rich.progress import TaskProgressColumn, TimeElapsedColumn

    from ..bundle.plan_building import build_plans as build
    from .progress import progress_bar

    names = [name.strip() for name in stages.split(",")] if stages else None
    console = Console(stderr=True)
    with progress_bar(console, TaskProgressColumn(), TimeElapsedColumn(), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
            if lasting:
                console.print(f"{about:13} {event}", highlight=False, markup=False, soft_wrap=True)
            bar.update(task, description=f"{about}: {event}"[:60], completed=share)

        build(
            bundle, precision=precision, stages=names, options=options, device=device, force=force, library=library,
            progress=tell,
        )  # fmt: skip


@click.command("build-plans")
@bundle_argument
@click.option(
    "--backend",
    "library",
    type=Choice(BUILDERS),
    default="tensorrt",
    show_default=True,
    help="tensorrt builds on the GPU that plans are for; tensorrt-rtx on any x86-64 machine, with no GPU.",
)
@click.option("--precision", default="fp32", show_default=True, help="Of the graphs that plans are built from.")
@click.option("--stages", metavar="A,B", help="Build only these.")
@click.option("--force", is_flag=True, help="Build again what is there and unchanged.")
@plan_options
@fail_cleanly
def build_plans(
    bundle: Path, library: str, precision: str, stages: str | None, force: bool, device: int, **plans: Any
) -> None:
    """Build plans from BUNDLE's graphs, for TensorRT or TensorRT-RTX, and keep them in BUNDLE.

    A TensorRT plan fits the GPU and the TensorRT that it was built with; on another machine, run this there. A
    TensorRT-RTX plan is built here for the --target GPUs, wherever they are, and fits that version of TensorRT-RTX.
    Networks are strongly typed: the precision is the graph's. What is there and unchanged is kept, and plans of other
    machines stay. TensorRT's timing cache is kept in BUNDLE too, so that the next build is faster. The exit code is 1
    if a plan cannot be built; those that were built before it are kept.

    \b
    Examples:
      ovdeploy build-plans --bundle engines/trident-b16
      ovdeploy build-plans --bundle engines/trident-b16 --stages head --range Q=1:150:2000 --workspace 4
      ovdeploy build-plans --bundle engines/trident-b16 --backend tensorrt-rtx --precision fp16
      ovdeploy build-plans --bundle engines/trident-b16 --backend tensorrt-rtx --precision fp16 --target sm75
    """
    from ..bundle.bundle import Bundle
    from ..files import check_folder

    opened = Bundle.load(bundle)
    options = make_options(opened, **plans)
    check_folder(bundle)
    build_with_bar(
        opened, library=library, precision=precision, stages=stages, device=device, force=force, options=options
    )
    click.echo(bundle)
