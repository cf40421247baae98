"""What a trial's process and its parent tell each other."""

from __future__ import annotations

import msgspec

from ..stage.contract import StageContract
from .options import SessionOptions

BEGUN = "ovdeploy: the trial has begun"
"""What the process says before it imports a library, so that a crash of the library can be told from a Python that
could not start us."""

NOT_OPENED = 9
"""The exit code where the engine is refused in words: the parent will hear them itself."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried."""

    backend: str
    path: str
    """Of the engine, absolute."""
    contract: StageContract
    options: SessionOptions
