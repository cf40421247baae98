"""A bundle's account of how its quantised engines came about."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ..geometry.limits import FLOAT, PHOTOS
from ..recipe.int8 import Int8Settings

Count = Annotated[int, msgspec.Meta(ge=0, le=PHOTOS)]
Figure = Annotated[float, msgspec.Meta(ge=-FLOAT, le=FLOAT)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class LayerReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One product with a weight."""

    node: str
    """The product's node in the graph."""
    block: str
    """The block of the network that it belongs to."""
    precision: str
    """`int8`, `fp8` or `float`."""
    method: str
    """The method for its range; of a float one, that which it would have had."""
    limit: Figure
    """The magnitude that the largest number stands for: INT8's 127, FP8's 448."""
    largest: Figure
    """The largest magnitude that was seen on the calibration photos (after balancing)."""
    clipped: Figure
    """Share of the values seen that are larger than `limit`."""
    error: Figure
    """Relative error at the stage's outputs with this product, or its block, alone quantised."""
    smoothing: Share = 0.0
    """The strength of balancing outliers of what it reads into its weight."""


class StageReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The outcome for a stage."""

    precision: str
    """`int8`, `fp8` or `float`."""
    reason: str = ""
    """Why it stays float."""
    smoothing: Share = 0.0
    """The strength of balancing outliers into weights that is best for the whole stage; products may have others."""
    weight_bits: Annotated[int, msgspec.Meta(ge=1, le=32)] = 8
    """Of the quantised weights."""
    method: str = ""
    """The winner: one method's name, or "search"."""
    cosine: Figure = 1.0
    """The worst of its outputs, on the photos that the search measured on."""
    relative: Figure = 0.0
    """The worst relative error of its outputs, on the same photos."""
    methods: dict[str, Figure] = {}
    """Relative error at its outputs by what was tried: method and strength of balancing, and the search."""
    layers: tuple[LayerReport, ...] = ()
    """Its products with weights, one by one."""


class GateReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The gate's measurements."""

    photos: Count
    """How many photos it judged by."""
    labels: Share
    """Mean share of pixels on which the masks are those of the FP32 engines."""
    worst: Share
    """Of the worst photo."""
    milliseconds: dict[str, dict[str, Figure]] = {}
    """Medians by what was run (a stage, or "photo") and engine ("fp32 on onnxruntime")."""
    speedups: dict[str, Figure] = {}
    """The best float engine's time over the best quantised one's, by stage, and of the whole photo; nothing where this
    machine could not tell."""
    refused: tuple[str, ...] = ()
    """Reasons against it; empty if it passed."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the quantised engines of a bundle came about."""

    precision: str = "int8"
    """`int8` or `fp8`."""
    photos: Count
    """How many photos it calibrated on."""
    photos_sha256: str
    """Of the calibration photos' pixels, in order."""
    settings: Int8Settings
    """The recipe's `[int8]` in force."""
    stages: dict[str, StageReport]
    """By the stage's name."""
    gate: GateReport
    """The grounds on which the engines are kept, or not."""
    kept_anyway: bool = False
    """Whether the gate refused these engines and the user kept them nevertheless."""
