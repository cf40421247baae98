"""Where a result came from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .result import Result


def with_origin(result: Result, photo: object, bundle: str) -> Result:
    """The result that says of which file and which bundle it is.

    Args:
        result: of the photo.
        photo: as it was given: a path, or pixels in some form.
        bundle: the digest of the bundle.
    """
    path = str(photo) if isinstance(photo, str | Path) else None
    return replace(result, path=path, bundle=bundle)
