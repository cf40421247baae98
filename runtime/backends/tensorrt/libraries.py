"""The two libraries by the backend that runs their plans."""

from __future__ import annotations

from .gpu import TensorRT
from .library import Library
from .rtx import TensorRTRTX

LIBRARIES: dict[str, Library] = {library.backend: library for library in (TensorRT(), TensorRTRTX())}
