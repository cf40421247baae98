"""Files of answers about a clip: one line of JSON for each frame, masks, and pictures for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from ..answers.instance import Subject
from ..boundary.reading import to_json
from ..errors import needing
from ..files import atomic_path
from ..pictures.overlay import draw_instances
from .answer import SCHEMA, FrameAnswer
from .frame import Frame

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

OPACITY = 0.5
MILLISECOND = Fraction(1, 1000)
USUAL_RATE = 25.0
"""Frames in a second of a film that is made of a folder."""

CODECS = ("libx264", "mpeg4")
"""What films are packed with: the first that this FFmpeg has."""


class Film:
    """A film being written, one picture after another, each shown from its own time on."""

    def __init__(self, container: OutputContainer, rate: float) -> None:
        self._container, self._rate = container, rate
        self._stream: VideoStream | None = None
        self._last = -1

    def add(self, picture: np.ndarray, number: int, seconds: float | None) -> None:
        """Add a picture.

        Args:
            picture: [H, W, 3] uint8 RGB, of the same size each time; odd sides get a line or column more.
            number: of the frame; tells the time where `seconds` is None.
            seconds: when it is shown.
        """
        import av

        even = np.pad(picture, ((0, len(picture) % 2), (0, picture.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = self._begun(even.shape)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        at = round(1000 * (number / self._rate if seconds is None else seconds))
        self._last = frame.pts = max(at, self._last + 1)
        frame.time_base = MILLISECOND
        self._container.mux(self._stream.encode(frame))

    def end(self) -> None:
        """Write what is still held."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())

    def _begun(self, shape: tuple[int, ...]) -> VideoStream:
        import av

        codec = next(name for name in CODECS if name in av.codecs_available)
        rate = Fraction(self._rate).limit_denominator(1000)
        stream: VideoStream = self._container.add_stream(codec, rate=rate)  # type: ignore[assignment]  # none of sound
        stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
        stream.codec_context.time_base = MILLISECOND
        return stream


@contextmanager
def film(path: str | Path, rate: float | None) -> Iterator[Film]:
    """An MP4 that is there, whole, when the block has ended; nothing if it fails.

    Args:
        path: the file.
        rate: frames in a second on average; None where nobody knows.

    Raises:
        MissingExtraError: PyAV is not installed.
        FileError: the system refuses the file.
    """
    with needing("av", "video", "writing films"):
        import av
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        writer = Film(container, rate or USUAL_RATE)
        yield writer
        writer.end()


class ClipWriter:
    """Files of a clip's answers, written as the answers come.

    `STEM.jsonl` has a line that says what it is of, then one for each frame. `STEM.masks/NUMBER.png` has the identity
    of every pixel, 16 bits, 0 for nobody's. `STEM.overlay.mp4` shows things in colours that they keep. Masks and
    overlay are written if they are asked for.
    """

    def __init__(self, lines: BinaryIO, masks: Path | None, overlay: Film | None) -> None:
        self._lines, self._masks, self._overlay = lines, masks, overlay

    def add(self, frame: Frame, answer: FrameAnswer) -> None:
        """Write what was found in a frame."""
        self._lines.write(to_json(answer.to_dict()) + b"\n")
        if self._masks is not None:
            with atomic_path(self._masks / f"{frame.number:06}.png") as temporary:
                Image.fromarray(answer.identities(frame.image.shape[:2])).save(temporary, format="PNG")
        if self._overlay is not None:
            self._overlay.add(overlay_of(frame.image, answer), frame.number, frame.seconds)


def overlay_of(image: np.ndarray, answer: FrameAnswer) -> np.ndarray:
    """A frame with things in their colours, which an identity keeps: [H, W, 3] uint8."""
    identities: Sequence[int] = [each.id for each in answer.instances]
    masks = (each.mask.decode() for each in answer.instances)
    return np.asarray(draw_instances(image, masks, opacity=OPACITY, numbers=identities))


@contextmanager
def clip_writer(
    stem: str | Path, subject: Subject, *, rate: float | None = None, masks: bool = True, overlay: bool = True
) -> Iterator[ClipWriter]:
    """Open the files of a clip's answers; the lines and the film are there, whole, when the block has ended.

    Args:
        stem: of their names.
        subject: what the answers are of.
        rate: frames in a second on average, for the film.
        masks: whether a mask is written for every frame.
        overlay: whether a film is written; that needs PyAV.

    Raises:
        MissingExtraError: a film is wanted, and PyAV is not installed.
        FileError: the system refuses a file.
    """
    with ExitStack() as stack:
        lines = stack.enter_context(open(stack.enter_context(atomic_path(f"{stem}.jsonl")), "wb"))
        shown = stack.enter_context(film(f"{stem}.overlay.mp4", rate)) if overlay else None  # ends before the lines do
        head = {
            **subject.head(SCHEMA),
            "size": {"height": subject.hw[0], "width": subject.hw[1]},
            "names": list(subject.names),
        }
        lines.write(to_json(head) + b"\n")
        yield ClipWriter(lines, Path(f"{stem}.masks") if masks else None, shown)
