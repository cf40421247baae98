"""Every precision is run as it is by the backends of this machine: each in a process of its own, for a crash is told.

ONNX Runtime 1.32.0 ended with SIGSEGV on half graphs, and parity, which emulates them, did not see it. What has run is
what `tried.TRIED` says of the installed versions.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.backends.registry import available_backends
from ovdeploy.runtime.backends.tried import TRIED, library_version
from support.natives import BY_CPU, HERE, PRECISIONS, REFUSED

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


def kinds_of(bundle, precision):
    engines = [entry.engines[entry.resolved(precision)] for entry in bundle.manifest.stages.values()]
    return {precision}.union(*(engine.census.weights for engine in engines))


@pytest.mark.parametrize("backend", [*(name for name in available_backends() if name in HERE), "emulated"])
def test_every_precision_runs_or_is_refused_in_words(native_bundle, backend, tmp_path):
    """All of a backend's in one test, so that what has run is known at its end."""
    bundle = Bundle.load(native_bundle)
    assert set(PRECISIONS) <= set(bundle.precisions())
    ran: dict[str, set[str]] = {}
    for precision in PRECISIONS:
        told = segmented(native_bundle, backend, precision, tmp_path)
        if (backend, precision) in REFUSED:
            assert told.startswith("refused") and "take" in told
        elif (backend, precision) not in BY_CPU or told.startswith("segmented"):
            assert told.split() == ["segmented", "True"], told
            ran[precision] = kinds_of(bundle, precision)
    if backend in TRIED:
        holds_what_ran(backend, set().union(*ran.values()))


def segmented(bundle, backend, precision, folder):
    done = subprocess.run(
        [sys.executable, "-c", CODE, bundle, backend, precision], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OVDEPLOY_CACHE": str(folder), "OVDEPLOY_TRIALS": "off"},
    )  # fmt: skip
    assert done.returncode == 0, f"{backend} in {precision}: exit code {done.returncode}: {done.stderr[-500:]}"
    return done.stdout


def holds_what_ran(backend, kinds):
    """The table's row of the installed version says what has run, neither more nor less."""
    version, by_cpu = library_version(backend), {precision for name, precision in BY_CPU if name == backend}
    row = set(TRIED[backend].get(version, ()))
    assert row - kinds <= by_cpu and kinds - by_cpu <= row, (
        f"{backend} {version} has run {tuple(sorted(kinds))}; runtime/backends/tried.py says {tuple(sorted(row))}"
    )
