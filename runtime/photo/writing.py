"""Writing pictures: the format that a path asks for."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..errors import OutputError


def image_format(path: str | Path) -> str:
    """Pillow's name of the format that a path's suffix means.

    Raises:
        OutputError: it means none that is written.
    """
    suffix = Path(path).suffix.lower()
    Image.preinit()
    kind: str | None = Image.EXTENSION.get(suffix) or Image.registered_extensions().get(suffix)
    if kind is None or kind not in Image.SAVE:
        raise OutputError(f"{path}: no picture is written with this suffix; take .png, .jpg or .webp")
    return kind
