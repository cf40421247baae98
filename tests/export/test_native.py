"""Every precision is run as it is by the backends of this machine: each in a process of its own, for a crash is told.

ONNX Runtime 1.32.0 ended with SIGSEGV on half graphs, and parity, which emulates them, did not see it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.registry import available_backends
from ovdeploy.runtime.stage.precision import FP32, HALF, INT8W

CODE = """
import sys
import numpy as np
from ovdeploy.runtime import EngineError, Segmenter
from ovdeploy.runtime.photo.reading import demo_photo, load_photo

bundle, backend, precision = sys.argv[1:]
try:
    with Segmenter.load(bundle, backend=backend, precision=precision) as segmenter:
        result = segmenter.segment(load_photo(demo_photo()), segmenter.vocabulary(["cup", "table"]))
    print("segmented", np.isfinite(result.scores).all())
except EngineError as error:
    print("refused", error)
"""

HERE = ("openvino", "onnxruntime")
"""Those that run on a CPU; what the others refuse here has tests of its own."""

REFUSED = {("onnxruntime", "bf16"), ("openvino", "int8w")}
"""What a backend does not compute, and says so. (OpenVINO has bf16 where the CPU has it.)"""


@pytest.fixture(scope="module")
def bundle(micro_networks, tmp_path_factory):
    """The smallest models in every precision that is exported."""
    folder = tmp_path_factory.mktemp("native") / "b"
    build_bundle(micro_networks, folder)
    for precision in (*HALF, INT8W):
        build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, precision))
    assert set(Bundle.load(folder).precisions()) == {FP32, *HALF, INT8W}
    return folder


@pytest.mark.parametrize("precision", [FP32, *HALF, INT8W])
@pytest.mark.parametrize("backend", [*(name for name in available_backends() if name in HERE), "emulated"])
def test_every_precision_runs_or_is_refused_in_words(bundle, backend, precision, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, bundle, backend, precision], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OVDEPLOY_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-500:]}"
    told = done.stdout.split()
    if (backend, precision) in REFUSED:
        assert told[0] == "refused" and "take" in done.stdout
    elif (backend, precision) != ("openvino", "bf16"):
        assert told == ["segmented", "True"]
