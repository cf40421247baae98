"""What follows things through a clip, as those who ask it to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Seen(Protocol):
    """A thing in a frame, as a tracker answers."""

    @property
    def id(self) -> int:
        """The number that it was prompted with."""

    @property
    def mask(self) -> np.ndarray:
        """[H, W] bool at the frame's size; empty where it is not in sight."""

    @property
    def score(self) -> float:
        """The logit that it is in sight."""


class Stepped(Protocol):
    """A frame's answer."""

    @property
    def objects(self) -> Sequence[Seen]:
        """The things that are followed."""


class Follower(Protocol):
    """A `Tracker`, or anything that does the same."""

    def prompt(
        self,
        frame: Any,
        object_id: int,
        *,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask: Any = None,
        index: int | None = None,
    ) -> Seen:
        """Have a thing join, or correct it, on a frame."""

    def step(self, frame: Any, *, index: int | None = None) -> Stepped:
        """All things on a frame; those that were prompted on it keep that answer. Something has joined before."""

    def forget(self, object_id: int) -> None:
        """Follow a thing no longer."""
