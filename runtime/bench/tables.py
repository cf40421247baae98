"""A report as tables in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from .numbers import plain
from .report import Report, RunnerReport, Step
from .sweep import Sweep

MIB = 1 << 20

LARGEST_STEPS = 6
"""Columns of a sweep's table, beside the whole: the steps that take the longest somewhere."""


def tables(report: Report) -> Iterator[RenderableType]:
    """All of a report, part by part."""
    h, w = report.photo_hw
    yield f"[bold]{escape(report.bundle)}[/]: photo {w}×{h}, {report.queries} embeddings, {report.rounds} rounds"
    yield "calls of a photo: " + ", ".join(f"{escape(stage)} {count}" for stage, count in report.calls.items())
    if report.idle:
        yield (
            f"[bold]without {escape(', '.join(report.idle))}[/]: this photo did not call for it, so no figure holds "
            f"its time; name by --classes what the photo shows, or lower a threshold by --set"
        )
    yield escape(", ".join(f"{name} {value}" for name, value in report.machine.items()))
    yield _noise(report)
    yield steps_table(report)
    yield runners_table(report)
    yield peaks_line(report)
    for sweep in report.sweeps:
        yield sweep_table(sweep)
        yield growth_line(sweep)
    if report.soaks:
        yield soak_table(report)
    if report.throughputs:
        yield throughput_table(report)
    for label, why in report.left_out.items():
        yield f"left out: {escape(label)} ({escape(why)})"
    yield f"[dim]{escape(report.boundary)}[/]"


def steps_table(report: Report) -> Table:
    """A row for each step, a column for each runner."""
    table = Table("ms: median (p90) ratio", *(escape(runner.label) for runner in report.runners), box=None)
    for name in report.step_names():
        table.add_row(name, *(_cell(runner.steps.get(name)) for runner in report.runners))
    table.add_section()
    table.add_row("all that is no engine", *(_cell(runner.between) for runner in report.runners))
    table.add_row("whole photo", *(_cell(runner.whole) for runner in report.runners), style="bold")
    return table


def runners_table(report: Report) -> Table:
    """A column for each runner, and what concerns it as a whole."""
    table = Table("", *(escape(runner.label) for runner in report.runners), box=None)
    rows: dict[str, Callable[[RunnerReport], str]] = {
        "no engine, share": lambda r: f"{r.between_share:.1%}",
        f"mask equal to {escape(report.reference)}'s": lambda r: f"{r.agreement:.3%}",
        "coarse mask likewise": lambda r: f"{r.coarse_agreement:.3%}",
        "regions": lambda r: str(r.regions),
        "cold start, s": lambda r: " ".join(f"{start.total / 1e3:.2f}" for start in r.cold_starts),
        "of it opening": lambda r: " ".join(f"{start.opening / 1e3:.2f}" for start in r.cold_starts),
        "peak memory, MiB": lambda r: f"{r.peak_bytes / MIB:.0f}",
        "resident, MiB": lambda r: f"{r.resident_bytes / MIB:.0f}",
    }
    for name, told in rows.items():
        table.add_row(name, *(told(runner) for runner in report.runners))
    for stage in _counted(report.runners):
        shares = [runner.whole if stage == "whole photo" else runner.steps.get(stage) for runner in report.runners]
        table.add_row(f"{stage}: share of peak", *(_share(step) for step in shares))
    return table


def peaks_line(report: Report) -> str:
    """The products that were measured."""
    if not report.peaks:
        return "no library's matrix product could be measured"
    told = ", ".join(f"{p.label} {p.gflops:.0f} (−{p.spread:.0%} at worst)" for p in report.peaks)
    note = f"; {escape(report.flops_note)}" if report.flops_note else ""
    return f"matrix product 4096×768×3072, GFLOP/s: {told}{note}"


def sweep_table(sweep: Sweep) -> Table:
    """A row for each point; R regions went through SAM's decoder."""
    names = {name for point in sweep.points for name in point.steps}
    longest = sorted(names, key=lambda name: -max(point.steps.get(name, 0.0) for point in sweep.points))
    columns = longest[:LARGEST_STEPS]
    title = f"{sweep.runner}: ms by {sweep.axis}"
    table = Table(sweep.units, "R", "whole photo", *columns, box=None, title=escape(title))
    for point in sweep.points:
        values = [f"{point.steps.get(name, 0.0):.1f}" for name in columns]
        table.add_row(plain(point.at, 4), str(point.regions), f"{point.milliseconds:.1f}", *values)
    return table


def growth_line(sweep: Sweep) -> str:
    """How a sweep grows, its largest term named."""
    whole = f"{sweep.fixed:.1f} ms and {plain(sweep.per_unit, 3)} ms a {sweep.unit}"
    largest = next((term for term in sweep.terms if term.per_unit > 0), None)
    if largest is None:
        return f"{escape(sweep.runner)}, {sweep.axis}: {whole}; no step grows"
    return (
        f"{escape(sweep.runner)}, {sweep.axis}: {whole}; the largest term is {largest.step}, "
        f"{plain(largest.per_unit, 3)} ms a {sweep.unit}, {largest.share:.0%} of the growth"
    )


def soak_table(report: Report) -> Table:
    """Memory over many photos."""
    table = Table(
        "memory, MiB", "photos", "sizes", "settled", "end", "peak", "growth a hundred photos", "grows", box=None
    )
    for soak in report.soaks:
        sizes = [f"{value / MIB:.1f}" for value in (soak.settled, soak.end, soak.peak, soak.per_hundred)]
        table.add_row(escape(soak.runner), str(soak.photos), str(soak.sizes), *sizes, "yes" if soak.grows else "no")
    return table


def throughput_table(report: Report) -> Table:
    """`segment_many` against a loop."""
    table = Table("ms a photo, from files", "photos", "plain loop", "segment_many", "ratio", "masks", box=None)
    for made in report.throughputs:
        table.add_row(
            escape(made.runner), str(made.photos), f"{made.loop.median:.1f}", f"{made.many.median:.1f}",
            f"{made.ratio:.3f}", "equal" if made.equal else "[bold]differ[/]",
        )  # fmt: skip
    return table


def _noise(report: Report) -> str:
    if report.cut_short:
        return f"[bold]CUT SHORT[/]: {report.cut_short}. {_judged(report)}"
    return _judged(report)


def _judged(report: Report) -> str:
    if report.noise.judgeable:
        return "the machine was quiet enough to judge"
    return f"[bold]TOO NOISY TO JUDGE[/]: {escape('; '.join(report.noise.reasons))}"


def _counted(runners: Sequence[RunnerReport]) -> list[str]:
    names = [name for runner in runners for name, step in runner.steps.items() if step.peak_share is not None]
    return [*dict.fromkeys(names), "whole photo"] if names else []


def _cell(step: Step | None) -> str:
    if step is None:
        return "–"
    faster = "" if step.ratio is None else f" {step.ratio:.2f}×"
    return f"{step.milliseconds.median:.1f} ({step.milliseconds.p90:.1f}){faster}"


def _share(step: Step | None) -> str:
    return "–" if step is None or step.peak_share is None else f"{step.peak_share:.0%}"
