"""A graph's own signature, held against the contract that a manifest gives it.

A contract that was forged together with its hashes would have sizes taken for others; the graph knows better. What a
signature cannot show (the axes' meaning, ranges of values, parameters) is the manifest's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import BundleError
from .contract import StageContract, TensorSpec


class Port(NamedTuple):
    """An input or output as the graph has it."""

    name: str
    dtype: str
    """NumPy's name; empty where the library does not tell."""
    shape: Sequence[int | str | None] | None
    """Numbers are fixed, a name stands for one size within a graph, None for any; without a shape the rank is open."""


def check_signature(path: Path, contract: StageContract, inputs: Iterable[Port], outputs: Iterable[Port]) -> None:
    """Refuse a graph that is not what its contract says.

    Inputs must have the contract's names, types, fixed sizes and free axes, and axes are one and the same in the graph
    where they have one name in the contract. Of outputs, sizes that the graph computes are not known before it runs.

    Raises:
        BundleError: names the file, the tensor and what differs.
    """
    axes: dict[str, str] = {}
    for verb, specs, ports in (("takes", contract.inputs, inputs), ("gives", contract.outputs, outputs)):
        came = {port.name: port for port in ports}
        expected = sorted(spec.name for spec in specs)
        if sorted(came) != expected:
            raise BundleError(f"{path} {verb} {sorted(came)}, its contract says {expected}")
        for spec in specs:
            if why := _difference(spec, came[spec.name], axes, computed=verb == "gives"):
                raise BundleError(
                    f"{path} {verb} {spec.name} as {_told(came[spec.name])}, its contract says {spec.dtype} "
                    f"{list(spec.shape)}: {why}. The manifest is not this graph's: export the bundle again"
                )


def _difference(spec: TensorSpec, port: Port, axes: dict[str, str], *, computed: bool) -> str:
    """How they differ, in words; empty if they do not."""
    if port.dtype and port.dtype != spec.dtype:
        return "another type"
    if port.shape is None:
        return ""
    if len(port.shape) != len(spec.shape):
        return "another number of axes"
    for index, (said, is_) in enumerate(zip(spec.shape, port.shape, strict=True)):
        if isinstance(said, int) and isinstance(is_, int) and said != is_:
            return f"axis {index} is {is_}"
        if isinstance(said, int) != isinstance(is_, int) and not computed:
            return f"axis {index} is {'free' if isinstance(said, int) else 'fixed'}"
        if isinstance(said, str) and isinstance(is_, str) and not computed and axes.setdefault(said, is_) != is_:
            return f"axis {index} is not the graph's other {said!r}"
    return ""


def _told(port: Port) -> str:
    shape = "of any shape" if port.shape is None else str(["?" if size is None else size for size in port.shape])
    return f"{port.dtype or 'some type'} {shape}"
