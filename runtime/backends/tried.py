"""What was tried: the versions of libraries that the package's tests have run, natively, with what they ran in.

`tests/runtime/backends/test_native.py` runs every precision with the version that is installed, and holds its row
against that. A row is never written by hand for a version that nobody ran.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
}
"""Packages that bring the library, by backend. Only what stands here is tried."""

TRIED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "openvino": {
        "2025.2.0": ("fp16", "fp32", "int8"),
        "2026.4.1": ("fp16", "fp32", "int8"),
    },
    "onnxruntime": {
        "1.20.0": ("fp16", "fp32", "fp8", "int8", "int8w"),
        "1.32.0": ("fp16", "fp32", "fp8", "int8", "int8w"),
    },
}
"""Precisions and kinds of weights that ran, by backend and version."""


@cache
def library_version(backend: str) -> str:
    """The version of a backend's library that is installed; empty if nobody can tell. The library is not imported."""
    for name in DISTRIBUTIONS.get(backend, ()):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def untried(backend: str, installed: str, kinds: frozenset[str]) -> frozenset[str]:
    """Those of these precisions and kinds of weights that were never run with a version of a library."""
    return kinds - frozenset(TRIED[backend].get(installed, ()))
