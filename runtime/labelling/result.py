"""The result of `segment`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from ..files import atomic_path, write_bytes
from ..photo.overlay import draw_overlay, palette, small_indices
from ..photo.writing import image_format
from .regions import Regions


@dataclass(frozen=True)
class Region:
    """One connected component of one class in the coarse mask. Coordinates are in photo pixels, origin at top left."""

    class_index: int
    class_name: str
    area: int
    """Pixels of the photo that the region covers (it was measured at half resolution)."""
    box_xyxy: tuple[int, int, int, int]
    """x₀, y₀, x₁, y₁, inclusive."""
    point_xy: tuple[int, int]
    """Where the class is most probable."""
    score: float
    """Mean probability of the class inside."""
    iou: float
    """SAM's own estimate of the refined mask's IoU."""
    refined: bool
    """Whether that was above the threshold, so that the refined mask was used."""


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
    def save_mask(self, path: str | Path) -> None:
        """Write the mask as a PNG of class indices: in the overlay's colours, or 16-bit grey past 256 classes."""
        if len(self.names) <= 256:
            image = Image.fromarray(self.mask.astype(np.uint8), mode="P")
            image.putpalette(palette(256).tobytes())
        else:
            image = Image.fromarray(small_indices(self.mask, len(self.names)))
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
        write_bytes(path, msgspec.json.format(msgspec.json.encode(self.to_dict()), indent=1))

    @public()
    def to_dict(self) -> dict[str, Any]:
        """Areas, boxes, scores and timings, as plain values."""
        counts = np.bincount(self.mask.reshape(-1), minlength=len(self.names))
        sums = np.bincount(self.mask.reshape(-1), weights=self.scores.reshape(-1), minlength=len(self.names))
        return {
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


def photo_regions(
    regions: Regions, iou: np.ndarray, iou_threshold: float, names: tuple[str, ...], photo_hw: tuple[int, int]
) -> tuple[Region, ...]:
    """Regions at half resolution, told in the photo's pixels: a box covers every pixel that its half-size pixels do."""
    (h, w), (dh, dw) = photo_hw, regions.ids.shape
    found = []
    for index in range(len(regions)):
        x0, y0, x1, y1 = (int(value) for value in regions.box_xyxy[index])
        x, y = (int(value) for value in regions.point_xy[index])
        label = int(regions.class_index[index])
        found.append(
            Region(
                class_index=label,
                class_name=names[label],
                area=round(int(regions.area[index]) * h * w / (dh * dw)),
                box_xyxy=(x0 * w // dw, y0 * h // dh, ((x1 + 1) * w - 1) // dw, ((y1 + 1) * h - 1) // dh),
                point_xy=((2 * x + 1) * w // (2 * dw), (2 * y + 1) * h // (2 * dh)),
                score=float(regions.score[index]),
                iou=float(iou[index]),
                refined=bool(iou[index] > iou_threshold),
            )
        )
    return tuple(found)
