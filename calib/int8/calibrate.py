"""The whole of a calibration, top to bottom: photos, feeds, ranges, budget, gate, report, bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ...runtime.backends.base import Session
from ...runtime.backends.registry import BACKENDS
from ...runtime.bundle.advice import adding
from ...runtime.bundle.bundle import Bundle, EngineEntry
from ...runtime.bundle.calibration import Calibration
from ...runtime.bundle.locks import locked
from ...runtime.datasets import load_spec
from ...runtime.errors import BundleError
from ...runtime.files import cache_root
from ...runtime.pipelines.base import Segmenter, open_trial
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.reporting import Reporter
from ...runtime.stage.precision import FP32, INT8
from ...runtime.words.vocabulary import Vocabulary
from .assemble import Goal, check_output
from .budget import within_budget
from .collect import Collected, collect
from .draft import Draft
from .gate import judge
from .photos import Photos, choose_photos, digest
from .report import stage_report, write_report
from .search import StageSearch
from .speed import Now, usable
from .stage import Choice, Work
from .steps import Steps
from .trial import Opening, Trial

USUAL_CLASSES = "voc21"
"""Whose names are looked for where neither the user nor the recipe has any."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The calibration asked for."""

    bundle: Bundle
    images: Sequence[Path]
    output: Path
    report: Path
    """The folder of the report."""
    settings: Int8Settings
    gate_images: Sequence[Path] | None = None
    limit: int | None = None
    classes: Sequence[str] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    backends: Sequence[str] = ("onnxruntime",)
    """Backends that the engines are to run on; the first one runs the float engines that feeds come from."""
    rounds: int = 5
    precision: str = INT8
    """The precision of the products: a key of `FORMATS`."""
    rest: str = FP32
    """The precision of what is not quantised."""
    search_budget: bool = False
    """Whether products go back to float until `settings.labels` holds on calibration photos."""
    keep_anyway: bool = False
    now: Now = time.perf_counter

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that are tried: those that the settings name, or the pipeline's own choice."""
        return self.settings.stages or self.bundle.recipe.int8_stages


class Outcome(NamedTuple):
    """The outcome of a calibration."""

    calibration: Calibration
    accepted: bool
    """Whether the bundle was written."""


def calibrate(request: Request, tell: Reporter) -> Outcome:
    """Quantise, judge, report; write the bundle if the gate lets it pass.

    Whatever was done before an interruption is not done again.

    Args:
        request: what is asked for.
        tell: is told what happens.

    Raises:
        PhotoError: there are too few photos that can be read.
        BundleError: the output is no place for a bundle, or the bundle lacks FP32 engines.
        RecipeError: the settings name what is not there.
        BusyError: another process writes to the same output.
    """
    check_output(request.bundle, request.output)
    photos = choose_photos(
        request.images, request.gate_images, photos=request.settings.photos, gate_photos=request.settings.gate_photos,
        limit=request.limit, tell=tell,
    )  # fmt: skip
    with locked(request.output, "calibrate"):
        return _Calibration(request, photos, tell).run()


class _Calibration:
    """One calibration on its way."""

    def __init__(self, request: Request, photos: Photos, tell: Reporter) -> None:
        self.request, self.photos, self.tell = request, photos, tell
        self.bundle, self.settings = request.bundle, request.settings
        self.stages = [stage for stage in request.stages if stage in self.bundle.manifest.stages]
        if not self.stages:
            raise BundleError(
                f"{self.bundle.path} holds none of the stages {', '.join(request.stages)}; name others in the "
                f"recipe's [int8] table"
            )
        self.goal = Goal(request.precision, request.rest)
        self.backends = usable(self.bundle, self.stages[0], request.backends, tell)
        identity = _identity(request, photos) | {"backend": self.backends[0]}
        root = cache_root() / "calibrate"
        self.fed = Steps(root, identity)
        chosen = {"settings": msgspec.to_builtins(self.settings), **self.goal._asdict()}
        self.searched = Steps(root, {**identity, **chosen})

    def run(self) -> Outcome:
        """From the first photo to the bundle, or to the gate's refusal."""
        works = self._works()
        choices = {stage: self._choice(work) for stage, work in works.items()}
        trial = self._trial(Draft(self.bundle, self.request.output, works, self.goal, self.tell))
        kept = within_budget(trial, choices, self.searched) if self.request.search_budget else choices
        engines, lacking = trial.draft.engines(kept), trial.draft.lacking
        reasons = {stage: lacking.get(stage, "the budget left nothing") for stage in choices if stage not in engines}
        gate, slow = judge(trial, engines, list(works.values()))
        kept_anyway = bool(gate.refused) and self.request.keep_anyway and bool(engines)
        left = {stage: engine for stage, engine in engines.items() if stage not in slow}
        if kept_anyway and not left:
            left, slow = engines, {}
        chosen, untouched = choices | kept, reasons | slow
        calibration = Calibration(
            precision=self.request.precision,
            photos=len(self.photos.calibration), photos_sha256=self.photos.sha256, settings=self.settings,
            stages={stage: stage_report(work, chosen[stage], untouched) for stage, work in works.items()},
            gate=gate, kept_anyway=kept_anyway,
        )  # fmt: skip
        return self._outcome(trial.draft, left, calibration)

    def _outcome(self, draft: Draft, engines: Mapping[str, EngineEntry], calibration: Calibration) -> Outcome:
        """Write the report, and the bundle with these engines if it is accepted."""
        write_report(
            self.request.report,
            calibration,
            f"{self.bundle.recipe.name}: {self.request.precision.upper()}, product by product",
        )
        accepted = calibration.kept_anyway or not calibration.gate.refused
        if accepted:
            draft.write(engines, calibration)
            draft.accept()
        else:
            draft.drop()
        return Outcome(calibration, accepted)

    def _works(self) -> dict[str, Work]:
        """The stages that ran on the calibration photos and have products, observed, by name."""
        collected = collect(
            lambda wrap: self._segmenter(self.bundle.path, precision=FP32, wrap=wrap),
            self._vocabulary, self.photos.calibration, self.stages, self.fed, self.tell,
        )  # fmt: skip
        return {work.stage: work for stage in self.stages if (work := self._work(stage, collected))}

    def _trial(self, draft: Draft) -> Trial:
        runs = {name: (*BACKENDS[name].means, *BACKENDS[name].widens) for name in self.backends}
        timing = [name for name, not_as_it_is in runs.items() if self.request.precision not in not_as_it_is]
        return Trial(
            draft=draft,
            photos=self.photos,
            settings=self.settings,
            opening=Opening(self._segmenter, self._vocabulary, timing, self.request.rounds, self.request.now),
            kept=self.fed,
            tell=self.tell,
        )

    def _work(self, stage: str, collected: Collected) -> Work | None:
        """A stage, observed; None if it did not run on these photos."""
        path = self.bundle.engine_path(stage, FP32)
        work = Work(self.bundle.stage(stage).contract, path, self.settings, collected, self.fed, self.request.precision)
        if not work.readers or not work.products:
            self.tell(
                f"{stage} stays float: it did not run on these photos (name by --classes what they "
                "show), or has no products with weights"
            )
            return None
        work.observe(partial(self.tell, about=stage))
        return work

    def _choice(self, work: Work) -> Choice:
        search = StageSearch(work, self.searched, self.backends[0], partial(self.tell, about=work.stage))
        return self.searched.once(f"{work.stage}-choice", Choice, search.find)

    def _segmenter(
        self,
        bundle: Path,
        *,
        precision: str,
        backend: str = "",
        wrap: Callable[[Session], Session] = lambda session: session,
    ) -> Segmenter:
        return open_trial(
            bundle, precision=precision, backend=backend or self.backends[0],
            parameters=self.request.parameters, wrap=wrap,
        )  # fmt: skip

    def _vocabulary(self, segmenter: Segmenter) -> Vocabulary:
        return segmenter.vocabulary(_classes(self.request))


def _classes(request: Request) -> Sequence[str]:
    own = request.classes or request.bundle.recipe.classes
    return own or load_spec(USUAL_CLASSES).classes[1:]


def _identity(request: Request, photos: Photos) -> dict[str, Any]:
    """All that feeds, ranges and FP32's masks depend on."""
    stages = request.bundle.manifest.stages
    for stage, entry in stages.items():
        if FP32 not in entry.engines and stage in request.stages:
            raise BundleError(
                f"{request.bundle.path} holds {stage} in {', '.join(entry.engines)}, but not in {FP32}, which "
                f"{request.precision.upper()} is made from: "
                f"{adding(request.bundle.path, request.bundle.manifest, stage)}"
            )
    return {
        "ovdeploy": version("ovdeploy"),
        "photos": [digest(photos.calibration), digest(photos.gate)],
        "recipe": msgspec.to_builtins(request.bundle.recipe),
        "engines": {stage: entry.engines[FP32].digest for stage, entry in stages.items() if FP32 in entry.engines},
        "classes": list(_classes(request)),
        "parameters": dict(request.parameters),
    }
