"""The result of `segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..boundary.arguments import public
from ..errors import ParameterError, printable, shown
from ..files import atomic_path
from ..photo.overlay import draw_overlay, small_indices
from ..photo.writing import image_format
from .coco import coco
from .components import find_instances
from .detections import detections
from .instance import Instance, Subject
from .panoptic import Panoptic, panoptic
from .region import Region
from .table import table
from .writing import write_json

SCHEMA = "ovdeploy/result/1"
"""The form of `Result.to_dict`. Keys may be added; what changes an old reader's meaning changes the number."""


@dataclass(frozen=True, eq=False)
class Result:
    """A photo's segmentation.

    Attributes:
        mask: [H, W] uint16 class index.
        coarse_mask: [H, W] uint16 class index before refinement; the same array as `mask` without refinement.
        scores: [H, W] float32 in [0, 1], the winning class's probability; where the label is a refined region's, its
            score, which is the probability times SAM's.
        names: the classes' names.
        regions: the regions that were refined or tried; empty without refinement.
        timings: milliseconds per step; `total` runs from the photo's path or array to the mask.
        photo: [H, W, 3] uint8 RGB, the photo as it was segmented (upright).
        backend: what ran the engines; empty where nobody said.
        precision: what they computed in, likewise.
        warnings: what was taken in a way that may not be meant, in this photo or the words.
        path: the photo's, as it was given; None if it was no file.
        bundle: the digest of the bundle that was asked (`Bundle.digest`); empty where nobody said.
        background: whether class 0 stands for everything that has no name.
    """

    mask: np.ndarray
    coarse_mask: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    regions: tuple[Region, ...]
    timings: dict[str, float]
    photo: np.ndarray = field(repr=False)
    backend: str = ""
    precision: str = ""
    warnings: tuple[str, ...] = ()
    path: str | None = None
    bundle: str = ""
    background: bool = False

    @public()
    def overlay(self, *, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The photo with every class in its colour, and a legend of the classes that occur.

        Args:
            opacity: of the colours, 0 to 1.
            legend: whether a legend is added below the photo.

        Raises:
            ParameterError: the opacity is not between 0 and 1.
        """
        if not 0 <= opacity <= 1:
            raise ParameterError(f"opacity={shown(opacity)}: expected a number from 0 to 1")
        return draw_overlay(self.photo, self.mask, self.names, opacity=opacity, legend=legend)

    @public()
    def instances(self, *, min_area: int = 1) -> tuple[Instance, ...]:
        """The 8-connected components of each class in `mask`, in the order of classes, then of first pixels.

        The background, where class 0 is one, has none.

        Args:
            min_area: smaller components are left out, in pixels.

        Raises:
            PhotoError: there are more than 262,144.
        """
        return find_instances(self.mask, self.scores, self.names, background=self.background, min_area=min_area)

    @public()
    def to_coco(self, *, min_area: int = 1) -> dict[str, Any]:
        """The instances as a COCO dataset of one photo: `ovdeploy.runtime.answers.join_coco` joins those of many.

        Args:
            min_area: smaller instances are left out, in pixels.
        """
        return coco(self.subject, self.instances(min_area=min_area))

    @public()
    def to_panoptic(self, *, file_name: str = "panoptic.png", stuff: Sequence[str] = (), min_area: int = 1) -> Panoptic:
        """COCO's panoptic form: its JSON as `document`, and as `ids` the picture of ids, R + 256 G + 65536 B.

        Args:
            file_name: of the picture, for the document.
            stuff: names of classes that are one segment each, however many parts they have, such as the sky.
            min_area: smaller instances are left out, in pixels; their pixels belong to no segment.

        Raises:
            ParameterError: there is no such class.
        """
        return panoptic(self.subject, self.instances(min_area=min_area), file_name, stuff)

    @public()
    def to_detections(self, *, masks: bool = True, min_area: int = 1) -> Any:
        """The instances as `supervision.Detections`, with boxes inclusive.

        Args:
            masks: whether masks are in it, [N, H, W] bool.
            min_area: smaller instances are left out, in pixels.

        Raises:
            MissingExtraError: supervision is not installed.
            PhotoError: the masks would be larger than an array may be.
        """
        return detections(self.subject, self.instances(min_area=min_area), masks=masks)

    @public()
    def to_table(self, *, min_area: int = 1) -> Any:
        """The instances as a `pyarrow.Table`, one a row.

        Args:
            min_area: smaller instances are left out, in pixels.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return table(self.subject, self.instances(min_area=min_area))

    @property
    def subject(self) -> Subject:
        """What the instances are of, for the functions of `ovdeploy.runtime.answers`."""
        height, width = self.mask.shape
        return Subject((height, width), self.names, self.background, self.path, self.bundle)

    @public()
    def save_mask(self, path: str | Path) -> None:
        """Write the mask as a grey PNG of class indices: 8-bit up to 256 classes, 16-bit for more.

        One channel and no palette: OpenCV would read a palette's colours.
        """
        indices = small_indices(self.mask, len(self.names))
        image = Image.fromarray(indices.astype(np.uint8) if len(self.names) <= 256 else indices)
        with atomic_path(path) as temporary:
            image.save(temporary, format="PNG")

    @public()
    def save_overlay(self, path: str | Path) -> None:
        """Write the overlay; the suffix chooses the format.

        Raises:
            OutputError: Pillow writes no such format.
            FileError: the system refuses the path.
        """
        kind = image_format(path)
        with atomic_path(path) as temporary:
            self.overlay().save(temporary, format=kind)

    @public()
    def save_json(self, path: str | Path) -> None:
        """Write `to_dict()` as JSON."""
        write_json(path, self.to_dict())

    @public()
    def to_dict(self) -> dict[str, Any]:
        """Areas, boxes, scores and timings, as plain values."""
        counts = np.bincount(self.mask.reshape(-1), minlength=len(self.names))
        sums = np.bincount(self.mask.reshape(-1), weights=self.scores.reshape(-1), minlength=len(self.names))
        return {
            "schema": SCHEMA,
            "path": self.path,
            "bundle": self.bundle,
            "size": {"height": self.mask.shape[0], "width": self.mask.shape[1]},
            "backend": self.backend,
            "precision": self.precision,
            "warnings": list(self.warnings),
            "classes": [
                {
                    "index": index,
                    "name": name,
                    "pixels": int(counts[index]),
                    "share": float(counts[index] / self.mask.size),
                    "mean_score": float(sums[index] / max(counts[index], 1)),
                }
                for index, name in enumerate(self.names)
            ],
            "regions": [asdict(region) for region in self.regions],
            "timings_ms": {name: round(value, 3) for name, value in self.timings.items()},
        }


def with_origin(result: Result, photo: object, bundle: str) -> Result:
    """The result that says of which file and which bundle it is.

    Args:
        result: of the photo.
        photo: as it was given: a path, or pixels in some form.
        bundle: the digest of the bundle.
    """
    path = printable(photo) if isinstance(photo, str | Path) else None
    return replace(result, path=path, bundle=bundle)
