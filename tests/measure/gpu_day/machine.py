"""Readings of the machine: what is installed, the card's memory and power."""

from __future__ import annotations

import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from gpu_day.setting import Setting

PACKAGES = (
    *("ovdeploy", "numpy", "torch", "triton", "timm", "open_clip_torch", "segment-anything", "onnx", "onnxruntime"),
    *("onnxruntime-gpu", "tensorrt", "tensorrt-rtx-cu13-libs", "cuda-bindings", "transformers"),
)


def environment(setting: Setting) -> dict[str, Any]:
    """The machine and what is installed."""
    found = {
        "python": platform.python_version(),
        "cpu": _cpu(),
        "card": _smi("name,driver_version,memory.total,compute_cap"),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    if setting.device == "cuda":
        import torch

        found["torch sees"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
        found["cuda of torch"] = str(torch.version.cuda)
    return found


def free_memory(setting: Setting) -> float:
    """MB of the card that nothing holds; 0 on a CPU."""
    if setting.device != "cuda":
        return 0.0
    import torch

    return float(torch.cuda.mem_get_info()[0]) / 1e6


def power(setting: Setting, run: Callable[[], Any], seconds: float = 1.0) -> float:
    """Mean watts that the card draws while something runs, as nvidia-smi tells; 0 where it tells nothing.

    The runs are other ones than those that are timed: asking costs time.
    """
    if setting.device != "cuda":
        return 0.0
    stop, samples = threading.Event(), []

    def sample() -> None:
        while not stop.wait(0.1):
            value = _smi("power.draw")
            if value.replace(".", "").isdigit():
                samples.append(float(value))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            run()
    finally:
        stop.set()
        thread.join(5)
    return float(np.mean(samples)) if samples else 0.0


def _smi(query: str) -> str:
    if not shutil.which("nvidia-smi"):
        return "no nvidia-smi"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return done.stdout.strip() or done.stderr.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
        )
    except OSError:
        return platform.machine()
