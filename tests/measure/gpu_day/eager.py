"""PyTorch's own modules on the device, eager and compiled, each as the other runners are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gpu_day.machine import free_memory, power
from gpu_day.setting import DEVICE, RUNS, Setting, networks_of, so_far, told
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from support.devices import torch_run, usual_feeds

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def eager(setting: Setting, precision: str, compiled: bool = False) -> dict[str, Any]:
    """Latency, memory and power of every stage."""
    networks = networks_of(setting)
    rows = []
    for stage in networks.recipe.stages:
        feeds = usual_feeds(networks.contract(stage))
        try:
            before = free_memory(setting)
            run = module_run(networks, setting, stage, feeds, precision, compiled)
            run()
            times = summarize(timed_runs(run, RUNS[setting.size]), DEVICE, stage)
            taken, watts = before - free_memory(setting), power(setting, run)
        except Exception as error:  # a compiler may raise anything; the report says what
            rows.append({"stage": stage, "refused": f"{type(error).__name__}: {error}"[:300]})
            continue
        rows.append({"stage": stage, "times": told(times), "memory": taken, "power": watts})
        so_far(rows, DEVICE)
        del run
        if setting.device == "cuda":
            torch.cuda.empty_cache()
    return {"rows": rows, "boundary": DEVICE}


def module_run(
    networks: Any, setting: Setting, stage: str, feeds: Any, precision: str, compiled: bool = False
) -> Callable[[], Any]:
    """A function that runs a stage's module once, in true FP32 where that is asked for, synchronised at the end."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    module = networks.modules[stage]
    return torch_run(torch.compile(module) if compiled else module, feeds, setting.device, DTYPES[precision])


def reference_outputs(networks: Any, setting: Setting, stage: str, feeds: Any) -> list[np.ndarray]:
    """A stage's outputs in FP32, on the host."""
    outputs = module_run(networks, setting, stage, feeds, "fp32")()
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [output.float().cpu().numpy() for output in outputs]
