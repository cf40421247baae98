"""A run's findings, as plain values for people and for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from .many import Throughput
from .plan import Outcome
from .products import FLOPS
from .rounds import Figures, Series, agreement, figures, ratio, spread
from .soak import Soak
from .sweep import Sweep

BOUNDARY = (
    "A photo's time is that of one call: the decoded photo [H, W, 3] goes in, the mask comes out. A stage's is that of "
    "all its engine's calls, their checks of inputs and of NaN included. Embeddings are ready before. Ratios are the "
    "median over rounds of the reference's time over the runner's in the same round: above 1 is faster."
)

SCHEMA = "ovdeploy/bench/1"

NOISY = 0.1
"""Spread past which a machine is too noisy to judge."""

LEAST_ROUNDS = 3


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from nothing to the first mask, the bundle's files in the page cache or not as it happened to be."""

    total: float
    """From starting the process to the first mask."""
    opening: float
    """Imports, verifying the bundle, opening the engines; the interpreter's own start comes before."""
    first_photo: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the pipeline."""

    milliseconds: Figures
    ratio: float | None = None
    """How many times faster than the reference; None where one of them has no such step."""
    gflop: float | None = None
    """Of the products of a photo; None for what is no engine, or where nobody counted."""
    peak_share: float | None = None
    """Products per second over the machine's peak."""


class RunnerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One runner."""

    label: str
    precision: str
    whole: Step
    """The whole photo; its share of the peak is that of all engines' products over the whole time."""
    steps: dict[str, Step]
    """Stages and what is between them, in the order in which they run."""
    between: Step
    """All that is no engine."""
    between_share: float
    """The median over rounds of its share of the photo."""
    spread: float
    """Of the whole photo's time over rounds: the middle half's width over the median."""
    regions: int
    agreement: float
    """Share of pixels on which the mask is the reference's."""
    coarse_agreement: float
    repeats: float
    """The least share of pixels on which a later round gave the first one's mask."""
    cold_starts: tuple[ColdStart, ...]
    peak_bytes: int
    """Of its process, from the start to the last round."""
    resident_bytes: int


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """One library's product."""

    label: str
    precision: str
    gflops: float
    """The best of all rounds, 10⁹ operations a second."""
    spread: float
    """Between rounds: (best − worst) / best."""


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the machine was quiet enough."""

    judgeable: bool
    reasons: tuple[str, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run."""

    schema: str = SCHEMA
    bundle: str
    boundary: str = BOUNDARY
    machine: dict[str, str]
    photo_hw: tuple[int, int]
    calls: dict[str, int]
    """How often the photo called every stage's engine."""
    idle: tuple[str, ...] = ()
    """Stages that this photo did not call, though others do."""
    queries: int
    rounds: int
    cut_short: str = ""
    """The part that an interruption left out."""
    reference: str
    """The runner that ratios and agreements refer to."""
    runners: tuple[RunnerReport, ...]
    left_out: dict[str, str]
    """Runners that do not work here, and why."""
    peaks: tuple[Peak, ...]
    flops_note: str = ""
    """Why nobody counted operations, if so."""
    noise: Noise
    sweeps: tuple[Sweep, ...] = ()
    soaks: tuple[Soak, ...] = ()
    throughputs: tuple[Throughput, ...] = ()

    def step_names(self) -> list[str]:
        """All runners' steps, in the order of the one that tells the most."""
        by_detail = sorted(self.runners, key=lambda runner: -len(runner.steps))
        return list(dict.fromkeys(name for runner in by_detail for name in runner.steps))


def measured_peaks(seconds: Mapping[tuple[str, str], Sequence[float]]) -> tuple[Peak, ...]:
    """Peaks from the shortest seconds of every round, by label and precision; the fastest first."""
    peaks = [
        Peak(
            label=label, precision=precision, gflops=FLOPS / min(rounds) / 1e9, spread=1 - min(rounds) / max(rounds)
        )
        for (label, precision), rounds in seconds.items()
        if rounds
    ]  # fmt: skip
    return tuple(sorted(peaks, key=lambda peak: -peak.gflops))


def peak_of(precision: str, peaks: Sequence[Peak]) -> Peak | None:
    """The best product in a precision; FP32's where that precision's was not measured."""
    best = {peak.precision: peak for peak in sorted(peaks, key=lambda peak: peak.gflops)}
    return best.get(precision, best.get("fp32"))


def judge(peaks: Sequence[Peak], spreads: Mapping[str, float], rounds: int) -> Noise:
    """Whether the times mean something: enough rounds, a peak that stays, and rounds that resemble each other."""
    reasons = []
    if rounds < LEAST_ROUNDS:
        reasons.append(f"{rounds} rounds are too few to tell noise; take at least {LEAST_ROUNDS}")
    best = peak_of("fp32", peaks)
    if best is not None and best.spread > NOISY:
        reasons.append(f"the product of {best.label} was {best.spread:.0%} slower in its worst round than in its best")
    for label, value in spreads.items():
        if value > NOISY:
            reasons.append(f"the middle half of {label}'s rounds spreads over {value:.0%} of their median")
    return Noise(judgeable=not reasons, reasons=tuple(reasons))


def runner_report(
    label: str,
    precision: str,
    series: Series,
    reference: Series,
    stages: Sequence[str],
    gflop: Mapping[str, float],
    peak: Peak | None,
    cold_starts: tuple[ColdStart, ...],
    memory: tuple[int, int],
) -> RunnerReport:
    """The report of a runner, from its rounds.

    Args:
        label: the runner's.
        precision: its precision.
        series: its rounds.
        reference: those of the runner that it is compared with.
        stages: names of the steps that are engines.
        gflop: 10⁹ operations of a photo's products, by stage; may lack some.
        peak: the machine's in this precision; None if nothing measured it.
        cold_starts: of its processes.
        memory: bytes resident and at most.
    """

    def step(name: str) -> Step:
        return _step(series.step(name), reference.step(name), gflop.get(name), peak)

    own, theirs = series.without(stages), reference.without(stages)
    assert series.first is not None and reference.first is not None, "there is at least one round"
    masks = _agreements(series.first, reference.first)
    shares = np.divide(own, series.whole)
    return RunnerReport(
        label=label,
        precision=precision,
        whole=_step(series.whole, reference.whole, sum(gflop.values()) if gflop else None, peak),
        steps={name: step(name) for name in series.step_names()},
        between=_step(own, theirs, None, None),
        between_share=float(np.median(shares)),
        spread=spread(series.whole),
        regions=series.regions[0],
        agreement=masks[0],
        coarse_agreement=masks[1],
        repeats=series.repeats,
        cold_starts=cold_starts,
        resident_bytes=memory[0],
        peak_bytes=memory[1],
    )


def _step(own: Sequence[float], theirs: Sequence[float], gflop: float | None, peak: Peak | None) -> Step:
    times = figures(own)
    share = gflop / (times.median / 1e3) / peak.gflops if gflop and peak and times.median else None
    return Step(milliseconds=times, ratio=ratio(theirs, own), gflop=gflop, peak_share=share)


def _agreements(own: Outcome, theirs: Outcome) -> tuple[float, float]:
    return agreement(own.mask, theirs.mask), agreement(own.coarse, theirs.coarse)
