"""The C library's heap, which keeps what libraries freed."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> None:
    """Give memory that is free back to the system, where the C library can (glibc); it takes some 10 ms a GB.

    Reading a graph leaves its weights' first copy there: some 250 MB for SAM ViT-B, CLIP and DINO together.
    """
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Any:
    """glibc's `malloc_trim`; None elsewhere."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # musl, macOS; Windows
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
