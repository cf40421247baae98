"""On a real GPU: ONNX Runtime's CUDA provider against PyTorch, stage by stage, `trident-b16` at full size.

    OVDEPLOY_GPU_REPORT=report.json pytest -m gpu tests/export/test_gpu.py

Parity is asserted; latency is reported, device-resident on both sides: from arrays on the GPU to arrays on the GPU,
synchronised at both ends. Skipped without a GPU that both PyTorch and ONNX Runtime can use, and so it has not run where
this was written; the lines that measure run everywhere, on the tiny bundle and the CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.backends.measures import summarize, timed_runs
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.photo.reading import demo_photo
from support.devices import resident_run, torch_run, usual_feeds

WEIGHTS = {"clip": "random:1", "dino": "random:2", "sam": "random:3"}
HALF_COSINE, HALF_LABELS = 0.999, 0.99
"""What half precision must keep of a stage's outputs, and of the pixels' labels (the issue's own figures)."""


def cuda_is_here() -> bool:
    import onnxruntime

    return torch.cuda.is_available() and "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def timed(run, repeats, stage, what):
    for _ in range(repeats // 5 - 1):  # `timed_runs` has one more that is not timed
        run()
    return summarize(timed_runs(run, repeats), what, stage)


def compare(bundle, networks, backend, device, dtype, repeats, precisions):
    """Latency of every stage by precision, and of PyTorch's module in `dtype`."""
    rows = []
    for stage in bundle.manifest.stages:
        feeds = usual_feeds(bundle.stage(stage).contract)
        row = {"stage": stage, "sizes": bundle.stage(stage).contract.check_feeds(feeds)}
        for precision in precisions:
            if precision in bundle.stage(stage).engines:
                with open_stage(bundle, stage, precision, backend) as session:
                    row[precision] = timed(resident_run(session, feeds), repeats, stage, backend).p50
        run = torch_run(networks.modules[stage], feeds, device, dtype)
        row[f"torch {dtype}".replace("torch.", "")] = timed(run, repeats, stage, "PyTorch").p50
        rows.append(row)
    return rows


def test_the_lines_that_measure_run_here_too(micro_bundle):
    """On the CPU and the tiny models: only that they run, in PyTorch's half precision too. No time is asserted."""
    from ovdeploy.export.reference.networks import Networks

    networks = Networks.load(load_recipe("micro"))  # our own: they are cast
    rows = compare(Bundle.load(micro_bundle), networks, "onnxruntime", "cpu", torch.float16, 1, ["fp32", "fp16"])
    assert [row["stage"] for row in rows] == list(Bundle.load(micro_bundle).manifest.stages)
    assert all(row["fp32"] > 0 and row["torch float16"] > 0 for row in rows)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not cuda_is_here(), reason="needs a GPU, PyTorch with CUDA and onnxruntime-gpu")
def test_cuda_agrees_with_pytorch_and_its_latency_is_reported(tmp_path, capsys):
    from ovdeploy.export.bundling.build import build_bundle
    from ovdeploy.export.parity.check import check_parity
    from ovdeploy.export.reference.networks import Networks

    networks = Networks.load(load_recipe("trident-b16"), WEIGHTS)
    given = os.environ.get("OVDEPLOY_GPU_BUNDLE")  # one that has half precision too, if there is one
    path = Path(given) if given else tmp_path / "trident-b16"
    if not given:
        build_bundle(networks, path)
    bundle = Bundle.load(path)
    failed = []
    for precision in bundle.precisions():
        for check in check_parity(bundle, networks, demo_photo(), backend="onnxruntime-cuda", precision=precision):
            half_passes = (
                check.measures.get("cosine", 1) >= HALF_COSINE and check.measures.get("agreement", 1) >= HALF_LABELS
            )
            if not (check.passed if precision == "fp32" else half_passes):
                failed.append((precision, check))
    rows = compare(bundle, networks, "onnxruntime-cuda", "cuda", torch.float16, 50, bundle.precisions())
    report = {"gpu": torch.cuda.get_device_name(), "boundary": "device to device, synchronised, p50 ms", "stages": rows}
    with capsys.disabled():
        print(json.dumps(report, indent=1))
    if target := os.environ.get("OVDEPLOY_GPU_REPORT"):
        Path(target).write_text(json.dumps(report))
    assert failed == []
