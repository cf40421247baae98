"""Runners in processes of their own, and the command."""

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import EngineError
from ovdeploy.runtime.bench.engines import EngineRunner
from ovdeploy.runtime.bench.plan import ProductSpec, RunnerSpec
from ovdeploy.runtime.bench.process import Process
from ovdeploy.runtime.bench.products import Timed
from ovdeploy.runtime.cli import main


def test_a_process_gives_the_masks_of_this_one_and_survives_a_bad_photo(micro_bundle, ort_segmenter, photo, vocabulary):
    expected = ort_segmenter.segment(photo, vocabulary, parameters={"iou_threshold": 0.0})
    spec = RunnerSpec(label="engines", bundle=micro_bundle, backend="onnxruntime", parameters={"iou_threshold": 0.0})
    with Process(spec) as process:
        with pytest.raises(EngineError, match="engines: expected"):
            process.run(photo[None], vocabulary)
        outcome = process.run(photo, vocabulary)
        memory = process.memory()
        words = process.call("embed", ["cup; mug", "table"], None)
    np.testing.assert_array_equal(outcome.mask, expected.mask)
    np.testing.assert_array_equal(outcome.coarse, expected.coarse_mask)
    assert outcome.regions == len(expected.regions) and "total" not in outcome.steps
    assert 0 < sum(outcome.steps.values()) <= outcome.milliseconds and process.opened_ms > 0
    assert 0 < memory.resident <= memory.peak
    assert len(words.embeddings) == 3


def test_a_process_that_dies_is_told(micro_bundle, photo, vocabulary):
    with Process(RunnerSpec(label="engines", bundle=micro_bundle, backend="onnxruntime")) as process:
        os.kill(process._process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="ended with signal 9, which is how a machine without memory"):
            process.run(photo, vocabulary)


def test_a_reply_to_an_interrupted_call_is_not_taken_for_the_next_ones(micro_bundle, photo, vocabulary, monkeypatch):
    with Process(RunnerSpec(label="engines", bundle=micro_bundle, backend="onnxruntime")) as process:
        with monkeypatch.context() as patched:
            patched.setattr(process, "_connection", Interrupted(process._connection))
            with pytest.raises(KeyboardInterrupt):
                process.run(photo, vocabulary)
        os.kill(process._process.pid, signal.SIGINT)  # a terminal sends it to all of a group
        assert process.memory().resident > 0
        assert process.run(photo, vocabulary).mask.shape == photo.shape[:2]


class Interrupted:
    """A connection on which somebody presses Ctrl-C while waiting."""

    def __init__(self, connection):
        self.send = connection.send

    def recv(self):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backend": "onnxruntim"}, "Did you mean 'onnxruntime'"),
        ({"precision": "fp16"}, "fp16"),
        ({"parameters": {"strid": 1}}, "unknown parameter 'strid'"),
    ],
)
def test_what_cannot_be_opened_is_told_in_its_own_words(micro_bundle, changes, told):
    with pytest.raises(EngineError, match=told):
        Process(RunnerSpec(label="engines", bundle=micro_bundle, **changes))


class FakeSegmenter:
    """Results are what it is given for photos."""

    def segment(self, photo, vocabulary):
        return photo

    def segment_many(self, photos, vocabulary, *, parameters=None, workers=None):
        yield from photos


def test_many_gives_the_masks_in_order_and_tells_a_photo_that_failed():
    photos = [SimpleNamespace(mask=np.full(2, number)) for number in range(3)]
    runner = EngineRunner(FakeSegmenter())
    for way in (runner.loop(photos, None), runner.many(photos, None, 2)):
        assert way[0] >= 0 and [int(mask[0]) for mask in way[1]] == [0, 1, 2]
    with pytest.raises(EngineError, match="NaN"):
        runner.many([*photos, EngineError("NaN")], None, 2)


def test_numpys_product_runs_and_has_fp32_alone():
    with Process(ProductSpec(kind="numpy", threads=1)) as process:
        assert process.call("seconds") > 0
    with pytest.raises(EngineError, match="numpy bf16: NumPy has no bf16"):
        Process(ProductSpec(kind="numpy", precision="bf16"))


def test_a_product_is_computed_once_before_it_is_timed():
    log = []
    timed = Timed(lambda: log.append(1))
    assert len(log) == 1 and timed.seconds() >= 0 and len(log) == 4


@pytest.fixture
def numpy_alone(monkeypatch):
    """Of the products NumPy's alone: the others' imports take seconds, and tests/export runs them once."""
    monkeypatch.setattr("ovdeploy.runtime.cli.bench.product_specs", lambda *_: [ProductSpec(kind="numpy")])


def invoke(*arguments):
    result = CliRunner().invoke(main, ["bench", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_command_prints_draws_and_writes(micro_bundle, tmp_path, numpy_alone):
    files = ["--json", tmp_path / "bench.json", "--chart", tmp_path / "bench.png"]
    small = ["--runner", "onnxruntime", "--rounds", "1", "--size", "121x90", "--classes", "cup; mug, table"]
    result = invoke(micro_bundle, *small, *files)
    assert result.exit_code == 0, result.output
    for words in ("photo 121×90", "3 embeddings", "sam_encoder", "TOO NOISY TO JUDGE: 1 rounds", "GFLOP/s"):
        assert words in result.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    (runner,) = found["runners"]
    assert runner["label"] == "onnxruntime fp32" and runner["agreement"] == 1 and runner["steps"]["dino"]["gflop"] > 0
    assert str(tmp_path) not in json.dumps(found), "no machine's paths in what may be published"
    assert Image.open(tmp_path / "bench.png").width == 1000


def test_json_alone_with_random_classes(micro_bundle, numpy_alone):
    options = [
        "--runner",
        "onnxruntime@fp32",
        "--rounds",
        "1",
        "--size",
        "121x90",
        "--class-count",
        "20",
        "--json",
        "-",
    ]
    found = json.loads(invoke(micro_bundle, *options, "--set", "refine=false", "--starts", "2").stdout)
    assert found["queries"] == 20 and found["photo_hw"] == [90, 121]
    (runner,) = found["runners"]
    assert len(runner["cold_starts"]) == 2 and "sam_decoder" not in runner["steps"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--sweep", "size,widows"], 1, "unknown axis 'widows'. Did you mean 'windows'?"),
        (["--size", "12"], 2, "expected WIDTHxHEIGHT"),
        (["--size", "0x5"], 2, "expected WIDTHxHEIGHT"),
        (["--classes", "a", "--class-count", "2"], 2, "exclude each other"),
        (["--runner", "abacus"], 1, "unknown runner 'abacus'"),
        (["--against", "abacus"], 1, "unknown rival 'abacus'"),
        (["--weights", "clip"], 2, "expected ROLE=SOURCE"),
        (["--set", "strid=3"], 1, "unknown parameter 'strid'"),
        (["--runner", "onnxruntime-cuda"], 1, "onnxruntime-cuda fp32: this onnxruntime has no CUDA"),
    ],
)
def test_what_cannot_be_measured_is_told(micro_bundle, arguments, code, told):
    result = invoke(micro_bundle, *arguments)
    assert result.exit_code == code and told in " ".join(result.stderr.split())
