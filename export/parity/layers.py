"""Parity of `clip_layers`: the reference's own windows through the module."""

from __future__ import annotations

import torch

from ..reference.networks import Networks
from ..reference.trace import Trace

STAGE, WINDOWS = "clip_layers", 2
"""Two windows are enough to see the batch axis; all blocks of all windows would be gigabytes with a large CLIP."""


@torch.no_grad()
def trace_layers(networks: Networks, trace: Trace) -> None:
    """Run the module on the first windows of the trace, and remember what went in and out."""
    windows = trace.stages["clip_image"][0]["windows"][:WINDOWS]
    with trace.time(STAGE):
        features = networks.modules[STAGE](windows)
    trace.stages[STAGE] = ({"windows": windows}, {"features": features})
