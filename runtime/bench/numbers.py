"""Numbers for people."""

from __future__ import annotations

import math

FINEST = 6
"""Decimals at most."""


def plain(value: float, digits: int) -> str:
    """A number with some significant digits and never an exponent: 0.0123, 1.41, 11,410.

    Args:
        value: the number.
        digits: how many are told; before the point all are, in groups of three.
    """
    if not value or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{min(max(decimals, 0), FINEST)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
