"""The result of `segment`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..boundary.arguments import public
from ..files import atomic_path
from ..pictures.overlay import draw_overlay, small_indices
from .answer import Answer
from .coco import coco, coco_polygons
from .components import find_instances
from .detections import detections
from .geojson import geojson
from .instance import Instance, Subject
from .labelme import labelme
from .panoptic import Panoptic, panoptic
from .polygons import Outline, outlines_of
from .region import Region
from .shares import class_shares
from .table import table
from .visible import visible
from .yolo import yolo

SCHEMA = "ovdeploy/result/1"
"""The form of `Result.to_dict`. Keys may be added; what changes an old reader's meaning changes the number."""


NOTHING = "unlabelled"
"""What pictures call pixels that no thing covers."""


@dataclass(frozen=True, eq=False)
class Result(Answer):
    """A photo's segmentation.

    Attributes:
        mask: [H, W] uint16 class index.
        coarse_mask: [H, W] uint16 class index before refinement; the same array as `mask` without refinement.
        scores: [H, W] float32 in [0, 1], the winning class's probability; where the label is a refined region's, its
            score, which is the probability times SAM's.
        names: the classes' names.
        regions: the regions that were refined or tried; empty without refinement.
        timings: milliseconds per step; `total` runs from the photo's path or array to the mask. Where steps went on
            side by side, `overlap` is what their sum counts twice.
        photo: [H, W, 3] uint8 RGB, the photo as it was segmented (upright).
        backend: what ran the engines; empty where nobody said.
        precision: what they computed in, likewise.
        warnings: what was taken in a way that may not be meant, in this photo or the words.
        path: the photo's, as it was given; None if it was no file.
        bundle: the digest of the bundle that was asked (`Bundle.digest`); empty where nobody said.
        background: whether class 0 stands for everything that has no name.
        things: instances that the pipeline found as such, the surest first, which may overlap; None where instances are
            the connected parts of the mask.
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
    things: tuple[Instance, ...] | None = field(default=None, repr=False)

    @public()
    def overlay(self, *, opacity: float = 0.55, legend: bool = True) -> Image.Image:
        """The photo with every class in its colour, and a legend of the classes that occur.

        Where single things are looked for without a background, what none of them covers is grey, as unlabelled.

        Args:
            opacity: of the colours, 0 to 1.
            legend: whether a legend is added below the photo.

        Raises:
            ParameterError: the opacity is not between 0 and 1.
        """
        mask, names = self.mask, self.names
        if self.things is not None and not self.background:  # there the label is the first class's for want of another
            mask, names = np.where(self.scores > 0, mask, len(names)), (*names, NOTHING)
        return draw_overlay(self.photo, mask, names, opacity=opacity, legend=legend)

    @public()
    def instances(self, *, min_area: int = 1) -> tuple[Instance, ...]:
        """The 8-connected components of each class in `mask`, in the order of classes, then of first pixels.

        The background, where class 0 is one, has none. A pipeline that finds single things gives those instead, the
        surest first; they may overlap.

        Args:
            min_area: smaller components are left out, in pixels.

        Raises:
            PhotoError: there are more than 262,144.
        """
        if self.things is not None:
            return tuple(each for each in self.things if each.area >= min_area)
        return find_instances(self.mask, self.scores, self.names, background=self.background, min_area=min_area)

    @public()
    def to_coco(self, *, polygons: bool = False, tolerance: float = 0, min_area: int = 1) -> dict[str, Any]:
        """The instances as a COCO dataset of one photo: `ovdeploy.runtime.answers.join_coco` joins those of many.

        Args:
            polygons: whether masks are told as polygons, with holes joined to their exterior, and not as run lengths.
            tolerance: of polygons, as `to_polygons`.
            min_area: smaller instances are left out, in pixels.
        """
        if polygons:
            return coco_polygons(self.subject, self.to_polygons(tolerance=tolerance, min_area=min_area))
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
        instances = self.instances(min_area=min_area)
        apart = instances if self.things is None else visible(instances)
        return panoptic(self.subject, apart, file_name, stuff)

    @public()
    def to_polygons(self, *, tolerance: float = 0, min_area: int = 1) -> tuple[Outline, ...]:
        """The instances as polygons with holes, each valid.

        Args:
            tolerance: how far an outline may move so that it has fewer corners, in pixels; at 0 the polygons are
                exactly the pixels. Less is taken where an instance would gain or lose more than 0.8 % of its pixels
                (for each pixel of tolerance), or where rings would meet.
            min_area: smaller instances are left out, in pixels.

        Raises:
            ParameterError: the tolerance is below 0.
        """
        return outlines_of(self.instances(min_area=min_area), tolerance)

    @public("transform")
    def to_geojson(
        self, transform: Sequence[float] | None = None, *, tolerance: float = 0, min_area: int = 1
    ) -> dict[str, Any]:
        """The instances as GeoJSON, a feature each, exteriors counterclockwise.

        Args:
            transform: a, b, c, d, e, f in rasterio's order (`dataset.transform`; GDAL's is c, a, b, f, d, e): a point
                in column x and row y lies at a·x + b·y + c, d·x + e·y + f. None means pixels.
            tolerance, min_area: as `to_polygons`.

        Raises:
            ParameterError: the transform is no such list, or maps the photo onto a line; or the tolerance is below 0.
        """
        return geojson(self.subject, self.to_polygons(tolerance=tolerance, min_area=min_area), transform)

    @public()
    def to_labelme(self, *, tolerance: float = 1, min_area: int = 1) -> dict[str, Any]:
        """The instances in LabelMe's form, which X-AnyLabeling reads too; holes are joined to their exterior.

        Args:
            tolerance, min_area: as `to_polygons`.

        Raises:
            ParameterError: the tolerance is below 0.
        """
        return labelme(self.subject, self.to_polygons(tolerance=tolerance, min_area=min_area))

    @public()
    def to_yolo(self, *, min_area: int = 1) -> str:
        """The instances as Ultralytics' labels for segmentation: a line each, holes joined to their exterior.

        A class's number is its index in `names`, one less where class 0 is the background.

        Args:
            min_area: smaller instances are left out, in pixels.
        """
        return yolo(self.subject, self.instances(min_area=min_area))

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
    def to_dict(self) -> dict[str, Any]:
        """Areas, boxes, scores and timings, as plain values."""
        return {
            **self.subject.head(SCHEMA),
            "size": {"height": self.mask.shape[0], "width": self.mask.shape[1]},
            "backend": self.backend,
            "precision": self.precision,
            "warnings": list(self.warnings),
            "classes": class_shares(self.mask, self.scores, self.names),
            "regions": [asdict(region) for region in self.regions],
            "timings_ms": {name: round(value, 3) for name, value in self.timings.items()},
        }
