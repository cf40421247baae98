"""Films: an MP4 of pictures, each shown from its own time on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import OutputError, needing
from ..files import atomic_path

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

MILLISECOND = Fraction(1, 1000)
USUAL_RATE = 25.0
"""Frames in a second of a film that is made of a folder."""

CODECS = ("libx264", "mpeg4")
"""What films are packed with: the first that this FFmpeg has."""


class Film:
    """A film being written, one picture after another, each shown as long after the first as its frame is."""

    def __init__(self, path: Path, rate: float, ending: ExitStack) -> None:
        self._path, self._rate, self._ending = path, rate, ending
        self._opened: tuple[OutputContainer, VideoStream] | None = None
        self._first, self._last = 0, -1

    def add(self, picture: np.ndarray, number: int, seconds: float | None) -> None:
        """Add a picture.

        Args:
            picture: [H, W, 3] uint8 RGB, of the same size each time; odd sides get a line or column more.
            number: of the frame; tells the time where `seconds` is None.
            seconds: when it is shown.

        Raises:
            OutputError: this FFmpeg cannot pack a film.
        """
        import av

        even = np.pad(picture, ((0, len(picture) % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
        at = round(1000 * (number / self._rate if seconds is None else seconds))
        if self._opened is None:
            self._opened, self._first = self._begun(even.shape), at
        container, stream = self._opened
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self._last = frame.pts = max(at - self._first, self._last + 1)
        frame.time_base = MILLISECOND
        container.mux(stream.encode(frame))

    def end(self) -> None:
        """Write what is still held. A film without a picture is no file, also where there was one."""
        if self._opened is None:
            self._path.unlink(missing_ok=True)
            return
        container, stream = self._opened
        container.mux(stream.encode())

    def _begun(self, shape: tuple[int, ...]) -> tuple[OutputContainer, VideoStream]:
        import av

        codec = next((name for name in CODECS if name in av.codecs_available), None)
        if codec is None:
            raise OutputError(f"{self._path}: this FFmpeg has no codec for films ({' or '.join(CODECS)}); leave it out")
        temporary = self._ending.enter_context(atomic_path(self._path))
        container = self._ending.enter_context(av.open(str(temporary), "w", format="mp4"))
        rate = Fraction(self._rate).limit_denominator(1000)
        stream: VideoStream = container.add_stream(codec, rate=rate)  # type: ignore[assignment]  # none of sound
        stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
        stream.codec_context.time_base = MILLISECOND
        return container, stream


@contextmanager
def film(path: str | Path, rate: float | None) -> Iterator[Film]:
    """An MP4 that is there, whole, when the block has ended; nothing if it fails, or no picture came.

    Args:
        path: the file.
        rate: frames in a second on average; None where nobody knows.

    Raises:
        MissingExtraError: PyAV is not installed.
        FileError: the system refuses the file.
    """
    with needing("av", "video", "writing films"):
        import av  # noqa: F401  (a missing package should be told now)
    with ExitStack() as ending:
        writer = Film(Path(path), rate or USUAL_RATE, ending)
        yield writer
        writer.end()
