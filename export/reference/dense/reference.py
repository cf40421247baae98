"""The dense pipeline in PyTorch, step by step, as plainly as it can be read. It is the truth for every engine.

It shares with the runtime the arithmetic of sizes and the reading of photos, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ....runtime.bundle.bundle import Bundle
from ....runtime.geometry.sizes import window_starts
from ....runtime.photo.reading import as_photo
from ....runtime.pipelines.dense.crops import shrunk_size
from ....runtime.pipelines.dense.models import head_of
from ....runtime.pipelines.dense.parameters import DenseParameters
from ....runtime.pipelines.dense.stages import ESCNET_BLOCKS, FEATURES, TOWER
from ....runtime.pipelines.promptable.stages import ENCODER, features_in
from ....runtime.pipelines.worded.stages import TEXT
from ....runtime.words.vocabulary import Vocabulary
from ..networks import Networks
from ..promptable.predictor import engine_input
from ..promptable.refinement import RefinedTrace, refine, threshold_amid
from ..trace import Tensors, run_stage
from ..words import separating_vocabulary, text_case
from .escnet import blocks_case

LEFT_OUT = -100.0
"""CAT-Seg's logit for words that are not among those that it answers."""


@dataclass(kw_only=True)
class DenseTrace(RefinedTrace):
    """Values that the reference computed on the way, beside those of every trace that may be refined.

    Attributes:
        vocabulary: classes that this photo's features fall into.
        features: of all crops, by name.
        logits: [n + 1, T, 4h, 4w].
        overrides: parameters that differ from the recipe's, so that some regions are refined and some fail.
    """

    vocabulary: Vocabulary | None = None
    features: Tensors = field(default_factory=dict)
    logits: torch.Tensor | None = None
    overrides: dict[str, float] = field(default_factory=dict)


class DenseReference:
    """A recipe's model in PyTorch."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.head = head_of(networks.recipe)

    def segment(self, photo: Any, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None) -> DenseTrace:
        """Name every pixel of a photo.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.
            vocabulary: the classes.
            parameters: overrides of the recipe's.
        """
        trace = self.encode(photo, parameters=parameters)
        self.decide(trace, vocabulary)
        return trace

    @torch.no_grad()
    def encode(self, photo: Any, *, parameters: Mapping[str, Any] | None = None) -> DenseTrace:
        """All that does not depend on the vocabulary."""
        settings: DenseParameters = self.networks.recipe.override(parameters)
        trace = DenseTrace(photo=as_photo(photo, settings.max_pixels), settings=settings)
        with trace.time("crops"):
            crops = cut(trace.photo, settings, self.networks.dimensions.crop_side)
        with trace.time(TOWER):
            trace.features = dict(zip(FEATURES, self.networks.modules[TOWER](crops), strict=True))
        trace.stages[TOWER] = {"crops": crops}, trace.features
        if settings.refine:
            image, _ = engine_input(self.networks.models["sam"], trace.photo)
            trace.sam_maps = features_in(run_stage(self.networks, ENCODER, trace, image=image))
        return trace

    @torch.no_grad()
    def decide(self, trace: DenseTrace, vocabulary: Vocabulary) -> None:
        """Compare with the vocabulary, and label every pixel."""
        settings: DenseParameters = trace.settings
        counts = [1 if settings.first_synonym else len(words) for words in vocabulary.synonyms]
        rows = [start + k for start, count in zip(vocabulary.query_starts, counts, strict=True) for k in range(count)]
        text = torch.from_numpy(vocabulary.embeddings[rows])
        with trace.time(self.head):
            trace.logits = torch.stack(
                [self._answer(trace, crop, text) for crop in range(len(trace.features["dense"]))]
            )
        with trace.time("labels"):
            planes = merge(trace.logits, (trace.photo.shape[0], trace.photo.shape[1]), settings)
            trace.probabilities = torch.stack([part.amax(dim=0) for part in planes.split(counts)])
            scores, labels = trace.probabilities.max(dim=0)
            labels[scores < settings.probability_threshold] = 0
        trace.mask = trace.coarse = labels.numpy()
        trace.scores, trace.vocabulary = scores.numpy(), vocabulary
        if settings.refine:
            refine(self.networks, trace, (trace.photo.shape[0], trace.photo.shape[1]))

    def _answer(self, trace: DenseTrace, crop: int, text: torch.Tensor) -> torch.Tensor:
        """[T, 4h, 4w] logits of a crop. The last crop's are kept as the stage's case: it is the whole photo."""
        features = {name: value[crop : crop + 1] for name, value in trace.features.items()}
        most = self.networks.dimensions.most_words
        chosen = torch.arange(len(text))
        if len(text) > most:
            cosines = F.normalize(text, dim=-1) @ F.normalize(features["dense"][0].flatten(1), dim=0)
            chosen = cosines.amax(dim=1).topk(most).indices.sort().values
        inputs = {**features, "text": text[chosen]}
        answered = self.networks.modules[self.head](*inputs.values())
        trace.stages[self.head] = inputs, {"logits": answered}
        logits = torch.full((len(text), *answered.shape[1:]), LEFT_OUT)
        logits[chosen] = answered
        return logits


def cut(photo: np.ndarray, settings: DenseParameters, side: int) -> torch.Tensor:
    """[n + 1, 3, side, side], RGB in [0, 1]: crops row by row, then the whole photo."""
    h, w = shrunk_size((photo.shape[0], photo.shape[1]), settings.short_side, settings.max_long_side)
    pixels = photo
    if (h, w) != photo.shape[:2]:
        pixels = np.array(Image.fromarray(photo).resize((w, h), Image.Resampling.BILINEAR))
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    square = _resized(image, settings.side)
    starts = window_starts(settings.side, settings.crop, settings.stride)
    crops = [square[:, :, y : y + settings.crop, x : x + settings.crop] for y in starts for x in starts]
    return _resized(torch.cat([*crops, _resized(image, settings.crop)]), side)


def merge(logits: torch.Tensor, photo_hw: tuple[int, int], settings: DenseParameters) -> torch.Tensor:
    """Logits [n + 1, T, 4h, 4w] of crops, of which the last is the whole photo → probabilities [T, H, W]."""
    parts = _resized(logits, settings.crop).sigmoid()
    total = logits.new_zeros(logits.shape[1], settings.side, settings.side)
    count = torch.zeros_like(total[0])
    starts = window_starts(settings.side, settings.crop, settings.stride)
    places = [(y, x) for y in starts for x in starts]
    for part, (y, x) in zip(parts[:-1], places, strict=True):
        total[:, y : y + settings.crop, x : x + settings.crop] += part
        count[y : y + settings.crop, x : x + settings.crop] += 1
    both = (total / count + _resized(parts[-1:], settings.side)[0]) / 2
    return F.interpolate(both[None], photo_hw, mode="bilinear", align_corners=False)[0]


def _resized(image: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(image, (side, side), mode="bilinear", align_corners=False)


@torch.no_grad()
def trace_photo(networks: Networks, photo: Any, bundle: Bundle | None = None) -> DenseTrace:
    """Run the reference on a photo (a path, or [H, W, 3] uint8 RGB), and record all stages.

    Args:
        networks: the reference.
        photo: a path, or [H, W, 3] uint8 RGB.
        bundle: whose tokenizer is checked; None: a fresh one.
    """
    reference = DenseReference(networks)
    trace = reference.encode(photo)
    encoded_ms = dict(trace.timings)
    places = F.normalize(trace.features["dense"], dim=1).flatten(2).transpose(1, 2)
    vocabulary = separating_vocabulary(places.flatten(0, 1).double().numpy())
    reference.decide(trace, vocabulary)
    trace.overrides = threshold_amid(trace)
    if trace.overrides:
        trace.settings = networks.recipe.family.override(trace.settings, trace.overrides)
        trace.timings = encoded_ms  # times add up, and this decides a second time
        reference.decide(trace, vocabulary)
    if ESCNET_BLOCKS in networks.recipe.possible_stages:
        with torch.no_grad():
            transformer = networks.modules[reference.head].transformer
            trace.stages[ESCNET_BLOCKS] = blocks_case(transformer, trace.stages[reference.head][0])
    trace.stages[TEXT] = text_case(networks.models["dense"].clip, networks.modules[TEXT], bundle)
    return trace
