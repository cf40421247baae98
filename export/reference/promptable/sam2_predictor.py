"""SAM 2's predictor for images, plainly: the truth for engines of models whose decoder is SAM 2's.

As SAM2ImagePredictor does it: the photo is stretched over the square without rounding, boxes are two points, "not a
point" stands behind all points and boxes, a single mask that is not stable gives way to the best of the three, and
holes and islands stay. `tests/measure/upstream.py` holds it against the authors' own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..embed import Upstream

MARGIN, STABLE = 0.05, 0.98
"""A single mask is stable if so much of what is above minus the margin is above the margin too."""


class Sam2Transform:
    """Points of a photo to points of the square, under the names of segment_anything's transform."""

    def __init__(self, side: int) -> None:
        self.side = side

    def apply_coords(self, coords: np.ndarray, original_size: tuple[int, ...]) -> np.ndarray:
        """[..., 2], x y in the photo's pixels → in the square's, float64."""
        scale = np.array([self.side / original_size[1], self.side / original_size[0]])
        return np.asarray(coords, np.float64) * scale


class Sam2Predictor:
    """Encodes a photo, and answers prompts about it. Its methods are those of segment_anything's SamPredictor.

    Attributes:
        features: [1, C, g, g], with what SAM 2 adds where there is no memory.
        maps: all features, by the names of the decoder's inputs.
    """

    features: torch.Tensor
    maps: dict[str, torch.Tensor]

    def __init__(self, sam: Upstream) -> None:
        self.model = sam
        self.transform = Sam2Transform(sam.image_encoder.img_size)
        self.device = torch.device("cpu")
        self.original_size: tuple[int, int] = (0, 0)

    @torch.no_grad()
    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode a photo, [H, W, 3] uint8 RGB."""
        sam = self.model
        self.original_size = (image.shape[0], image.shape[1])
        seen = stretched(image, sam.image_encoder.img_size)
        fine, middle, coarse = sam.image_encoder((seen - sam.pixel_mean) / sam.pixel_std)
        self.features = coarse + sam.no_mem_embed.view(1, -1, 1, 1)
        high_res = sam.mask_decoder.conv_s0(fine), sam.mask_decoder.conv_s1(middle)
        self.maps = {"sam_features": self.features, "high_res_0": high_res[0], "high_res_1": high_res[1]}

    def reset_image(self) -> None:
        """Forget the photo."""

    def predict(
        self,
        point_coords: np.ndarray | None = None,
        point_labels: np.ndarray | None = None,
        box: np.ndarray | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One prompt: masks [M, H, W] bool, IoU estimates [M], low-resolution logits [M, m, m] within ± 32."""
        corners = None if box is None else np.asarray(box, np.float64).reshape(2, 2)
        given = [(corners, np.array([2, 3])), (point_coords, point_labels)]
        there = [(places, kinds) for places, kinds in given if places is not None]
        coords = labels = None
        if there:
            places = np.concatenate([each for each, _ in there])
            scaled = self.transform.apply_coords(places, self.original_size)
            coords = torch.from_numpy(scaled).float()[None]
            labels = torch.from_numpy(np.concatenate([kinds for _, kinds in there])).int()[None]
        mask = None if mask_input is None else torch.from_numpy(mask_input).float()[None]
        masks, iou, low_res = self.predict_torch(coords, labels, None, mask, multimask_output)
        return masks[0].numpy(), iou[0].numpy(), low_res[0].numpy()

    @torch.no_grad()
    def predict_torch(
        self,
        point_coords: torch.Tensor | None,
        point_labels: torch.Tensor | None,
        boxes: torch.Tensor | None = None,
        mask_input: torch.Tensor | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Prompts in the square's pixels, of as many points each: [R, N, 2] and [R, N]; masks [R, 1, m, m].

        Boxes are points of the labels 2 and 3.
        """
        sam, given = self.model, None
        if point_coords is not None and point_labels is not None:
            given = (point_coords, point_labels)
        sparse, dense = sam.prompt_encoder(points=given, boxes=None, masks=mask_input)
        places = sam.prompt_encoder.get_dense_pe()
        logits, iou, _ = sam.mask_decoder.answer(list(self.maps.values()), places, sparse, dense)
        chosen = (logits[:, 1:], iou[:, 1:]) if multimask_output else single_of(logits, iou)
        masks = F.interpolate(chosen[0], self.original_size, mode="bilinear", align_corners=False)
        return masks if return_logits else masks > 0, chosen[1], chosen[0].clamp(-32, 32)


def single_of(logits: torch.Tensor, iou: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The single mask of each prompt, [R, 1, m, m], and its IoU [R, 1]: the first, or the best of the others."""
    masks, estimates = [], []
    for each, told in zip(logits, iou, strict=True):
        inner, outer = int((each[0] > MARGIN).sum()), int((each[0] > -MARGIN).sum())
        stable = outer == 0 or np.float32(inner) / np.float32(outer) >= np.float32(STABLE)
        index = 0 if stable else 1 + int(told[1:].argmax())
        masks.append(each[index])
        estimates.append(told[index])
    return torch.stack(masks)[:, None], torch.stack(estimates)[:, None]


def stretched(photo: np.ndarray, side: int) -> torch.Tensor:
    """[H, W, 3] uint8 RGB → [1, 3, side, side] float32 in [0, 255], each side resized by itself, antialiased."""
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    return F.interpolate(planes, (side, side), mode="bilinear", align_corners=False, antialias=True)
