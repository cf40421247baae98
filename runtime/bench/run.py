"""A whole run: start the runners, time them round by round, then what else was asked for, and put it together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle.bundle import Bundle
from ..errors import ExportError
from ..pipelines.engines import Calls
from ..pipelines.sweeps import Base
from ..reporting import Reporter, silent
from ..words.vocabulary import Vocabulary
from .machine import machine_facts
from .many import Throughput, throughput
from .memory import Memory
from .plan import Outcome, ProductSpec, RunnerSpec
from .process import Process
from .report import Report, RunnerReport, judge, measured_peaks, peak_of, runner_report
from .rounds import Series, alternate
from .soak import Soak, soak
from .start import Opened, Products, Start, open_runners
from .sweep import Sweep, sweep
from .work import product_flops


@dataclass(frozen=True, kw_only=True)
class Job:
    """The measurements asked for."""

    bundle: Bundle
    runners: Sequence[RunnerSpec]
    """The reference first."""
    required: frozenset[str] = frozenset()
    """Labels of runners that were asked for by name: one that does not work here is an error."""
    rivals: frozenset[str] = frozenset()
    """Labels of runners that others are measured against: they are neither swept, soaked nor counted by the dozen."""
    products: Sequence[ProductSpec] = ()
    photo: np.ndarray
    vocabulary: Vocabulary
    parameters: Mapping[str, Any]
    """Overrides of the recipe's, which all runners have."""
    rounds: int = 5
    starts: int = 1
    sweeps: Sequence[str] = ()
    soak: int = 0
    many: int = 0
    workers: int | None = None

    @property
    def photo_hw(self) -> tuple[int, int]:
        """The photo's size."""
        return self.photo.shape[0], self.photo.shape[1]

    def settings(self, bundle: Bundle) -> Any:
        """The parameters in force with a bundle."""
        return bundle.recipe.override(self.parameters)


def bench(job: Job, say: Reporter = silent, start: Start = Process) -> Report:
    """Measure.

    Args:
        job: what.
        say: told what goes on.
        start: starts a runner's process.

    Raises:
        EngineError: a runner that was asked for fails, or none works.
        ParameterError: a sweep that this bundle does not do.
    """
    with ExitStack() as stack:
        opened, left_out = open_runners(
            job.runners, job.required, job.photo, job.vocabulary, job.starts, stack, say, start
        )
        products = Products(job.products, stack, say, start)
        series = _rounds(job, opened, products, say)
        memory = {label: each.process.memory() for label, each in opened.items()}
        done = len(next(iter(series.values())).whole)
        own = [each for label, each in opened.items() if label not in job.rivals]
        extras = _extras(job, own if done == job.rounds else [], say)
    say("counting operations")
    peaks = measured_peaks(products.seconds)
    gflop, note = _gflop(job, opened, series)
    reports = tuple(
        _runner_report(job, each, series, gflop.get(label, {}), peaks, memory[label]) for label, each in opened.items()
    )
    calls = {stage: len(made) for stage, made in _calls(series).items()}
    return Report(
        bundle=job.bundle.path.resolve().name,
        machine=machine_facts(),
        photo_hw=job.photo_hw,
        calls=calls,
        idle=tuple(stage for stage in job.bundle.recipe.running_stages if calls and stage not in calls),
        queries=len(job.vocabulary.embeddings),
        rounds=done,
        reference=next(iter(opened)),
        runners=reports,
        left_out=left_out,
        peaks=peaks,
        flops_note=note,
        noise=judge(peaks, {report.label: report.spread for report in reports}, done),
        **{"cut_short": f"interrupted after {done} of {job.rounds} rounds" if done < job.rounds else "", **extras},
    )


def _rounds(job: Job, opened: Mapping[str, Opened], products: Products, say: Reporter) -> dict[str, Series]:
    def run(each: Opened) -> Outcome:
        say(f"{each.spec.label}")
        return each.process.run(job.photo, job.vocabulary)

    def before(number: int) -> None:
        say(f"round {number + 1} of {job.rounds}: matrix products")
        products.measure()

    return alternate({label: partial(run, each) for label, each in opened.items()}, job.rounds, before)


def _extras(job: Job, measured: Sequence[Opened], say: Reporter) -> dict[str, Any]:
    """Sweeps, soaking and throughput, of those that are not measured against; as many as were not interrupted."""
    sweeps: list[Sweep] = []
    soaks: list[Soak] = []
    throughputs: list[Throughput] = []
    found: dict[str, Any] = {"sweeps": sweeps, "soaks": soaks, "throughputs": throughputs}
    try:
        for each in measured:
            label, run = each.spec.label, each.process.run
            base = Base(job.photo, job.vocabulary, job.settings(job.bundle), job.bundle.manifest)
            for axis in job.sweeps:
                say(f"{label}: sweeping {axis}")
                sweeps.append(sweep(axis, label, run, base, job.rounds))
            if job.soak:
                say(f"{label}: {job.soak} photos, for its memory")
                soaks.append(soak(label, run, each.process.memory, job.photo, job.vocabulary, job.soak))
            if job.many:
                say(f"{label}: {job.many} photos by segment_many")
                call = each.process.call
                throughputs.append(
                    throughput(label, call, job.photo, job.vocabulary, job.many, job.rounds, job.workers)
                )
    except KeyboardInterrupt:
        found["cut_short"] = "interrupted before all sweeps, soaks and throughputs were done"
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _gflop(
    job: Job, opened: Mapping[str, Opened], series: Mapping[str, Series]
) -> tuple[dict[str, dict[str, float]], str]:
    """10⁹ operations of a photo's products by runner and stage, or why nobody counted."""
    found: dict[str, dict[str, float]] = {}
    known: dict[tuple[Any, ...], dict[str, float]] = {}
    try:
        for label, each in opened.items():
            calls = _calls(series, label, each.spec.bundle, opened)
            key = (each.spec.bundle, str(calls))
            if key not in known:
                flops = product_flops(Bundle.load(each.spec.bundle), calls)
                known[key] = {stage: count / 1e9 for stage, count in flops.items()}
            found[label] = known[key]
    except ImportError:
        return {}, "operations were not counted: pip install 'ovdeploy[graph]'"
    except ExportError as error:
        return {}, f"operations were not counted: {error}"
    return found, ""


def _calls(
    series: Mapping[str, Series],
    label: str = "",
    bundle: Path | None = None,
    opened: Mapping[str, Opened] | None = None,
) -> Calls:
    """The calls of a runner's engines; of one without engines, those of another on the same bundle, else nothing.

    Args:
        series: what the runners did.
        label: whose; without one, the first that has any.
        bundle, opened: which bundle, and what the runners were opened on.
    """
    own = series[label].first if label else None
    if own is not None and own.calls:
        return own.calls
    others = [each for name, each in series.items() if opened is None or opened[name].spec.bundle == bundle]
    return next((each.first.calls for each in others if each.first is not None and each.first.calls), {})


def _runner_report(
    job: Job,
    each: Opened,
    series: Mapping[str, Series],
    gflop: Mapping[str, float],
    peaks: Sequence[Any],
    memory: Memory,
) -> RunnerReport:
    label, reference = each.spec.label, next(iter(series.values()))
    precision = each.spec.precision
    return runner_report(
        label, precision, series[label], reference, job.bundle.recipe.stages, gflop, peak_of(precision, peaks),
        each.cold_starts, memory,
    )  # fmt: skip
