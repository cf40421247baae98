"""The processor: its name, its instruction sets, and the precisions that it multiplies in by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

CPUINFO = Path("/proc/cpuinfo")

SHOWN_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "i8mm", "bf16")
"""Instruction sets that decide how fast a product is, as Linux calls them."""

NATIVE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "int8": ("avx_vnni", "avx512_vnni", "amx_int8", "i8mm", "asimddp"),
        "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    }
)
"""Instruction sets, any of which makes products in a precision faster than in FP32; the fastest precision first.

Without them INT8 saturates on x86 and bf16 is emulated: neither is worth it."""


class Processor(NamedTuple):
    """What Linux tells of the first processor; empty where it tells nothing (aarch64 names no model)."""

    name: str
    flags: frozenset[str]

    @property
    def native(self) -> tuple[str, ...]:
        """Precisions that it multiplies in faster than in FP32, the fastest first."""
        return tuple(precision for precision, sets in NATIVE.items() if self.flags.intersection(sets))

    @property
    def shown(self) -> str:
        """The instruction sets that matter here."""
        return " ".join(flag for flag in SHOWN_FLAGS if flag in self.flags)


def this_processor(cpuinfo: Path | None = None) -> Processor:
    """The processor that this process runs on.

    Args:
        cpuinfo: what Linux tells; None means `CPUINFO`.
    """
    try:
        lines = (cpuinfo or CPUINFO).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return Processor("", frozenset())
    pairs = [line.partition(":") for line in lines]
    found = {key.strip(): value.strip() for key, _, value in reversed(pairs)}  # the first of each remains
    return Processor(found.get("model name", ""), frozenset(found.get("flags", found.get("Features", "")).split()))
