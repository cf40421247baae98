"""The gate: INT8 engines are accepted if masks stay what they are, on photos that no range was fitted to, and if they
are faster than the best float engines of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import numpy as np

from ...runtime.bundle.bundle import Bundle, EngineEntry
from ...runtime.bundle.calibration import GateReport
from ...runtime.errors import OvdeployError
from ...runtime.photo.reading import as_photo
from ...runtime.pipelines.base import Segmenter
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.reporting import Reporter
from ...runtime.stage.precision import INT8
from ...runtime.words.vocabulary import Vocabulary
from .photos import Photo, Photos
from .speed import Now, speedup, stage_times, take_turns
from .stage import Work
from .steps import Steps

FLAT = 4.0
"""Standard deviation of a photo's pixels below which it judges nothing: black, white, fog."""

PHOTO = "photo"
"""What the whole pipeline goes by beside the stages."""


class Opening(NamedTuple):
    """How the pipelines are opened."""

    segmenter: Callable[..., Segmenter]
    """Takes a bundle, and `precision` and `backend`."""
    vocabulary: Callable[[Segmenter], Vocabulary]
    backends: list[str]
    rounds: int
    now: Now = time.perf_counter


def judge_speed(made: Bundle, works: Sequence[Work], opening: Opening, tell: Reporter) -> dict[str, dict[str, float]]:
    """Median milliseconds of every stage that has an INT8 engine."""
    found = {}
    for work in works:
        if INT8 in made.stage(work.stage).engines:
            tell(f"{work.stage}: INT8 and float take turns")
            feeds = work.readers[0]()
            found[work.stage] = stage_times(
                made, work.stage, feeds, opening.backends, opening.rounds, opening.now, tell
            )
    return found


def judge_labels(
    floats: Bundle, made: Bundle, photos: Sequence[Photo], opening: Opening, steps: Steps, tell: Reporter
) -> list[float]:
    """For every photo the share of pixels on which INT8's mask is FP32's."""
    names = [f"mask-{photo.sha256[:16]}" for photo in photos]
    missing = [not (steps.folder / f"{name}.npz").is_file() for name in names]
    if any(missing):
        with opening.segmenter(floats.path, precision="fp32") as segmenter:
            words = opening.vocabulary(segmenter)
            for name, photo in zip(names, photos, strict=True):
                tell(f"FP32 on {photo.path.name}")
                steps.arrays(name, partial(_mask, segmenter, photo, words))
    shares = []
    with opening.segmenter(made.path, precision=INT8) as segmenter:
        words = opening.vocabulary(segmenter)
        for name, photo in zip(names, photos, strict=True):
            tell(f"INT8 on {photo.path.name}")
            with np.load(steps.folder / f"{name}.npz") as arrays:
                shares.append(float(np.mean(_mask(segmenter, photo, words)["mask"] == arrays["mask"])))
    return shares


def judge_photo(floats: Bundle, made: Bundle, photo: Photo, opening: Opening, tell: Reporter) -> dict[str, float]:
    """Median milliseconds of the whole pipeline, by precision and backend."""
    found: dict[str, float] = {}
    for backend in opening.backends:
        with ExitStack() as stack:
            runs: dict[str, Callable[[], object]] = {}
            for bundle, precision in ((floats, "fp32"), (made, INT8)):
                try:
                    segmenter = stack.enter_context(
                        opening.segmenter(bundle.path, precision=precision, backend=backend)
                    )
                    words = opening.vocabulary(segmenter)
                    image = as_photo(photo.path, segmenter.parameters.max_pixels)
                except OvdeployError as error:
                    tell(f"the pipeline in {precision} on {backend} is left out: {error}")
                    continue
                runs[f"{precision} on {backend}"] = partial(segmenter.segment, image, words)
            found |= take_turns(runs, opening.rounds, opening.now)
    return found


def slow_stages(times: Mapping[str, Mapping[str, float]], settings: Int8Settings) -> dict[str, str]:
    """Stages that are not faster in INT8, and by what they are told."""
    found = {}
    for stage, milliseconds in times.items():
        ratio = speedup(milliseconds)
        if ratio <= settings.speedup:
            found[stage] = f"INT8 is {ratio:.2f} times as fast as the best float engine"
    return found


def informative(photos: Sequence[Photo]) -> list[Photo]:
    """The photos on which there is something to be right or wrong about."""
    return [photo for photo in photos if photo.spread >= FLAT]


def judge(
    floats: Bundle,
    write: Callable[[Mapping[str, EngineEntry]], Bundle],
    engines: Mapping[str, EngineEntry],
    works: Sequence[Work],
    photos: Photos,
    settings: Int8Settings,
    opening: Opening,
    steps: Steps,
    tell: Reporter,
) -> tuple[GateReport, dict[str, str]]:
    """Measure, leave out what is slower, and say what speaks against the rest.

    Args:
        floats: the float bundle.
        write: makes a bundle with these INT8 engines.
        engines: INT8 engines by stage.
        works: the stages.
        photos: those that ranges were fitted to, and those to judge by.
        settings: what passes.
        opening: how pipelines are opened.
        steps: keeps FP32's masks.
        tell: is told what happens.

    Returns:
        The report, and the stages that are slower in INT8 with the reason.
    """
    useful = informative(photos.gate)
    refused = [
        *_too_flat("calibrate on", photos.calibration, informative(photos.calibration), settings.photos),
        *_too_flat("judge by", photos.gate, useful, settings.gate_photos),
    ]
    judged = useful or photos.gate
    times = judge_speed(write(engines), works, opening, tell)
    slow = slow_stages(times, settings)
    left = {stage: engine for stage, engine in engines.items() if stage not in slow}
    if not left:
        refused.append("no stage is faster in INT8 than in float")
    made = write(left or engines)
    shares = judge_labels(floats, made, judged, opening, steps, tell)
    if np.mean(shares) < settings.labels:
        refused.append(f"masks agree on {np.mean(shares):.2%} of pixels, {settings.labels:.2%} are wanted")
    times[PHOTO] = judge_photo(floats, made, judged[0], opening, tell)
    ratio = speedup(times[PHOTO])
    if left and ratio <= settings.speedup:
        refused.append(f"a whole photo is {ratio:.2f} times as fast as with the best float engines")
    report = GateReport(
        photos=len(useful), labels=float(np.mean(shares)), worst=min(shares), milliseconds=times,
        speedups={name: speedup(milliseconds) for name, milliseconds in times.items()}, refused=tuple(refused),
    )  # fmt: skip
    return report, slow


def _too_flat(what: str, there: Sequence[Photo], useful: Sequence[Photo], needed: int) -> list[str]:
    if len(useful) >= needed:
        return []
    return [f"{len(there) - len(useful)} of {len(there)} photos to {what} are flat (black, for example): "
            f"{len(useful)} are left, {needed} are needed"]  # fmt: skip


def _mask(segmenter: Segmenter, photo: Photo, words: Vocabulary) -> dict[str, np.ndarray]:
    result = segmenter.segment(as_photo(photo.path, segmenter.parameters.max_pixels), words)
    return {"mask": result.mask}
