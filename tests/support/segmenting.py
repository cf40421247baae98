"""The training-free pipeline on sessions without engines, and what its results are compared by."""

from __future__ import annotations

from functools import partial

import numpy as np

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter

EVERYTHING = {"iou_threshold": -10.0, "min_area": 1, "region_threshold": 0.0}  # every region is refined and accepted
ENGINES = ("dino", "clip_image", "sam_encoder", "head", "sam_decoder")


def assert_same(a, b):
    assert a.mask.tobytes() == b.mask.tobytes() and a.coarse_mask.tobytes() == b.coarse_mask.tobytes()
    assert a.scores.tobytes() == b.scores.tobytes()
    assert a.regions == b.regions


def faked(micro_bundle, **functions):
    """A segmenter over fake sessions, and these; they return random arrays, or what `functions` make of the feeds."""
    manifest = Bundle.load(micro_bundle).manifest
    contracts = {stage: manifest.stages[stage].contract for stage in ENGINES}
    made = {stage: functions.get(stage, partial(random_outputs, contract)) for stage, contract in contracts.items()}
    sessions = {stage: FakeSession(contract, made[stage]) for stage, contract in contracts.items()}
    return TrainingFreeSegmenter(manifest, sessions), sessions


def random_outputs(contract, feeds):
    sizes = {d: n for spec in contract.inputs for d, n in zip(spec.shape, feeds[spec.name].shape, strict=True)}
    rng = np.random.default_rng(len(contract.stage))
    shapes = {spec.name: [sizes.get(d, d) for d in spec.shape] for spec in contract.outputs}
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
