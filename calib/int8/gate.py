"""The gate: quantised engines are accepted if masks stay what they are, on photos that no range was fitted to, and if
they are faster than the best float engines of this machine, where it can run them as they are (INT8, not FP8)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial

import msgspec
import numpy as np

from ...runtime.bundle.bundle import Bundle, EngineEntry
from ...runtime.bundle.calibration import GateReport
from ...runtime.errors import OvdeployError
from ...runtime.photo.reading import as_photo
from ...runtime.pipelines.base import Segmenter
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.words.vocabulary import Vocabulary
from .photos import Photo
from .speed import speedup, stage_times, take_turns
from .stage import Work
from .trial import Trial

FLAT = 4.0
"""Standard deviation of a photo's pixels below which it judges nothing: black, white, fog."""

PHOTO = "photo"
"""The name of the whole pipeline beside the stages."""

Times = dict[str, dict[str, float]]
"""Medians in milliseconds, by what was run and by engine."""


def judge_speed(trial: Trial, made: Bundle, works: Sequence[Work]) -> Times:
    """Median milliseconds of every stage that has a quantised engine."""
    times, opening = {}, trial.opening
    for work in works:
        if work.precision in made.stage(work.stage).engines:
            trial.tell(f"{work.stage}: {work.precision} and float take turns")
            feeds = work.readers[0]()
            times[work.stage] = stage_times(
                made, work.stage, feeds, opening.backends, opening.rounds, opening.now, trial.tell
            )
    return times


def judge_labels(trial: Trial, made: Bundle, photos: Sequence[Photo]) -> list[float]:
    """For every photo the share of pixels on which the mask is FP32's."""
    for _ in _float_masks(trial, photos):
        pass  # before the other engines are open
    shares, opening = [], trial.opening
    with opening.segmenter(made.path, precision=trial.precision) as segmenter:
        words = opening.vocabulary(segmenter)
        for photo, mask in zip(photos, _float_masks(trial, photos), strict=True):
            trial.tell(f"{trial.precision} on {photo.path.name}")
            shares.append(float(np.mean(_mask(segmenter, photo, words)["mask"] == mask)))
    return shares


def _float_masks(trial: Trial, photos: Sequence[Photo]) -> Iterator[np.ndarray]:
    """FP32's masks, in files; what is not there is made now, by one pipeline."""
    opening = trial.opening
    with ExitStack() as stack:

        @cache
        def opened() -> tuple[Segmenter, Vocabulary]:
            segmenter = stack.enter_context(opening.segmenter(trial.draft.source.path, precision="fp32"))
            return segmenter, opening.vocabulary(segmenter)

        def make(photo: Photo) -> dict[str, np.ndarray]:
            segmenter, words = opened()
            trial.tell(f"FP32 on {photo.path.name}")
            return _mask(segmenter, photo, words)

        for photo in photos:
            yield trial.kept.arrays(f"mask-{photo.sha256[:16]}", partial(make, photo))["mask"]


def judge_photo(trial: Trial, made: Bundle, photo: Photo) -> dict[str, float]:
    """Median milliseconds of the whole pipeline, by precision and backend."""
    times: dict[str, float] = {}
    opening = trial.opening
    for backend in opening.backends:
        with ExitStack() as stack:
            runs: dict[str, Callable[[], object]] = {}
            for bundle, precision in ((trial.draft.source, "fp32"), (made, trial.precision)):
                try:
                    segmenter = stack.enter_context(
                        opening.segmenter(bundle.path, precision=precision, backend=backend)
                    )
                    words = opening.vocabulary(segmenter)
                    image = as_photo(photo.path, segmenter.parameters.max_pixels)
                except OvdeployError as error:
                    trial.tell(f"the pipeline in {precision} on {backend} is left out: {error}")
                    continue
                runs[f"{precision} on {backend}"] = partial(segmenter.segment, image, words)
            times |= take_turns(runs, opening.rounds, opening.now)
    return times


def slow_stages(times: Mapping[str, Mapping[str, float]], settings: Int8Settings, precision: str) -> dict[str, str]:
    """Stages that are not faster in a precision, and by what they are told."""
    found = {}
    for stage, milliseconds in times.items():
        ratio = speedup(milliseconds, precision)
        if ratio <= settings.speedup:
            found[stage] = f"{precision.upper()} is {ratio:.2f} times as fast as the best float engine"
    return found


def informative(photos: Sequence[Photo]) -> list[Photo]:
    """The photos on which there is something to be right or wrong about."""
    return [photo for photo in photos if photo.spread >= FLAT]


def showing(photos: Sequence[Photo], masks: Iterable[np.ndarray]) -> list[Photo]:
    """The photos whose masks have more than one label: where no thing is found there is nothing to agree on."""
    return [photo for photo, mask in zip(photos, masks, strict=True) if mask.min() != mask.max()]


def judge(trial: Trial, engines: Mapping[str, EngineEntry], works: Sequence[Work]) -> tuple[GateReport, dict[str, str]]:
    """Measure, leave out what is slower, and say what speaks against the rest.

    Args:
        trial: the draft, photos and settings of this calibration.
        engines: quantised engines by stage.
        works: the stages.

    Returns:
        The report, and the stages that are slower than float ones with the reason.
    """
    photos, settings = trial.photos, trial.settings
    useful = informative(photos.gate)
    refused = [
        *_too_flat("calibrate on", photos.calibration, informative(photos.calibration), settings.photos),
        *_too_flat("judge by", photos.gate, useful, settings.gate_photos),
    ]
    if trial.draft.source.recipe.family.things:
        shown = showing(useful, _float_masks(trial, useful))
        refused += _too_empty(useful, shown, settings.gate_photos)
        useful = shown
    judged = useful or photos.gate
    times = _kept(trial, "stages", engines, lambda: judge_speed(trial, trial.draft.write(engines), works))
    slow = slow_stages(times, settings, trial.precision)
    left = {stage: engine for stage, engine in engines.items() if stage not in slow}
    if not left:
        refused.append(
            f"no stage is faster in {trial.precision.upper()} than in float" if engines else "no stage is left"
        )
    made = trial.draft.write(left or engines)
    shares = judge_labels(trial, made, judged)
    if np.mean(shares) < settings.labels:
        refused.append(f"masks agree on {np.mean(shares):.2%} of pixels, {settings.labels:.2%} are wanted")
    if trial.timed:
        times |= _kept(trial, PHOTO, left or engines, lambda: {PHOTO: judge_photo(trial, made, judged[0])})
        ratio = speedup(times[PHOTO], trial.precision)
        if left and ratio <= settings.speedup:
            refused.append(f"a whole photo is {ratio:.2f} times as fast as with the best float engines")
    report = GateReport(
        photos=len(useful), labels=float(np.mean(shares)), worst=min(shares), milliseconds=times,
        speedups={name: speedup(milliseconds, trial.precision) for name, milliseconds in times.items()},
        refused=tuple(refused),
    )  # fmt: skip
    return report, slow


def _kept(trial: Trial, what: str, engines: Mapping[str, EngineEntry], measure: Callable[[], Times]) -> Times:
    """Milliseconds of these very engines: measured once, since which stages stay quantised depends on them."""
    if not trial.timed:
        return {}
    rounds, backends = trial.opening.rounds, sorted(trial.opening.backends)
    of = [what, rounds, backends, sorted((stage, engine.digest) for stage, engine in engines.items())]
    name = hashlib.sha256(msgspec.json.encode(of)).hexdigest()[:16]
    return dict(trial.kept.once(f"times-{name}", Times, measure))


def _too_flat(what: str, there: Sequence[Photo], useful: Sequence[Photo], needed: int) -> list[str]:
    if len(useful) >= needed:
        return []
    return [f"{len(there) - len(useful)} of {len(there)} photos to {what} are flat (black, for example): "
            f"{len(useful)} are left, {needed} are needed"]  # fmt: skip


def _too_empty(there: Sequence[Photo], shown: Sequence[Photo], needed: int) -> list[str]:
    if len(shown) >= needed:
        return []
    return [f"in {len(there) - len(shown)} of {len(there)} photos to judge by nothing is found: {len(shown)} are left, "
            f"{needed} are needed; name by --classes what they show"]  # fmt: skip


def _mask(segmenter: Segmenter, photo: Photo, words: Vocabulary) -> dict[str, np.ndarray]:
    result = segmenter.segment(as_photo(photo.path, segmenter.parameters.max_pixels), words)
    return {"mask": result.mask}
