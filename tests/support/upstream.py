"""Facts about others' packages, frozen: names, shapes and epsilons of their models, and features that they compute."""

from __future__ import annotations

import json

import numpy as np

from support.samples import ROOT

FROZEN = ROOT / "tests" / "export" / "models" / "upstream"
"""A file for each model, written by `tests/measure/upstream.py --freeze`."""

PHOTO, SEED = (300, 400), 3
"""Size of the photo, and seed of the weights, with which features were computed."""

COUNT = 64
"""Values that are kept of the features."""


def sampled(features: np.ndarray) -> list[float]:
    """Values at places spread over all channels, rows and columns."""
    flat = features.reshape(-1)
    return [round(float(value), 6) for value in flat[np.linspace(0, flat.size - 1, COUNT).astype(int)]]


def frozen(name: str) -> dict:
    return json.loads((FROZEN / f"{name}.json").read_text())
