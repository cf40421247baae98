"""The predictor that engines are held against: segment_anything's own, or SAM 2's; and how either sees a photo."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide

from ....runtime.geometry.sizes import HW
from ..embed import Upstream
from .sam2_predictor import Sam2Predictor, stretched


class FramePredictor(SamPredictor):
    """SamPredictor on a model that takes the photo in another size than the square of its prompts and masks.

    `transform` is that of prompts; masks come back by the model's own `postprocess_masks`.
    """

    def __init__(self, sam: Upstream) -> None:
        super().__init__(sam)
        self.transform = ResizeLongestSide(sam.prompt_encoder.input_image_size[0])

    @torch.no_grad()
    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode a photo, [H, W, 3] uint8 RGB: normalised first, and then padded with 0."""
        self.reset_image()
        seen = torch.as_tensor(seen_image(self.model, image)).permute(2, 0, 1)[None]
        self.original_size = image.shape[:2]
        self.input_size = self.transform.get_preprocess_shape(*image.shape[:2], self.transform.target_length)
        self.features = self.model.image_encoder(self.model.preprocess(seen))
        self.is_image_set = True


def predictor_of(sam: Upstream) -> Any:
    """The predictor of a model: upstream's own where the photo lies in the square of the prompts as SAM puts it."""
    if getattr(sam, "stretch", False):
        return Sam2Predictor(sam)
    same = sam.image_encoder.img_size == sam.prompt_encoder.input_image_size[0]
    return SamPredictor(sam) if same else FramePredictor(sam)


def maps_of(predictor: Any) -> dict[str, torch.Tensor]:
    """A photo's features in a predictor, by the names of the decoders' inputs."""
    maps: dict[str, torch.Tensor] = getattr(predictor, "maps", None) or {"sam_features": predictor.features}
    return maps


def seen_image(sam: Upstream, photo: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 RGB → [h, w, 3] uint8, the longest side that of the encoder's input."""
    resized: np.ndarray = ResizeLongestSide(sam.image_encoder.img_size).apply_image(photo)
    return resized


def engine_input(sam: Upstream, photo: np.ndarray) -> tuple[torch.Tensor, HW]:
    """A photo, [H, W, 3] uint8 RGB, as the encoder's engine takes it, [1, 3, S, S]; and its size in there."""
    side = sam.image_encoder.img_size
    if getattr(sam, "stretch", False):
        return stretched(photo, side), (side, side)
    seen = seen_image(sam, photo)
    image = sam.pixel_mean.view(1, 3, 1, 1).repeat(1, 1, side, side)
    image[0, :, : seen.shape[0], : seen.shape[1]] = torch.from_numpy(seen).permute(2, 0, 1)
    return image, (seen.shape[0], seen.shape[1])


def prompts_hw(sam: Upstream, photo_hw: HW) -> HW:
    """The size of a photo in the square of prompts and masks."""
    side: int = sam.prompt_encoder.input_image_size[0]
    if getattr(sam, "stretch", False):
        return side, side
    height, width = ResizeLongestSide.get_preprocess_shape(*photo_hw, side)
    return height, width


def to_photo(sam: Upstream, low_res: torch.Tensor, photo_hw: HW) -> torch.Tensor:
    """Low-resolution logits [R, M, m, m] on the photo that the model saw, [R, M, H, W]."""
    if not getattr(sam, "stretch", False):
        square = tuple(sam.prompt_encoder.input_image_size)
        height, width = prompts_hw(sam, photo_hw)
        low_res = F.interpolate(low_res, square, mode="bilinear", align_corners=False)[..., :height, :width]
    return F.interpolate(low_res, photo_hw, mode="bilinear", align_corners=False)
