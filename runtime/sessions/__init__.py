"""Sessions: one loaded engine each, named arrays in, named arrays out."""

from __future__ import annotations

from .base import Session
from .fake import FakeSession
from .registry import BACKENDS, available_backends, choose_backend, open_session

__all__ = ["BACKENDS", "FakeSession", "Session", "available_backends", "choose_backend", "open_session"]
