"""Ranges of dynamic axes, which TensorRT's profiles are made of: as a contract has them, and as users write them."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ParameterError, one_of
from ..geometry.limits import AXIS
from .contract import Range, StageContract


def with_ranges(contract: StageContract, ranges: Mapping[str, Range]) -> tuple[dict[str, int], ...]:
    """The named sizes of a stage at its smallest, usual and largest.

    Raises:
        ParameterError: an axis has no range.
    """
    names = contract.dynamic_axes
    if missing := [name for name in names if name not in ranges]:
        raise ParameterError(
            f"{contract.stage}: no range is known for axis {', '.join(missing)}; "
            f"give one, for example --range {missing[0]}=1:8:64"
        )
    return tuple({name: ranges[name][index] for name in names} for index in range(3))


def parse_ranges(texts: tuple[str, ...], valid: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges as users write them: `B=1:8:16`, or `B=8` for one size.

    Raises:
        ParameterError: not a range, or of an axis that no stage has.
    """
    parsed = {}
    for text in texts:
        name, _, sizes = text.partition("=")
        if name not in valid:
            raise ParameterError(one_of("axis", name, valid))
        try:
            values = [int(size) for size in sizes.split(":")]
        except ValueError as error:
            raise ParameterError(f"{text!r}: expected AXIS=SMALLEST:USUAL:LARGEST, for example B=1:8:16") from error
        values = values * 3 if len(values) == 1 else values
        if len(values) != 3 or not 1 <= values[0] <= values[1] <= values[2] <= AXIS:
            raise ParameterError(
                f"{text!r}: expected three sizes from 1 to {AXIS:,}, each no smaller than the one before"
            )
        parsed[name] = (values[0], values[1], values[2])
    return parsed
