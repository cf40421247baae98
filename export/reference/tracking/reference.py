"""The tracking pipeline on PyTorch's modules: the loop that engines run, its calls answered by the stages' modules.

The loop itself is held against transformers' `Sam2VideoModel` in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle
from ....runtime.photo.reading import as_photo
from ....runtime.pipelines.promptable.stages import PROMPT_DECODER
from ....runtime.pipelines.tracking.answers import Tracked
from ....runtime.pipelines.tracking.tracker import STAGES, Tracker
from ....runtime.pipelines.tracking.trial import moved_frames
from ....runtime.stage.contract import StageContract
from ..checks import Check, Limits
from ..family import Opener
from ..networks import Networks
from ..promptable.prompts import PromptTrace, record_prompts
from ..trace import Trace


class TorchSession(Session):
    """A stage's module as a session.

    Attributes:
        last: what the module was fed and gave last.
    """

    last: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]

    def __init__(self, contract: StageContract, module: Any) -> None:
        super().__init__(contract)
        self.module = module

    @torch.no_grad()
    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = {name: torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in self.contract.input_names}
        came = self.module(*inputs.values())
        outputs = dict(zip(self.contract.output_names, came if isinstance(came, tuple) else (came,), strict=True))
        self.last = inputs, outputs
        return {name: value.numpy() for name, value in outputs.items()}


def torch_sessions(networks: Networks) -> dict[str, TorchSession]:
    """All stages of a tracker."""
    return {stage: TorchSession(networks.contract(stage), networks.modules[stage]) for stage in STAGES}


def torch_tracker(networks: Networks, parameters: Mapping[str, Any] | None = None) -> Tracker:
    """A tracker whose engines are the stages' modules."""
    return Tracker(networks.dimensions, torch_sessions(networks), networks.recipe.override(parameters))


@dataclass(kw_only=True)
class TrackingTrace(Trace):
    """Values that the reference computed on the way.

    Attributes:
        tracked: the last of the trial's frames.
        prompts: SamPredictor's answers, where the recipe's prompts are exported.
    """

    tracked: Tracked = field(default_factory=lambda: Tracked(0, (), (1, 1)))
    prompts: PromptTrace | None = None


class TrackReference:
    """The trial's frames in PyTorch."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    def segment(self, photo: Any, vocabulary: Any, *, parameters: Mapping[str, Any] | None = None) -> TrackingTrace:
        """Label every pixel with an object that is tracked there, or with 0."""
        settings = self.networks.recipe.override(parameters)
        image = as_photo(photo, settings.max_pixels)
        sessions = torch_sessions(self.networks)
        found = moved_frames(Tracker(self.networks.dimensions, sessions, settings), image)
        trace = TrackingTrace(photo=image, settings=settings, tracked=found, timings=dict(found.timings))
        trace.stages.update({stage: session.last for stage, session in sessions.items()})
        trace.mask = trace.coarse = found.labels()
        trace.scores = (trace.mask > 0).astype(np.float32)
        return trace


def trace_photo(networks: Networks, photo: Any, bundle: Bundle | None = None) -> TrackingTrace:
    """The trial's frames of a photo (a path, or [H, W, 3] uint8 RGB), the last call of every stage recorded."""
    trace = TrackReference(networks).segment(photo, None)
    if bundle is not None and PROMPT_DECODER in bundle.manifest.stages:
        trace.prompts = record_prompts(networks, trace)
    return trace


def masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The label map that sessions make of a trace's photo, and the trace's."""
    found = moved_frames(Tracker(networks.dimensions, sessions, networks.recipe.parameters), trace.photo)
    yield found.labels(), trace.mask


def prove(bundle: Bundle, networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Iterator[Check]:
    """The objects on the last frame, each mask and each score; and that there is something to compare."""
    if set(STAGES) - set(bundle.manifest.stages):
        return
    sessions = {stage: open_engine(stage) for stage in STAGES}
    with Tracker(networks.dimensions, sessions, networks.recipe.parameters) as tracker:
        found = moved_frames(tracker, trace.photo)
    for ours, theirs in zip(found.objects, trace.tracked.objects, strict=True):
        share = float((ours.mask == theirs.mask).mean())
        measures = {"agreement": share, "score_gap": abs(ours.score - theirs.score), "margin": abs(theirs.score)}
        told = f"the modules': agreement ≥ {limits.prompted[0]:g}"
        yield Check("track", f"object {ours.id}", measures, told, share >= limits.prompted[0])
    yield something_found(trace.tracked)


def something_found(tracked: Tracked) -> Check:
    """Whether masks that agree say anything: of an object that is absent, or all of a frame, any engines would tell the
    same."""
    count = sum(each.present and 0 < each.mask.mean() < 1 for each in tracked.objects)
    told = "≥ 1 object of the reference there, with an edge; else masks prove nothing: give another photo"
    return Check("track", "objects found", {"objects": count}, told, count >= 1)
