"""The extra that PyTorch and its companions come with."""

from __future__ import annotations

from ...runtime.errors import needing


def require_export_extra() -> None:
    """Say which extra is missing, before an import fails somewhere deep.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
    """
    for package in ("torch", "open_clip", "segment_anything", "timm", "onnx", "onnxscript", "onnxslim", "safetensors"):
        with needing(package, "export", "working with PyTorch models"):
            __import__(package)
