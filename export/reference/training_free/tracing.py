"""The reference on a photo, with every stage recorded as its engine is fed.

The pipeline needs classes that the weights tell apart, whatever the weights are: the embeddings are taken from the
photo's own features, and the IoU threshold is put amid SAM's estimates, so that some regions are refined and some fail.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ....runtime.bundle.bundle import Bundle
from ....runtime.pipelines.promptable.stages import PROMPT_DECODER
from ....runtime.pipelines.training_free.encoding import head_part
from ....runtime.pipelines.training_free.plan import plan_photo
from ....runtime.pipelines.training_free.stages import CLIP, HEAD, LAYERS
from ....runtime.pipelines.worded.stages import TEXT
from ....runtime.words.vocabulary import Vocabulary
from ..networks import Networks
from ..promptable.prompts import PromptTrace, record_prompts
from ..promptable.refinement import threshold_amid
from ..words import separating_vocabulary, text_case
from .pipeline import Reference
from .trace import TrainingFreeTrace

LAYER_WINDOWS = 2
"""Windows on which CLIP's layers are checked: enough to see the batch axis, and not gigabytes with a large CLIP."""


@dataclass(kw_only=True)
class Traced(TrainingFreeTrace):
    """The reference on one photo, with all that feeding the engines takes.

    Attributes:
        vocabulary: classes that this photo's features fall into.
        overrides: parameters that differ from the recipe's, so that some regions are refined and some fail.
        prompts: SamPredictor's answers, where the bundle answers prompts.
    """

    vocabulary: Vocabulary
    overrides: dict[str, float] = field(default_factory=dict)
    prompts: PromptTrace | None = None


@torch.no_grad()
def trace_photo(networks: Networks, photo: Any, bundle: Bundle | None = None) -> Traced:
    """Run the PyTorch reference on a photo (a path, or [H, W, 3] uint8 RGB).

    Args:
        networks: the reference.
        photo: a path, or [H, W, 3] uint8 RGB.
        bundle: whose tokenizer is checked, and whose optional stages are recorded; None: a fresh tokenizer, no others.
    """
    reference = Reference(networks)
    trace = reference.encode(photo)
    encoded_ms = dict(trace.timings)
    assert trace.image_features is not None
    vocabulary = separating_vocabulary(trace.image_features.flatten(0, -2).double().numpy())
    reference.decide(trace, vocabulary)
    overrides = threshold_amid(trace)
    if overrides:
        trace.settings = networks.recipe.family.override(trace.settings, overrides)
        trace.timings = encoded_ms  # times add up, and this decides a second time
        reference.decide(trace, vocabulary)
    traced = Traced(**vars(trace), vocabulary=vocabulary, overrides=overrides)
    _record_head(networks, traced)
    _record_text(networks, traced, bundle)
    held = bundle.manifest.stages if bundle else {}
    if PROMPT_DECODER in held:
        traced.prompts = record_prompts(networks, traced)
    if LAYERS in held:
        _record_layers(networks, traced)
    return traced


def _record_head(networks: Networks, trace: Traced) -> None:
    """Features as the runtime lays them out, with its splice tables; logits laid out as the engine gives them."""
    hw = (trace.photo.shape[0], trace.photo.shape[1])
    plan = plan_photo(hw, trace.settings, networks.row, networks.dimensions)
    inputs, outputs = trace.stages[HEAD]
    features = trace.stages[CLIP][1]["features"]
    rows, columns = plan.windows_grid
    feeds = {"window_features": features.reshape(rows, columns, *features.shape[1:]), **inputs}
    if networks.row.across == "features":
        part = head_part(plan, 0, trace.affinities[0][1].numpy())
        feeds |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in part.items()}
        logits = outputs["logits"][..., : plan.aggregated[0].tokens_hw[1]]
    else:  # [B, Q, h, w] → [Q, Wy·h, Wx·w]
        _, queries, h, w = outputs["logits"].shape
        grid = outputs["logits"].reshape(rows, columns, queries, h, w).permute(2, 0, 3, 1, 4)
        logits = grid.reshape(queries, rows * h, columns * w)
    trace.stages[HEAD] = feeds, {"logits": logits}


def _record_text(networks: Networks, trace: Traced, bundle: Bundle | None) -> None:
    trace.stages[TEXT] = text_case(networks.models["clip"], networks.modules[TEXT], bundle)


def _record_layers(networks: Networks, trace: Traced) -> None:
    """The module on the first windows of the trace."""
    windows = trace.stages[CLIP][0]["windows"][:LAYER_WINDOWS]
    with trace.time(LAYERS):
        features = networks.modules[LAYERS](windows)
    trace.stages[LAYERS] = ({"windows": windows}, {"features": features})
