"""Instances: single things, as every pipeline answers with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, NamedTuple

from .rle import Rle, compressed

SCHEMA = "ovdeploy/instances/1"

UNNAMED = "photo.png"
"""The file that formats name which must name one, where the photo was none."""


@dataclass(frozen=True)
class Instance:
    """One thing in a photo. Instances may overlap, and need no mask of classes."""

    id: int
    """From 1, in the photo."""
    class_index: int
    """Of its class among the names."""
    class_name: str
    """Its class."""
    box_xyxy: tuple[int, int, int, int]
    """x₀, y₀, x₁, y₁ in photo pixels, inclusive."""
    area: int
    """Pixels."""
    score: float
    """In [0, 1]; of an instance of a mask the mean of the pixels' scores."""
    mask: Rle
    """At the photo's size."""

    @property
    def more(self) -> dict[str, Any]:
        """What a kind of instances knows beside these, as plain values by name: for JSON."""
        own = {each.name: getattr(self, each.name) for each in fields(self)[len(fields(Instance)) :]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}

    @property
    def box_xywh(self) -> list[int]:
        """x₀, y₀, width, height: COCO's box."""
        x0, y0, x1, y1 = self.box_xyxy
        return [x0, y0, x1 - x0 + 1, y1 - y0 + 1]


class Subject(NamedTuple):
    """What instances are of."""

    hw: tuple[int, int]
    """The photo's height and width."""
    names: tuple[str, ...]
    """Of the classes."""
    background: bool = False
    """Whether class 0 stands for everything that has no name."""
    path: str | None = None
    """The photo's; None if it was no file."""
    bundle: str = ""
    """The digest of the bundle that was asked; empty where nobody said."""

    @property
    def file_name(self) -> str:
        """The photo's name, without folders."""
        return PurePath(self.path).name if self.path else UNNAMED

    @property
    def classes(self) -> list[tuple[int, str]]:
        """Index and name of every class that things can be of: not the background."""
        return list(enumerate(self.names))[int(self.background) :]

    def head(self, schema: str) -> dict[str, Any]:
        """What every JSON says of itself."""
        return {"schema": schema, "path": self.path, "bundle": self.bundle}


def instances_document(subject: Subject, instances: Sequence[Instance]) -> dict[str, Any]:
    """All that is known of instances, as plain values."""
    height, width = subject.hw
    texts = compressed([each.mask for each in instances])
    return {
        **subject.head(SCHEMA),
        "size": {"height": height, "width": width},
        "instances": [
            {
                "id": each.id,
                "class_index": each.class_index,
                "class_name": each.class_name,
                "box_xyxy": list(each.box_xyxy),
                "area": each.area,
                "score": each.score,
                "mask": {"size": [height, width], "counts": text},
                **each.more,
            }
            for each, text in zip(instances, texts, strict=True)
        ],
    }
