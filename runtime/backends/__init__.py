"""Sessions: one loaded engine each, named arrays in, named arrays out."""

from __future__ import annotations

from .base import Session
from .fake import FakeSession
from .options import SessionOptions
from .registry import BACKENDS, available_backends, choose_backend, graph_precision, open_session, open_stage

__all__ = [
    "BACKENDS",
    "FakeSession",
    "Session",
    "SessionOptions",
    "available_backends",
    "choose_backend",
    "graph_precision",
    "open_session",
    "open_stage",
]
