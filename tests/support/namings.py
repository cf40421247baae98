"""Files with the names of others' libraries, made from seeds; and what those libraries computed with them, frozen."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from support.samples import ROOT

FROZEN = ROOT / "tests" / "export" / "models" / "namings"
"""A file for each model of transformers, written by `tests/measure/namings.py --freeze`."""

SEED = 5
COUNT = 48
"""Values that are kept of an output."""

ZEROS = ("layer.{n}.attention.q_proj.bias", "layer.{n}.attention.v_proj.bias")
"""Biases that are zero in every published DINOv3 of these sizes."""

TOKENS = ((49406, 320, 2368, 49407), (49406, 1929, 537, 320, 49407))
"""Two texts for CLIP, the start and the end of text included."""

POINTS = ((100.0, 60.0), (33.0, 200.0))
"""Two points for SAM, x and y in its pixels."""


def seeded(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor that its name and its shape fix; layers with it neither fade nor grow."""
    values = np.random.default_rng([SEED, zlib.crc32(name.encode())]).standard_normal(shape)
    if len(shape) < 2:
        values = 0.2 * values + (0 if name.endswith("bias") else 1)
    elif "token" not in name and "position" not in name and "pos_embed" not in name:
        values = values / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, np.float32))


def state_of(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Seeded tensors by their names and shapes."""
    zero = [template.split("{n}") for template in ZEROS]
    return {
        name: torch.zeros(shape)
        if any(name.startswith(start) and name.endswith(end) for start, end in zero)
        else seeded(name, tuple(shape))
        for name, shape in tensors.items()
    }


def image(side: int) -> torch.Tensor:
    """A normalised image [1, 3, side, side] of soft blobs."""
    small = np.random.default_rng(SEED).standard_normal((1, 3, 8, 8)).astype(np.float32)
    return torch.nn.functional.interpolate(torch.from_numpy(small), (side, side), mode="bilinear")


def tokens() -> torch.Tensor:
    """`TOKENS` as CLIP takes them: [2, 77], zeros behind."""
    return torch.tensor([[*text, *[0] * (77 - len(text))] for text in TOKENS])


def sampled(output: torch.Tensor) -> list[float]:
    """Values at places spread over an output."""
    flat = output.detach().float().reshape(-1)
    return [round(float(flat[int(place)]), 5) for place in np.linspace(0, len(flat) - 1, COUNT)]


@cache
def frozen(name: str) -> dict[str, Any]:
    """What was frozen of a model: `tensors`, shapes by name; `outputs`, values by name; `side` of the image."""
    return json.loads((FROZEN / f"{name}.json").read_text())
