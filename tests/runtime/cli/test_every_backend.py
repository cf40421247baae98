"""The commands from end to end, each in a process of its own: every backend of a CPU, every precision it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime.backends.registry import available_backends
from support.natives import HERE, PROMISED
from support.samples import draw_photo

MAIN = "from ovdeploy.runtime.cli import main; main()"


@pytest.fixture(scope="module")
def photo_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(draw_photo((90, 121))).save(path)
    return path


def ovdeploy(*arguments, codes=(0,)):
    environment = {**os.environ, "OVDEPLOY_TRIALS": "off"}
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode in codes, f"{arguments}: exit code {done.returncode}: {done.stderr[-800:]}"
    return done.stdout


@pytest.mark.parametrize(("backend", "precision"), PROMISED)
def test_photos_are_segmented_and_prompted(native_bundle, photo_file, tmp_path, backend, precision):
    assert backend in available_backends()
    how = ("--bundle", native_bundle, "--backend", backend, "--precision", precision, "--output", tmp_path, "--json")
    told = json.loads(ovdeploy("segment", photo_file, "--classes", "cup; mug, table", *how))
    assert (told["backend"], told["precision"]) == (backend, precision)
    mask = np.asarray(Image.open(tmp_path / "photo.mask.png"))
    assert mask.shape == (90, 121) and mask.max() < 2
    answer = json.loads(ovdeploy("prompt", photo_file, "--point", "60,40", *how))
    assert len(answer["masks"]) == 3 and answer["schema"] == "ovdeploy/prompt/1" and answer["bundle"]


@pytest.mark.parametrize("backend", HERE)
def test_a_small_bench_runs(native_bundle, backend, tmp_path):
    report = tmp_path / "bench.json"
    ovdeploy("bench", native_bundle, "--runner", backend, "--rounds", "1", "--class-count", "2", "--json", report)
    told = json.loads(report.read_text())
    assert told["runners"] and told["schema"] == "ovdeploy/bench/1"


def test_graphs_are_inspected_and_linted(native_bundle):
    assert set(json.loads(ovdeploy("inspect", native_bundle, "--json"))["stages"]) >= {"dino", "sam_encoder"}
    assert isinstance(json.loads(ovdeploy("lint", native_bundle, "--json", codes=(0, 1))), list | dict)
