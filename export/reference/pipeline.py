"""The whole pipeline in PyTorch, step by step, as plainly as it can be read. It is the truth for every engine.

It shares with the runtime the arithmetic of sizes (`runtime.geometry`) and the reading of photos, and nothing else:
resizes, splicing, thresholds, regions and merging are computed here in their plain form.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from segment_anything.utils.transforms import ResizeLongestSide

from ...runtime.geometry import HW, aligned_size, half_size, resized_size, round_half_up, round_up, window_starts
from ...runtime.parameters import Parameters, with_overrides
from ...runtime.photo import as_photo
from ...runtime.vocabulary import Vocabulary
from .networks import Networks
from .refine import Prompted, find_regions, merge_masks, prompts_for

Tensors = dict[str, torch.Tensor]


@dataclass
class Trace:
    """What the reference computed on the way.

    Attributes:
        stages: inputs and outputs of every stage, by stage.
        resized_hw: the photo's size before it was aligned.
        tokens_hw: SAM's valid tokens; None without SAM.
        image_features: [N, E] unit features that were compared with the embeddings, where features are spliced.
        aggregated: [N, D] affinity times spliced features, likewise.
        probabilities: [C, H, W] before refinement.
        coarse: [H, W] class index before refinement.
        prompted: regions, prompts and what SAM's decoder made of them; None without refinement or regions.
        mask: [H, W] class index.
        scores: [H, W] the winning class's probability or score.
        timings: milliseconds per step.
    """

    stages: dict[str, tuple[Tensors, Tensors]] = field(default_factory=dict)
    resized_hw: HW = (0, 0)
    tokens_hw: HW | None = None
    image_features: torch.Tensor | None = None
    aggregated: torch.Tensor | None = None
    probabilities: torch.Tensor | None = None
    coarse: np.ndarray | None = None
    prompted: Prompted | None = None
    mask: np.ndarray | None = None
    scores: np.ndarray | None = None
    timings: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add a block's milliseconds under a name."""
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + (time.perf_counter() - start) * 1e3


class Reference:
    """A recipe's method in PyTorch."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.method = networks.recipe.row
        self.dimensions = networks.dimensions

    @torch.no_grad()
    def segment(
        self, photo: Any, vocabulary: Vocabulary, *, parameters: Mapping[str, Any] | None = None
    ) -> Trace:
        """Name every pixel of a photo.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.
            vocabulary: the classes.
            parameters: overrides of the recipe's.
        """
        settings = with_overrides(self.networks.recipe.parameters, parameters)
        image, trace = as_photo(photo, settings.max_pixels), Trace()
        hw = (image.shape[0], image.shape[1])
        windows, starts, aligned_hw = self._windows(image, settings, trace)
        features = self._window_features(windows, trace)
        if self.method.affinity or settings.refine:
            self._encode_sam(image, settings, trace)
        embeddings = torch.from_numpy(vocabulary.embeddings)
        with trace.time("head"):
            if self.method.across == "features":
                logits = self._logits_from_features(features, embeddings, starts, aligned_hw, settings, trace)
            else:
                logits = self._logits_from_windows(features, embeddings, starts, aligned_hw, settings, trace)
        with trace.time("coarse"):
            logits = F.interpolate(logits[None], hw, mode="bilinear", align_corners=False)[0]
            self._coarse(logits, vocabulary, settings, trace)
        if settings.refine:
            self._refine(trace, settings, hw)
        return trace

    def _run(self, stage: str, trace: Trace, **inputs: torch.Tensor) -> Tensors:
        """Run a stage's module and remember what went in and out."""
        with trace.time(stage):
            outputs = self.networks.modules[stage](*inputs.values())
        names = OUTPUTS[stage]
        named = dict(zip(names, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))
        trace.stages[stage] = (inputs, named)
        return named

    def _windows(
        self, image: np.ndarray, settings: Parameters, trace: Trace
    ) -> tuple[torch.Tensor, list[tuple[int, int]], HW]:
        """Windows [B, 3, c, c], where each begins (y, x), and the size they were cut from."""
        h, w = resized_size((image.shape[0], image.shape[1]), settings.short_side, settings.max_long_side)
        trace.resized_hw = (h, w)
        resized = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255
        patch = self.dimensions.clip_patch if self.method.across == "features" else 1
        aligned_hw = aligned_size((h, w), patch, settings.crop)
        if aligned_hw != (h, w):
            pixels = F.interpolate(pixels, aligned_hw, mode="bilinear", align_corners=False)
        rows, columns = (window_starts(n, settings.crop, settings.stride) for n in aligned_hw)
        starts = list(itertools.product(rows, columns))
        cuts = [pixels[0, :, y : y + settings.crop, x : x + settings.crop] for y, x in starts]
        return torch.stack(cuts), starts, aligned_hw

    def _window_features(self, windows: torch.Tensor, trace: Trace) -> torch.Tensor:
        """[B, D, h, w]: CLIP's features of every window."""
        if not self.method.proxy:
            return self._run("clip_image", trace, windows=windows)["features"]
        dino = self._run("dino", trace, windows=windows)
        similarity = dino["mean_similarity"]
        if self.method.mean_over == "image":
            similarity = similarity.mean().expand(len(windows))
        return self._run(
            "clip_image", trace, windows=windows, dino_features=dino["features"], mean_similarity=similarity
        )["features"]

    def _encode_sam(self, image: np.ndarray, settings: Parameters, trace: Trace) -> None:
        """SAM's features, and the affinity where the method has one."""
        patch, side, grid = self.dimensions.clip_patch, self.dimensions.sam_side, self.dimensions.sam_grid
        h, w = (round_up(n, patch) for n in image.shape[:2])
        padded = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR) if (h, w) != image.shape[:2] else image
        resized = ResizeLongestSide(side).apply_image(padded)
        vh, vw = resized.shape[:2]
        frame = torch.tensor(self.dimensions.sam_padding).view(1, 3, 1, 1).repeat(1, 1, side, side)
        frame[0, :, :vh, :vw] = torch.from_numpy(resized).permute(2, 0, 1)
        token = side // grid
        trace.tokens_hw = (max(1, vh // token), max(1, vw // token))
        valid = torch.zeros(grid, grid)
        valid[: trace.tokens_hw[0], : trace.tokens_hw[1]] = 1
        inputs = {"image": frame}
        if self.method.affinity:
            inputs |= {
                "valid_tokens": valid.flatten(),
                "affinity_factor": torch.tensor(settings.affinity_factor, dtype=torch.float32),
                "keep_negative": torch.tensor(settings.keep_negative),
            }
        self._run("sam_encoder", trace, **inputs)

    def _logits_from_features(
        self,
        features: torch.Tensor,
        embeddings: torch.Tensor,
        starts: list[tuple[int, int]],
        aligned_hw: HW,
        settings: Parameters,
        trace: Trace,
    ) -> torch.Tensor:
        """Splice, aggregate by the affinity, project: [Q, vh, vw]."""
        assert trace.tokens_hw is not None
        spliced = self._splice(features, starts, aligned_hw, settings.crop)
        tokens = F.interpolate(spliced[None], trace.tokens_hw, mode="bilinear", align_corners=False)[0].flatten(1).T
        grid = self.dimensions.sam_grid
        vh, vw = trace.tokens_hw
        affinity = trace.stages["sam_encoder"][1]["affinity"].view(grid, grid, grid, grid)
        trace.aggregated = affinity[:vh, :vw, :vh, :vw].reshape(vh * vw, vh * vw) @ tokens
        project = self.networks.modules["head"].project
        trace.image_features = project.image_features(trace.aggregated)
        logits = (embeddings @ trace.image_features.T).view(-1, vh, vw)
        trace.stages["head"] = ({"window_features": features, "embeddings": embeddings}, {"logits": logits})
        return logits

    def _splice(
        self, features: torch.Tensor, starts: list[tuple[int, int]], aligned_hw: HW, crop: int
    ) -> torch.Tensor:
        """Sum the windows' features on the image's grid and divide by how many windows cover each cell: [D, h, w]."""
        patch = self.dimensions.clip_patch
        ratio = max(1, round_half_up(features.shape[-1] / (crop // patch)))
        cells = crop // patch * ratio
        if features.shape[-1] != cells:
            features = F.interpolate(features, (cells, cells), mode="bilinear", align_corners=False)
        total = torch.zeros(features.shape[1], *(n // patch * ratio for n in aligned_hw))
        count = torch.zeros_like(total[:1])
        for window, (y, x) in zip(features, starts, strict=True):
            top, left = y // patch * ratio, x // patch * ratio
            total[:, top : top + cells, left : left + cells] += window
            count[:, top : top + cells, left : left + cells] += 1
        return total / count

    def _logits_from_windows(
        self,
        features: torch.Tensor,
        embeddings: torch.Tensor,
        starts: list[tuple[int, int]],
        aligned_hw: HW,
        settings: Parameters,
        trace: Trace,
    ) -> torch.Tensor:
        """Project every window, enlarge its logits to its pixels, average where windows overlap: [Q, h, w]."""
        project = self.networks.modules["head"].project
        h, w = features.shape[-2:]
        crop = settings.crop
        total = torch.zeros(len(embeddings), *aligned_hw)
        count = torch.zeros(1, *aligned_hw)
        per_window = []
        for window, (y, x) in zip(features, starts, strict=True):
            logits = project(window.flatten(1).T, embeddings).view(-1, h, w)
            per_window.append(logits)
            enlarged = F.interpolate(logits[None], (crop, crop), mode="bilinear", align_corners=False)[0]
            total[:, y : y + crop, x : x + crop] += enlarged
            count[:, y : y + crop, x : x + crop] += 1
        trace.stages["head"] = (
            {"window_features": features, "embeddings": embeddings},
            {"logits": torch.stack(per_window)},
        )
        return total / count

    def _coarse(self, logits: torch.Tensor, vocabulary: Vocabulary, settings: Parameters, trace: Trace) -> None:
        """Softmax over queries, the largest synonym, argmax, threshold."""
        probabilities = (logits * settings.logit_scale).softmax(dim=0)
        counts = [len(words) for words in vocabulary.synonyms]
        trace.probabilities = torch.stack([part.amax(dim=0) for part in probabilities.split(counts)])
        scores, labels = trace.probabilities.max(dim=0)
        labels[scores < settings.probability_threshold] = 0
        trace.coarse, trace.scores = labels.numpy(), scores.numpy()
        trace.mask = trace.coarse

    def _refine(self, trace: Trace, settings: Parameters, hw: HW) -> None:
        """Split the coarse mask into regions, prompt SAM's decoder with each, and merge."""
        assert trace.coarse is not None and trace.probabilities is not None
        half_hw = half_size(hw)
        labels = F.interpolate(torch.from_numpy(trace.coarse)[None, None].double(), half_hw, mode="nearest")[0, 0]
        halves = F.interpolate(trace.probabilities[None], half_hw, mode="bilinear", align_corners=False)[0]
        regions = find_regions(labels.long().numpy(), halves.numpy(), settings)
        if not regions:
            return
        patch, side = self.dimensions.clip_patch, self.dimensions.sam_side
        padded_hw = (round_up(hw[0], patch), round_up(hw[1], patch))
        valid_hw = ResizeLongestSide.get_preprocess_shape(*padded_hw, side)
        points, boxes, masks = prompts_for(regions, halves, hw, valid_hw, side, settings)
        features = trace.stages["sam_encoder"][1]["features"]
        parts = [
            self._run("sam_decoder", trace, sam_features=features, points=p, boxes=b, mask_prompts=m)
            for p, b, m in zip(*(x.split(settings.prompt_batch) for x in (points, boxes, masks)), strict=True)
        ]
        low_res = torch.cat([part["low_res_logits"] for part in parts])
        iou = torch.cat([part["iou"] for part in parts])
        trace.stages["sam_decoder"] = (
            {"sam_features": features, "points": points, "boxes": boxes, "mask_prompts": masks},
            {"low_res_logits": low_res, "iou": iou},
        )
        trace.prompted = Prompted(regions, low_res, iou)
        with trace.time("merge"):
            trace.mask, trace.scores = merge_masks(
                trace.coarse, trace.probabilities, trace.prompted, padded_hw, valid_hw, side, settings
            )


OUTPUTS = {
    "dino": ("features", "mean_similarity"),
    "clip_image": ("features",),
    "sam_encoder": ("features", "affinity"),
    "sam_decoder": ("low_res_logits", "iou"),
}
"""What the modules return, by name; a stage may return fewer."""
