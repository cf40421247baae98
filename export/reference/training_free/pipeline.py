"""The whole pipeline in PyTorch, step by step, as plainly as it can be read. It is the truth for every engine.

It shares with the runtime the arithmetic of sizes (`runtime.geometry`) and the reading of photos, and nothing else:
resizes, splicing, thresholds, regions and merging are computed here in their plain form.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ....runtime.geometry.sizes import HW, aligned_size, resized_size, round_half_up, round_up, window_starts
from ....runtime.photo.reading import as_photo
from ....runtime.pipelines.promptable.stages import features_in
from ....runtime.pipelines.training_free.stages import CLIP, DINO, HEAD, SAM
from ....runtime.recipe.parameters import Parameters
from ....runtime.words.vocabulary import Vocabulary
from ..networks import Networks
from ..promptable.predictor import engine_input
from ..promptable.refinement import refine
from ..trace import Tensors, run_stage
from .trace import TrainingFreeTrace


class Reference:
    """A recipe's method in PyTorch."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.method = networks.row
        self.dimensions = networks.dimensions

    def segment(
        self, photo: Any, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None
    ) -> TrainingFreeTrace:
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
    def encode(self, photo: Any, *, parameters: Mapping[str, Any] | None = None) -> TrainingFreeTrace:
        """All that does not depend on the vocabulary: windows, features, SAM, image features."""
        settings: Parameters = self.networks.recipe.override(parameters)
        trace = TrainingFreeTrace(photo=as_photo(photo, settings.max_pixels), settings=settings)
        features = self._window_features(self._windows(trace), trace)
        if self.method.affinity or settings.refine:
            self._encode_sam(trace)
        with trace.time(HEAD):
            project = self.networks.modules[HEAD].project
            if self.method.across == "features":
                trace.aggregated = self._aggregate(self._splice(features, trace), trace)
                trace.image_features = project.image_features(trace.aggregated)
            else:
                trace.image_features = project.image_features(features.flatten(2).transpose(1, 2))
        return trace

    @torch.no_grad()
    def decide(self, trace: TrainingFreeTrace, vocabulary: Vocabulary) -> None:
        """Compare with the vocabulary, label every pixel, and refine."""
        hw = (trace.photo.shape[0], trace.photo.shape[1])
        embeddings = torch.from_numpy(vocabulary.embeddings)
        with trace.time(HEAD):
            join = self._token_logits if self.method.across == "features" else self._window_logits
            logits = join(embeddings, trace)
        with trace.time("coarse"):
            logits = F.interpolate(logits[None], hw, mode="bilinear", align_corners=False)[0]
            self._coarse(logits, vocabulary, trace)
        if trace.settings.refine:
            patch = self.dimensions.clip_patch
            refine(self.networks, trace, (round_up(hw[0], patch), round_up(hw[1], patch)))

    def _run(self, stage: str, trace: TrainingFreeTrace, **inputs: torch.Tensor) -> Tensors:
        return run_stage(self.networks, stage, trace, **inputs)

    def _windows(self, trace: TrainingFreeTrace) -> torch.Tensor:
        """[B, 3, c, c], RGB in [0, 1]."""
        settings, image = trace.settings, trace.photo
        h, w = resized_size((image.shape[0], image.shape[1]), settings.short_side, settings.max_long_side)
        resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255
        patch = self.dimensions.clip_patch if self.method.across == "features" else 1
        trace.resized_hw, trace.aligned_hw = (h, w), aligned_size((h, w), patch, settings.crop)
        if trace.aligned_hw != (h, w):
            pixels = F.interpolate(pixels, trace.aligned_hw, mode="bilinear", align_corners=False)
        rows, columns = (window_starts(n, settings.crop, settings.stride) for n in trace.aligned_hw)
        trace.starts = list(itertools.product(rows, columns))
        cuts = [pixels[0, :, y : y + settings.crop, x : x + settings.crop] for y, x in trace.starts]
        return torch.stack(cuts)

    def _window_features(self, windows: torch.Tensor, trace: TrainingFreeTrace) -> torch.Tensor:
        """[B, D, h, w]: CLIP's features of every window."""
        if not self.method.proxy:
            return self._run(CLIP, trace, windows=windows)["features"]
        dino = self._run(DINO, trace, windows=windows)
        similarity = dino["mean_similarity"]
        if self.method.mean_over == "image":
            similarity = similarity.mean().expand(len(windows))
        return self._run(CLIP, trace, windows=windows, dino_features=dino["features"], mean_similarity=similarity)[
            "features"
        ]

    def _encode_sam(self, trace: TrainingFreeTrace) -> None:
        """The affinity of the photo, or of its halves, where the method has one; and SAM's features to refine with."""
        patch, settings = self.dimensions.clip_patch, trace.settings
        h, w = (round_up(n, patch) for n in trace.photo.shape[:2])
        padded = cv2.resize(trace.photo, (w, h), interpolation=cv2.INTER_LINEAR)
        if self.method.affinity:
            parts = (padded[:, : w // 2], padded[:, w // 2 :]) if settings.sam_halves else (padded,)
            for part in parts:
                tokens_hw, outputs = self._run_sam(part, trace)
                trace.affinities.append((tokens_hw, outputs["affinity"]))
                trace.sam_maps = features_in(outputs)
            heights, widths = zip(*(tokens_hw for tokens_hw, _ in trace.affinities), strict=True)
            trace.tokens_hw = (heights[0], sum(widths))
        if settings.refine and len(trace.affinities) != 1:
            trace.sam_maps = features_in(self._run_sam(padded, trace)[1])

    def _run_sam(self, seen: np.ndarray, trace: TrainingFreeTrace) -> tuple[HW, Tensors]:
        """SAM's encoder on [h, w, 3] uint8: the valid tokens, and its outputs."""
        grid = self.dimensions.sam_grid
        frame, (vh, vw) = engine_input(self.networks.models["sam"], np.ascontiguousarray(seen))
        token = self.dimensions.sam_side // grid
        tokens_hw = (max(1, vh // token), max(1, vw // token))
        valid = torch.zeros(grid, grid)
        valid[: tokens_hw[0], : tokens_hw[1]] = 1
        inputs = {"image": frame}
        if self.method.affinity:
            inputs["valid_tokens"] = valid.flatten()
            if trace.settings.affinity_kind != "attention":
                inputs["affinity_factor"] = torch.tensor(trace.settings.affinity_factor, dtype=torch.float32)
                inputs["keep_negative"] = torch.tensor(trace.settings.keep_negative)
        return tokens_hw, self._run(SAM, trace, **inputs)

    def _splice(self, features: torch.Tensor, trace: TrainingFreeTrace) -> torch.Tensor:
        """Sum the windows' features on the image's grid and divide by how many windows cover each cell: [D, h, w]."""
        patch, crop = self.dimensions.clip_patch, trace.settings.crop
        ratio = max(1, round_half_up(features.shape[-1] / (crop // patch)))
        cells = crop // patch * ratio
        if features.shape[-1] != cells:
            features = F.interpolate(features, (cells, cells), mode="bilinear", align_corners=False)
        total = torch.zeros(features.shape[1], *(n // patch * ratio for n in trace.aligned_hw))
        count = torch.zeros_like(total[:1])
        for window, (y, x) in zip(features, trace.starts, strict=True):
            top, left = y // patch * ratio, x // patch * ratio
            total[:, top : top + cells, left : left + cells] += window
            count[:, top : top + cells, left : left + cells] += 1
        return total / count

    def _aggregate(self, spliced: torch.Tensor, trace: TrainingFreeTrace) -> torch.Tensor:
        """SAM's affinity over valid tokens times the features on SAM's grid: [vh·vw, D]."""
        assert trace.tokens_hw is not None, "methods that splice have SAM"
        tokens = F.interpolate(spliced[None], trace.tokens_hw, mode="bilinear", align_corners=False)[0]  # [D, vh, vw]
        grid, parts = self.dimensions.sam_grid, []
        widths = [tokens_hw[1] for tokens_hw, _ in trace.affinities]
        for ((vh, vw), affinity), part in zip(trace.affinities, tokens.split(widths, dim=2), strict=True):
            valid = affinity.view(grid, grid, grid, grid)[:vh, :vw, :vh, :vw].reshape(vh * vw, vh * vw)
            parts.append((valid @ part.flatten(1).T).view(vh, vw, -1))
        return torch.cat(parts, dim=1).flatten(0, 1)

    def _token_logits(self, embeddings: torch.Tensor, trace: TrainingFreeTrace) -> torch.Tensor:
        """[Q, vh, vw]: every valid token's dot products."""
        assert trace.image_features is not None and trace.tokens_hw is not None
        logits = (embeddings @ trace.image_features.T).view(-1, *trace.tokens_hw)
        trace.stages[HEAD] = ({"embeddings": embeddings}, {"logits": logits})
        return logits

    def _window_logits(self, embeddings: torch.Tensor, trace: TrainingFreeTrace) -> torch.Tensor:
        """Every window's logits are enlarged to its pixels, and averaged where windows overlap: [Q, h, w]."""
        assert trace.image_features is not None
        h, w = self.dimensions.feature_grid
        crop = trace.settings.crop
        logits = (trace.image_features @ embeddings.T).transpose(1, 2).unflatten(2, (h, w))  # [B, Q, h, w]
        trace.stages[HEAD] = ({"embeddings": embeddings}, {"logits": logits})
        total = torch.zeros(len(embeddings), *trace.aligned_hw)
        count = torch.zeros(1, *trace.aligned_hw)
        for window, (y, x) in zip(logits, trace.starts, strict=True):
            enlarged = F.interpolate(window[None], (crop, crop), mode="bilinear", align_corners=False)[0]
            total[:, y : y + crop, x : x + crop] += enlarged
            count[:, y : y + crop, x : x + crop] += 1
        return total / count

    def _coarse(self, logits: torch.Tensor, vocabulary: Vocabulary, trace: TrainingFreeTrace) -> None:
        """Softmax over queries, the largest synonym, argmax, threshold."""
        settings = trace.settings
        probabilities = (logits * settings.logit_scale).softmax(dim=0)
        counts = [len(words) for words in vocabulary.synonyms]
        trace.probabilities = torch.stack([part.amax(dim=0) for part in probabilities.split(counts)])
        scores, labels = trace.probabilities.max(dim=0)
        labels[scores < settings.probability_threshold] = 0
        trace.coarse, trace.scores = labels.numpy(), scores.numpy()
        trace.mask = trace.coarse
