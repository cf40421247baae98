"""Videos that tests write: small ones, whose every frame can be told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

TURNED = {
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}
"""The upper left of a display matrix, by degrees clockwise that a player turns the picture."""

MIRRORED = {"across": (-1, 0, 0, 1), "down": (1, 0, 0, -1), "transposed": (0, 1, 1, 0), "both": (0, -1, -1, 0)}
"""The same of matrices that mirror it."""


def pictures(count: int, hw: tuple[int, int]) -> list[np.ndarray]:
    """[H, W, 3] uint8 each: corners of different colours, and a grey that tells the frame."""
    h, w = hw
    frames = []
    for index in range(count):
        picture = np.full((h, w, 3), 10 + 10 * (index % 24), np.uint8)
        picture[: h // 2, : w // 2] = (250, 20, 20)
        picture[h // 2 :, w // 2 :] = (20, 20, 250)
        frames.append(picture)
    return frames


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    form: str = "bgr0",
    times_ms: Sequence[int] | None = None,
) -> Path:
    """Write a video of one frame every 40 ms, or at these times. FFV1 keeps pixels as they are."""
    import av

    times = times_ms or [40 * index for index in range(len(frames))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = form
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_video(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Tell players of an MP4 to turn its picture: by the matrix in its track's header, as telephones do."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version, flags, times, number, duration, layer, group, volume
    a, b, c, d = matrix
    numbers = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(content)
