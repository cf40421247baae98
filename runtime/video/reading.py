"""Reading clips: `open_clip`."""

from __future__ import annotations

from pathlib import Path

from ..boundary.arguments import public
from ..boundary.reading import is_folder
from ..errors import needing
from ..photo.reading import MOST_PIXELS
from .clip import Clip
from .file import FileClip
from .folder import FolderClip
from .frame import Choice


@public()
def open_clip(
    path: str | Path,
    *,
    every: int = 1,
    first: int = 0,
    end: int | None = None,
    max_pixels: int = MOST_PIXELS,
) -> Clip:
    """Open a clip: a video file, or a folder of photos in the order of their names.

    Frames are read one after another and turned upright as the file says; nothing is kept. All are decoded, in their
    order, so that a frame's index means the same whatever is wanted.

    Args:
        path: the file or folder. Videos need PyAV: `pip install 'ovdeploy[video]'`.
        every: take each so many-th frame.
        first: index of the first that is wanted.
        end: index behind the last that may be wanted; None for all.
        max_pixels: a clip whose frames have more pixels is refused.

    Returns:
        Something to iterate over, again and again. Its `damage` tells afterwards why reading ended early, if it did.

    Raises:
        VideoError: there is no such file, or it is something else than a clip.
        ParameterError: a number is out of range.
        MissingExtraError: it is a file, and PyAV is not installed.
    """
    choice = Choice(every, first, end).check()
    if is_folder(path):
        return FolderClip(Path(path), choice, max_pixels)
    with needing("av", "video", "reading videos"):
        import av  # noqa: F401  (a missing package should be told now)

    return FileClip(Path(path), choice, max_pixels)
