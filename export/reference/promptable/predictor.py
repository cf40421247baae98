"""The predictor that engines are held against: segment_anything's own, for every promptable model."""

from __future__ import annotations

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide

from ..embed import Upstream


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


def predictor_of(sam: Upstream) -> SamPredictor:
    """The predictor of a model: upstream's own where the photo lies in the square of the prompts."""
    same = sam.image_encoder.img_size == sam.prompt_encoder.input_image_size[0]
    return SamPredictor(sam) if same else FramePredictor(sam)


def seen_image(sam: Upstream, photo: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 RGB → [h, w, 3] uint8, the longest side that of the encoder's input."""
    resized: np.ndarray = ResizeLongestSide(sam.image_encoder.img_size).apply_image(photo)
    return resized
