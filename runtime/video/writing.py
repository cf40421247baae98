"""Files of answers about a clip: one line of JSON for each frame, masks, and pictures for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from ..answers.instance import Subject
from ..boundary.reading import is_folder, listed, to_json
from ..errors import OutputError
from ..files import atomic_path
from ..pictures.overlay import draw_instances
from .answer import SCHEMA, FrameAnswer
from .film import Film, film
from .frame import Frame

OPACITY = 0.5
NUMBERED = re.compile(r"[0-9]{6,}\.png")
"""Names of masks."""


class ClipWriter:
    """Files of a clip's answers, written as the answers come.

    `STEM.jsonl` has a line that says what it is of, then one for each frame. `STEM.masks/NUMBER.png` has the identity
    of every pixel, 16 bits, 0 for nobody's. `STEM.overlay.mp4` shows things in colours that they keep. Masks and
    overlay are written if they are asked for.
    """

    def __init__(self, lines: BinaryIO, masks: Path | None, overlay: Film | None) -> None:
        self._lines, self._masks, self._overlay = lines, masks, overlay
        self._written: set[str] = set()

    def add(self, frame: Frame, answer: FrameAnswer) -> None:
        """Write what was found in a frame."""
        self._lines.write(to_json(answer.to_dict()) + b"\n")
        if self._masks is not None:
            path = self._masks / f"{frame.number:06}.png"
            with atomic_path(path) as temporary:
                Image.fromarray(answer.identities(frame.image.shape[:2])).save(temporary, format="PNG")
            self._written.add(path.name)
        if self._overlay is not None:
            self._overlay.add(overlay_of(frame.image, answer), frame.number, frame.seconds)

    def end(self) -> None:
        """Remove masks of an earlier answer, about frames that are not in this one."""
        if self._masks is None or not is_folder(self._masks):
            return
        for path in listed(self._masks, OutputError):
            if NUMBERED.fullmatch(path.name) and path.name not in self._written:
                path.unlink()


def overlay_of(image: np.ndarray, answer: FrameAnswer) -> np.ndarray:
    """A frame with things in their colours, which an identity keeps: [H, W, 3] uint8."""
    identities = [each.id for each in answer.instances]
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
        writer = ClipWriter(lines, Path(f"{stem}.masks") if masks else None, shown)
        yield writer
        writer.end()
