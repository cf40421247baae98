"""The machine behind figures, without names of machines or paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..backends.cpu import this_processor
from ..stage.precision import FP32

PACKAGES = ("ovdeploy", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
            "torch")  # fmt: skip


def machine_facts(cpuinfo: Path | None = None) -> dict[str, str]:
    """Processor, its instruction sets, cores that may be used, Python and the packages that compute."""
    processor = this_processor(cpuinfo)
    facts = {
        "processor": processor.name or platform.machine(),
        "instructions": processor.shown,
        "fastest precisions": ", ".join((*processor.native, FP32)),
        "cores": str(len(os.sched_getaffinity(0))),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
        "python": platform.python_version(),
    }
    facts |= {name: _version(name) for name in PACKAGES}
    return {name: value for name, value in facts.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
