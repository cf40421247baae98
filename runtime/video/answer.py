"""What is answered about a clip: things with identities, frame by frame, whatever found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..answers.instance import Instance
from ..answers.rle import Rle, compressed
from ..boundary.arguments import public
from ..errors import ParameterError, shown

SCHEMA = "ovdeploy/clip/1"

MOST_IDENTITIES = int(np.iinfo(np.uint16).max)
"""The largest number of a thing: masks of identities have 16 bits."""


@dataclass(frozen=True)
class FrameAnswer:
    """What was found in a frame."""

    number: int
    """Of the frame, in the clip."""
    seconds: float | None
    """When it is shown; None where nobody says."""
    instances: tuple[Instance, ...]
    """Things in sight, each with the `id` that it has in every frame; those behind others come first."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values; masks as COCO's run lengths."""
        texts = compressed([each.mask for each in self.instances])
        listed = [
            {
                "id": each.id,
                "class_index": each.class_index,
                "class_name": each.class_name,
                "box_xyxy": list(each.box_xyxy),
                "area": each.area,
                "score": each.score,
                "mask": {"size": [each.mask.height, each.mask.width], "counts": text},
            }
            for each, text in zip(self.instances, texts, strict=True)
        ]
        return {"frame": self.number, "seconds": self.seconds, "instances": listed}

    def identities(self, hw: tuple[int, int]) -> np.ndarray:
        """Whose every pixel is: [H, W] uint16, the id of the last thing that has it, 0 for nobody's.

        Raises:
            ParameterError: an id is not from 1 to 65,535.
        """
        wrong = [each.id for each in self.instances if not 1 <= each.id <= MOST_IDENTITIES]
        if wrong:
            raise ParameterError(f"id={wrong[0]}: expected 1 to 65,535, since masks of identities have 16 bits")
        owners = np.zeros(hw, np.uint16)
        for each in self.instances:
            owners[each.mask.decode()] = each.id
        return owners


@public()
def seen_as(
    identity: int, mask: np.ndarray, *, score: float = 1.0, class_index: int = 0, names: Sequence[str] = ("thing",)
) -> Instance | None:
    """A thing in a frame, as an instance.

    Args:
        identity: from 1 to 65,535, the same in every frame.
        mask: [H, W] bool.
        score: in [0, 1].
        class_index: among the names.
        names: of classes.

    Returns:
        The instance; None for an empty mask.

    Raises:
        ParameterError: the identity, the class or the score is out of range, or the mask has other axes.
    """
    if not 1 <= identity <= MOST_IDENTITIES or not 0 <= class_index < len(names):
        told = f"identity={identity} and class_index={class_index} of {len(names)} names"
        raise ParameterError(f"{told}: expected an identity from 1 to 65,535, and a class that there is")
    if not 0 <= score <= 1:
        raise ParameterError(f"score={shown(score)}: expected 0 to 1")
    rle = Rle.encode(mask)
    if not rle.area:
        return None
    x, y, width, height = cv2.boundingRect((mask != 0).astype(np.uint8))
    box = (x, y, x + width - 1, y + height - 1)
    return Instance(identity, class_index, names[class_index], box, rle.area, float(score), rle)
