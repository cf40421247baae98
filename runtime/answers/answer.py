"""What every answer has: a picture for people, plain values for programs, and both as files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from PIL import Image

from ..boundary.arguments import public
from ..files import atomic_path
from ..photo.writing import image_format
from .writing import write_json


class Answer(ABC):
    """What comes of a photo."""

    @abstractmethod
    def overlay(self) -> Image.Image:
        """The photo with what was found in it."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """What is known of it, as plain values."""

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
