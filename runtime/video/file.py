"""Videos in files, decoded by PyAV, which is FFmpeg's libraries.

A file is opened here and given to FFmpeg open, so that it never sees a path or a URL: it waits for no FIFO and opens no
connection. Of its formats those are read that hold their frames themselves; playlists, which name other files, are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..boundary.reading import opened
from ..errors import VideoError
from .clip import Clip, DamageError
from .frame import Choice, Frame

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

FORMATS = (
    "mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg", "flv", "gif", "apng", "ivf", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's names of the formats that are read."""

OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}


def _nothing_else(*asked: Any) -> Any:
    """Refuse FFmpeg whatever further file a format asks for."""
    raise PermissionError("a video may not open other files")


class FileClip(Clip):
    """A video file."""

    def __init__(self, path: Path, choice: Choice, max_pixels: int) -> None:
        super().__init__(path, choice, max_pixels)
        with self._opened() as (_, stream):
            self.rate = float(stream.average_rate) if stream.average_rate else None
            self.count = stream.frames or None

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        from av.video.stream import VideoStream

        with opened(self.path, VideoError, "the video") as file, self._container(file) as container:
            if not container.streams.video:
                raise VideoError(f"{self.path}: there is no picture in it, only sound or text")
            stream = container.streams.best("video") or container.streams.video[0]  # no cover in front of it
            assert isinstance(stream, VideoStream)
            if stream.codec_context is None:
                raise VideoError(f"{self.path}: its pictures are packed in a way that FFmpeg does not know")
            self._refuse_huge(stream.height, stream.width)
            # FFmpeg counts the lines that it adds; frames further on that are much too large are not even decoded
            stream.codec_context.options = {"max_pixels": str(2 * self.max_pixels + (1 << 16))}
            yield container, stream

    def _container(self, file: BinaryIO) -> InputContainer:
        import av

        try:
            container: InputContainer = av.open(file, "r", container_options=OPTIONS, io_open=_nothing_else)
        except (av.FFmpegError, ValueError, OSError) as error:
            told = f"no video in a format that is read ({', '.join(FORMATS)}), or damaged at its beginning"
            raise VideoError(f"{self.path}: {told} ({error})") from error
        return container

    def _frames(self) -> Iterator[Frame]:
        import av

        with self._opened() as (container, stream):
            index, start, last, lost = 0, None, 0.0, 0
            try:
                for frame in container.decode(stream):
                    if frame.is_corrupt and not index:  # of a recording that begins between two key frames
                        lost += 1
                        continue
                    if frame.is_corrupt:
                        raise DamageError(f"frame {index} is damaged")
                    start = frame.time if start is None else start
                    seconds = _since(start, frame)
                    yield Frame(index, seconds, self._image(index, frame))
                    index, last = index + 1, seconds or 0.0
            except (av.FFmpegError, OSError, EOFError) as error:
                raise DamageError(f"it is damaged behind frame {index - 1} ({error})") from error
            if lost and not index:
                raise DamageError(f"all of its {lost} frames are damaged")
            if index + lost < stream.frames and last < _length(stream) * (
                1 - 1.5 / stream.frames
            ):  # not left out on purpose
                raise DamageError(f"it is cut off: it says that it has {stream.frames} frames, and {index} can be read")

    def _image(self, index: int, frame: av.VideoFrame) -> np.ndarray:
        """[H, W, 3] uint8 RGB, upright; black and without memory of its own if nobody wants it."""
        if index and frame.height * frame.width > self.max_pixels:  # a header may say less than comes
            raise DamageError(f"frame {index} is {frame.width}×{frame.height}, more than max_pixels")
        matrix = _display_matrix(frame)
        if not self.choice.wants(index):
            return upright(np.broadcast_to(np.uint8(0), (frame.height, frame.width, 3)), matrix)
        return np.ascontiguousarray(upright(frame.to_ndarray(format="rgb24"), matrix))


def _display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """The upper left of a frame's display matrix: x' = a x + c y, y' = b x + d y, with y downward."""
    from av.sidedata.sidedata import Type

    told = frame.side_data.get(Type.DISPLAYMATRIX)
    if told is None:
        return 1, 0, 0, 1
    numbers = np.frombuffer(bytes(told), np.int32)  # three rows of three
    return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])


def upright(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """A picture as a display matrix says that it is shown: turned by quarters, and mirrored.

    Args:
        image: [H, W, 3].
        matrix: a, b, c, d of x' = a x + c y and y' = b x + d y; what is no quarter turn is taken as the nearest.

    Returns:
        A view of it, [H, W, 3] or [W, H, 3].
    """
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _since(start: float | None, frame: av.VideoFrame) -> float | None:
    return None if start is None or frame.time is None else float(frame.time - start)


def _length(stream: VideoStream) -> float:
    """Seconds that a stream says that it takes; 0 where it says nothing."""
    return float((stream.duration or 0) * (stream.time_base or 0))
