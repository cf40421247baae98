"""Windows: what CLIP and DINO see of a photo."""

from __future__ import annotations

import numpy as np

from ...photo.reading import resize
from .plan import Plan


def cut_windows(photo: np.ndarray, plan: Plan, crop: int) -> np.ndarray:
    """Resize and align a photo, and cut its windows.

    Args:
        photo: [H, W, 3] uint8 RGB.
        plan: the plan for its size.
        crop: side of a window.

    Returns:
        [Wy · Wx, 3, crop, crop] float32 RGB in [0, 1], row by row.
    """
    resized = resize(photo, plan.resized_hw).astype(np.float32) / 255
    planes = resize(resized, plan.aligned_hw).transpose(2, 0, 1)
    cuts = [planes[:, y : y + crop, x : x + crop] for y in plan.row_starts for x in plan.column_starts]
    return np.stack(cuts)
