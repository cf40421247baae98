"""The answer of everything mode: instances without names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ....answers.answer import Answer
from ....answers.coco import coco
from ....answers.detections import detections
from ....answers.instance import Instance, Subject, instances_document
from ....answers.rle import placed
from ....boundary.arguments import public
from ....geometry.sizes import HW
from ....pictures.overlay import draw_instances
from .candidates import Candidate

SCHEMA = "ovdeploy/everything/1"
"""The form of `Everything.to_dict`. Keys may be added; what changes an old reader's meaning changes the number."""

NAME = "object"
"""The class of all instances: SAM knows no names."""


@dataclass(frozen=True)
class PromptedInstance(Instance):
    """A thing that a point of the grid has found. `score` is SAM's IoU estimate, brought into [0, 1]."""

    iou: float
    """SAM's own estimate of the mask's IoU."""
    stability: float
    """The mask's area where logits are above the offset, over the area where they are above minus the offset."""
    point_xy: tuple[float, float]
    """The point that was asked, in photo pixels."""
    crop_xyxy: tuple[int, int, int, int]
    """x₀, y₀, x₁, y₁ of the crop that was encoded, inclusive: the whole photo's, where there are no layers of crops."""


@dataclass(frozen=True, eq=False)
class Everything(Answer):
    """All that a grid of points found in a photo.

    Attributes:
        instances: things and parts of things, which may overlap; the surest first, where there are no crops.
        photo: [H, W, 3] uint8 RGB, upright.
        points: how many the decoder was asked.
        points_per_side: of the whole photo's grid; 0 where points were given.
        timings: milliseconds per step, of all crops together.
        backend: what ran the engines; empty where nobody said.
        precision: what they computed in, likewise.
        path: the photo's, as it was given; None if it was no file.
        bundle: the digest of the bundle that was asked; empty where nobody said.
    """

    instances: tuple[PromptedInstance, ...]
    photo: np.ndarray = field(repr=False)
    points: int
    points_per_side: int
    timings: dict[str, float]
    backend: str = ""
    precision: str = ""
    path: str | None = None
    bundle: str = ""

    @property
    def subject(self) -> Subject:
        """What the instances are of, for the formats of `ovdeploy.runtime.answers`."""
        return Subject((self.photo.shape[0], self.photo.shape[1]), (NAME,), path=self.path, bundle=self.bundle)

    @public()
    def overlay(self, *, opacity: float = 0.5) -> Image.Image:
        """The photo with every instance in a colour of its own, the smaller above the larger, and light outlines.

        Args:
            opacity: of the colours, 0 to 1.

        Raises:
            ParameterError: the opacity is not between 0 and 1.
        """
        return draw_instances(self.photo, (each.mask.decode() for each in self._largest_first()), opacity=opacity)

    @public()
    def to_dict(self) -> dict[str, Any]:
        """All that is known of the instances, masks as COCO's run lengths, as plain values."""
        return {
            **instances_document(self.subject, self.instances),
            "schema": SCHEMA,
            "backend": self.backend,
            "precision": self.precision,
            "points": self.points,
            "points_per_side": self.points_per_side,
            "timings_ms": {name: round(value, 3) for name, value in self.timings.items()},
        }

    @public()
    def to_coco(self) -> dict[str, Any]:
        """The instances as a dataset of one photo in COCO's form; all are of the category "object"."""
        return coco(self.subject, self.instances)

    @public()
    def to_detections(self, *, masks: bool = True) -> Any:
        """The instances as supervision's `Detections`.

        Args:
            masks: whether masks are in it, [N, H, W] bool.

        Raises:
            MissingExtraError: supervision is not installed.
            PhotoError: the masks would be larger than an array may be.
        """
        return detections(self.subject, self.instances, masks=masks)

    def _largest_first(self) -> list[PromptedInstance]:
        return sorted(self.instances, key=lambda each: -each.area)


def instances_of(candidates: Sequence[Candidate], photo_hw: HW) -> tuple[PromptedInstance, ...]:
    """Candidates as instances, in their order."""
    return tuple(
        PromptedInstance(
            id=index + 1,
            class_index=0,
            class_name=NAME,
            box_xyxy=each.box,
            area=each.area,
            score=min(max(each.iou, 0.0), 1.0),
            mask=placed(each.inside, (each.box[0], each.box[1]), photo_hw),
            iou=each.iou,
            stability=each.stability,
            point_xy=each.point,
            crop_xyxy=(each.crop.x0, each.crop.y0, each.crop.x1 - 1, each.crop.y1 - 1),
        )
        for index, each in enumerate(candidates)
    )
