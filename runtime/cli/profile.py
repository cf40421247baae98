"""`ovdeploy profile`: where the time of every stage goes, by trtexec, OpenVINO or ONNX Runtime."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..backends.measures import StageProfile
from ..backends.options import SessionOptions
from ..backends.registry import PROFILING, choose_backend, profile_graph
from ..backends.tensorrt import trtexec
from ..backends.tensorrt.trtexec_results import read_results
from ..bundle.advice import building_plans
from ..bundle.bundle import Bundle, PlanEntry
from ..bundle.opening import graph_precision
from ..errors import BundleError, OvdeployError, ParameterError, one_of
from ..files import write_bytes
from ..geometry.limits import DEVICES, REPEATS
from ..stage.axes import parse_ranges
from ..stage.contract import Range
from .common import Choice, bundle_argument, fail_cleanly

FOLDER = "profile"
SCRIPT = "profile.sh"


class Job(NamedTuple):
    """The stages to profile, and how."""

    bundle: Bundle
    precision: str
    stages: list[str]
    ranges: dict[str, Range]
    sizes: dict[str, int]
    source: str
    iterations: int
    device: int
    output: Path

    def sizes_of(self, stage: str) -> dict[str, int]:
        """Sizes of a stage's dynamic axes."""
        return {axis: self.sizes[axis] for axis in self.bundle.stage(stage).contract.dynamic_axes}

    def command(self, stage: str, program: str, *, relative: bool) -> list[str]:
        """The trtexec line of a stage, with paths relative to the bundle or as they are here."""
        base, output = (Path(), Path(FOLDER)) if relative else (self.bundle.path, self.output)
        return trtexec.command(
            base / self._file(stage),
            self.bundle.stage(stage).contract,
            self.ranges,
            self.sizes_of(stage),
            trtexec.result_paths(output, stage, self.precision),
            iterations=self.iterations,
            device=self.device,
            program=program,
        )

    def _file(self, stage: str) -> str:
        entry = self.bundle.stage(stage)
        own = ("tensorrt", self.precision)  # trtexec opens no plan of TensorRT-RTX
        plans = [plan for plan in entry.fitting_plans() if (plan.library, plan.precision) == own]
        if self.source == "plan":
            again = building_plans(self.bundle.path, "--stages", stage, "--precision", self.precision)
            return _one_plan(plans, stage, again).file.path
        return entry.engines[self.precision].files[0].path


@click.command()
@bundle_argument
@click.option("--precision", default="fp32", show_default=True)
@click.option("--stages", metavar="A,B", help="Profile only these.")
@click.option(
    "--by",
    default="auto",
    show_default=True,
    type=Choice(["auto", "trtexec", *PROFILING]),
    help="Who measures. auto: trtexec if it is there, else the backend that segments would be made with.",
)
@click.option(
    "--source",
    default="graph",
    show_default=True,
    type=Choice(["graph", "plan"]),
    help="What trtexec is given: the graph, which it compiles, or the bundle's plan.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="AXIS=N",
    help="Size of a dynamic axis, for example B=1; may be repeated. Default: the recipe's usual.",
)
@click.option("--iterations", type=click.IntRange(1, REPEATS), default=20, show_default=True, help="Runs at least.")
@click.option("--device", type=click.IntRange(0, DEVICES), default=0, show_default=True, help="Which GPU.")
@click.option(
    "--top", type=click.IntRange(0, REPEATS), default=10, show_default=True, help="Layers to show of each stage."
)
@click.option("--output", type=click.Path(path_type=Path), help="Where results are kept. Default: BUNDLE/profile.")
@click.option("--dry-run", is_flag=True, help="Print the trtexec commands, and do nothing.")
@click.option("--read", "read_only", is_flag=True, help="Show what trtexec left there, by profile.sh for example.")
@click.option("--json", "as_json", is_flag=True, help="Print the profiles as JSON.")
@fail_cleanly
def profile(
    bundle: Path,
    precision: str,
    stages: str | None,
    by: str,
    source: str,
    sizes: tuple[str, ...],
    iterations: int,
    device: int,
    top: int,
    output: Path | None,
    dry_run: bool,
    read_only: bool,
    as_json: bool,
) -> None:
    """Show where the time of every stage of BUNDLE goes: percentiles, precisions, the slowest layers.

    With trtexec on the PATH (or named by TRTEXEC) it measures, the same on TensorRT 10 and 11; without it OpenVINO or
    ONNX Runtime does, in the same table. Results are kept as JSON, and BUNDLE/profile.sh is written, which needs only
    trtexec. The exit code is 1 if a stage cannot be profiled.

    \b
    Examples:
      ovdeploy profile --bundle engines/trident-b16 --dry-run
      ovdeploy profile --bundle engines/trident-b16 --stages head,sam_decoder --size Q=150 --top 20
    """
    program = shutil.which(os.environ.get("TRTEXEC", "trtexec"))
    if by == "auto":
        by = "trtexec" if program or read_only or dry_run else choose_backend("auto", precision)
    job = _job(Bundle.load(bundle), by, precision, stages, sizes, source, iterations, device, output or bundle / FOLDER)
    if dry_run:
        for stage in job.stages:
            click.echo(shlex.join(job.command(stage, program or "trtexec", relative=False)))
        return
    _write_script(job)
    if by == "trtexec" and program is None and not read_only:
        raise ParameterError(
            "trtexec is not on the PATH, and TRTEXEC does not name it. It comes with TensorRT's archive, not with pip."
        )
    console, profiles = Console(), []
    for measured in _measure(job, by, program, read_only):
        profiles.append(measured)
        write_bytes(job.output / f"{measured.stage}.{precision}.{by}.summary.json", msgspec.json.encode(measured))
        if not as_json:
            _print(console, measured, top)
    if as_json:
        click.echo(msgspec.json.encode(profiles).decode())


def _job(
    bundle: Bundle,
    by: str,
    precision: str,
    stages: str | None,
    sizes: tuple[str, ...],
    source: str,
    iterations: int,
    device: int,
    output: Path,
) -> Job:
    names = [name.strip() for name in stages.split(",")] if stages else list(bundle.manifest.stages)
    for name in names:
        engines = bundle.stage(name).engines
        if (precision if by == "trtexec" else graph_precision(bundle, name, precision, by)) not in engines:
            raise BundleError(f"{bundle.path}, stage {name}: {one_of('precision', precision, engines)}")
    ranges = bundle.ranges()
    chosen = {axis: given[1] for axis, given in {**ranges, **parse_ranges(sizes, ranges)}.items()}
    for axis, size in chosen.items():  # a size outside the recipe's range widens what trtexec builds for
        ranges[axis] = (min(ranges[axis][0], size), ranges[axis][1], max(ranges[axis][2], size))
    return Job(bundle, precision, names, ranges, chosen, source, iterations, device, output)


def _measure(job: Job, by: str, program: str | None, read_only: bool) -> Iterator[StageProfile]:
    for stage in job.stages:
        if by == "trtexec":
            paths = trtexec.result_paths(job.output, stage, job.precision)
            if not read_only:
                assert program is not None, "asked for above"
                job.output.mkdir(parents=True, exist_ok=True)
                job.bundle.engine_path(stage, job.precision)  # what is damaged is not worth minutes
                click.echo(f"{stage}: trtexec", err=True)
                trtexec.run(job.command(stage, program, relative=False), stage)
            yield read_results(paths, stage, job.precision, f"trtexec, {job.source}", job.sizes_of(stage))
        else:
            click.echo(f"{stage}: {by}", err=True)
            yield _by_backend(job, stage, by)


def _by_backend(job: Job, stage: str, by: str) -> StageProfile:
    entry, held = job.bundle.stage(stage), graph_precision(job.bundle, stage, job.precision, by)
    options = SessionOptions(device=job.device, ranges=job.ranges, precision=entry.resolved(job.precision))
    path = job.bundle.engine_path(stage, held)
    return profile_graph(path, entry.contract, by, job.sizes_of(stage), options, job.iterations)


def _one_plan(plans: list[PlanEntry], stage: str, again: str) -> PlanEntry:
    if len(plans) == 1:
        return plans[0]
    if not plans:
        raise BundleError(f"there is no plan of {stage}; build one with: {again} – or take --source graph")
    from ..backends.tensorrt.libraries import LIBRARIES
    from ..bundle.plans import misfit

    here = LIBRARIES["tensorrt"].here(0)
    fitting = [plan for plan in plans if not misfit(plan, here, plan.onnx_sha256)]
    if not fitting:
        raise BundleError(f"no plan of {stage} fits this machine; build one with: {again}")
    return fitting[0]


def _write_script(job: Job) -> None:
    """Write profile.sh; a bundle that cannot be written to is profiled all the same."""
    try:
        commands = [job.command(stage, "trtexec", relative=True) for stage in job.stages]
        path = job.bundle.path / SCRIPT
        write_bytes(path, trtexec.script(commands, FOLDER).encode())
        path.chmod(path.stat().st_mode | 0o111)
    except (OSError, OvdeployError) as error:
        click.echo(f"{SCRIPT} was not written: {error}", err=True)


def _print(console: Console, measured: StageProfile, top: int) -> None:
    times, sizes = measured.times, " ".join(f"{axis}={size}" for axis, size in measured.sizes.items())
    told = "  ".join(
        f"{name} {getattr(times, name):.3f}" for name in ("p50", "p90", "p95", "p99", "mean", "min", "max")
    )
    console.print(f"[bold]{measured.stage}[/] {measured.precision} {sizes}", highlight=False)
    dropped = f", {times.dropped} without a time" if times.dropped else ""
    console.print(f"  ms {told}  ({times.runs} runs{dropped}; {times.what}; {measured.measured_by})", highlight=False)
    shares = ", ".join(f"{name} {share:.0%}" for name, share in measured.precisions().items())
    console.print(f"  time by precision: {shares}", highlight=False)
    table = Table("ms", "share", "precision", "kind", "layer", box=None, pad_edge=True)
    for layer in measured.layers[:top]:
        kind, name = escape(layer.kind), escape(layer.name)
        table.add_row(f"{layer.ms:.3f}", f"{layer.share:.1%}", layer.precision, kind, name)
    console.print(table)
