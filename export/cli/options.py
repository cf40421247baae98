"""What the commands that need PyTorch have in common."""

from __future__ import annotations

import click

from ...runtime.cli.common import together
from ...runtime.errors import needing

ROLES = ("clip", "dino", "sam")
WEIGHTS_HELP = (
    "`pretrained` (the recipe's tag), `package`, `random:SEED`, or a checkpoint's path. Default: as the recipe says."
)


weight_options = together(
    *(click.option(f"--{role}-weights", metavar="SOURCE", help=f"{role}: {WEIGHTS_HELP}") for role in ROLES)
)
"""The options that say where weights come from."""


def require_export_extra() -> None:
    """Say which extra is missing, before an import fails somewhere deep.

    Raises:
        MissingExtraError: PyTorch or one of its companions is not installed.
    """
    for package in ("torch", "open_clip", "segment_anything", "timm", "onnx", "onnxscript", "onnxslim", "safetensors"):
        with needing(package, "export", "working with PyTorch models"):
            __import__(package)
