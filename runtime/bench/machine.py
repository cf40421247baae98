"""The machine behind figures, without names of machines or paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ovdeploy", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
            "torch")  # fmt: skip

CPUINFO = Path("/proc/cpuinfo")

SHOWN_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""Instruction sets that decide how fast a product is."""


def machine_facts(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Processor, its instruction sets, cores that may be used, Python and the packages that compute."""
    processor, flags = _processor(cpuinfo)
    facts = {
        "processor": processor or platform.machine(),
        "instructions": " ".join(flag for flag in SHOWN_FLAGS if flag in flags),
        "cores": str(len(os.sched_getaffinity(0))),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
        "python": platform.python_version(),
    }
    facts |= {name: _version(name) for name in PACKAGES}
    return {name: value for name, value in facts.items() if value}


def _processor(cpuinfo: Path) -> tuple[str, set[str]]:
    """Name and flags of the first processor; nothing where they are not told (aarch64 names no model)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return "", set()
    pairs = [line.partition(":") for line in lines]
    found = {key.strip(): value.strip() for key, _, value in reversed(pairs)}  # the first of each remains
    return found.get("model name", ""), set(found.get("flags", found.get("Features", "")).split())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
