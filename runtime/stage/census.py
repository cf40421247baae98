"""The census of an engine: what precision its weights and nodes really have.

It needs no onnx; `graph.census` counts.
"""

from __future__ import annotations

import msgspec

from ..errors import BundleError
from .precision import STORED_AS

REQUIRED_SHARE = 0.5
"""Least share of weights and of FLOPs that must be in the precision that an engine goes by."""

REQUIRED = {"int8": {"weights": 0.25}, "fp8": {"weights": 0.25}, "int8w": {"weights": 0.01}}
"""The same for precisions with their own rule. Eight bits are for products with weights: attention's have none, and
tables of positions and what a recipe keeps may outweigh the rest in small models. Where weights alone are meant, every
product has them, and a table of tokens may be all but the whole of a miniature."""


class Census(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of an engine is in which precision: `fp32`, `fp16`, `bf16`, `int8`, …"""

    weights: dict[str, int]
    """Elements of float weights (and of quantised ones)."""
    nodes: dict[str, int]
    """Nodes that compute; what only moves or casts is not counted."""
    flops: dict[str, int]
    """Floating-point operations of those nodes, at the usual sizes of dynamic axes."""

    def share(self, of: str, precision: str) -> float:
        """The share of `weights`, `nodes` or `flops` in a precision; 1 where there is nothing to count."""
        counts: dict[str, int] = getattr(self, of)
        total = sum(counts.values())
        return counts.get(STORED_AS.get(precision, precision), 0) / total if total else 1.0


def missing_precision(census: Census, precision: str) -> str | None:
    """The shortfall of an engine from the precision that it goes by; None if it is what it says."""
    for of, least in REQUIRED.get(precision, dict.fromkeys(("weights", "flops"), REQUIRED_SHARE)).items():
        share = census.share(of, precision)
        if share < least:
            there = ", ".join(f"{name} {census.share(of, name):.1%}" for name in sorted(getattr(census, of)))
            return f"{share:.1%} of its {of} are {precision}, at least {least:.0%} must be; it has {there}"
    return None


def check_census(census: Census | None, precision: str, where: str, rebuild: str) -> None:
    """Refuse an engine that is not in the precision that it goes by.

    Args:
        census: of the engine; None if nobody counted.
        precision: that was asked for.
        where: what to call the engine.
        rebuild: the command that makes it again.

    Raises:
        BundleError: requested and present precision differ, or nobody counted and it is not FP32.
    """
    if census is None:
        if precision != "fp32":
            raise BundleError(
                f"{where} goes by {precision}, but its manifest has no census. Export it again: {rebuild}"
            )
        return
    if problem := missing_precision(census, precision):
        raise BundleError(f"{where} goes by {precision}, but {problem}. Export it again: {rebuild}")
