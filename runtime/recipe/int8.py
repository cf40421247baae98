"""A recipe's settings for INT8."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..geometry.limits import LARGEST, PHOTOS

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=PHOTOS)]
Method = Literal["minmax", "wide", "percentile", "entropy", "mse"]
Part = Literal["first_block", "last_block"]


class Int8Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The recipe's table `[int8]`: what `ovdeploy calibrate` makes INT8, how it chooses, and what it accepts.

    Only products with weights become INT8. Patch embedding, norms, softmax, GELU and attention's own products stay
    float in any case.
    """

    stages: tuple[str, ...] = ()
    """Those that are tried, others stay float; none means the pipeline's own choice, its large encoders."""
    keep: tuple[Part, ...] = ("last_block",)
    """Parts of every stage that stay float."""
    blocks: dict[str, tuple[str, ...]] = {}
    """Blocks that stay float, by stage: paths of their weights, such as `encoder.blocks.3`."""
    nodes: dict[str, tuple[str, ...]] = {}
    """Single products that stay float, by stage."""
    smoothing: Annotated[tuple[Share, ...], msgspec.Meta(min_length=1)] = (0.0, 0.5)
    """Strengths of balancing outliers into weights (SmoothQuant's α) that are tried, for the whole stage and value by
    value; 0 is none."""
    ranges: Annotated[tuple[Method, ...], msgspec.Meta(min_length=1)] = ("minmax", "wide", "percentile", "mse")
    """Methods for the range of a value that are tried: those, and `entropy`."""
    search: Literal["stage", "block", "product"] = "product"
    """The unit that gets a method of its own, by the error at the outputs, and goes back to float as one: a product, a
    block, or a whole stage, which is fastest and all or nothing."""
    weight_bits: Annotated[tuple[Literal[7, 8], ...], msgspec.Meta(min_length=1)] = (8, 7)
    """Of weights, tried with the engine itself: 7 avoids the saturation of x86 CPUs without VNNI, and has as much of an
    eighth bit as it leaves."""
    photos: Count = 16
    """Least number of photos to calibrate on."""
    gate_photos: Count = 8
    """Least number of further photos that the gate judges by."""
    cases: Count = 4
    """Most photos that the search measures on; ranges are taken from the others."""
    cosine: Share = 0.98
    """Least cosine of a stage's outputs: its most sensitive products go back to float until it holds."""
    relative: Share = 0.03
    """Relative error of a stage's outputs that is aimed at: its most sensitive products go back to float for it, ..."""
    share: Share = 0.8
    """... as long as this share of all its products with weights is quantised, those counted that `keep` has float."""
    labels: Share = 0.95
    """Least share of pixels on which the masks must be those of the FP32 engines: the gate's budget."""
    speedup: Annotated[float, msgspec.Meta(gt=0, le=LARGEST)] = 1.0
    """A stage, and the whole photo, must be more than so many times as fast as the best float engine."""
