"""`ovdeploy profile`: trtexec's lines and files (written after the documented formats; trtexec was not run), and the
profilers of OpenVINO and ONNX Runtime, which run here."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Bundle, EngineError
from ovdeploy.runtime.backends.measures import example_feeds, ranked, summarize
from ovdeploy.runtime.backends.onnxruntime.profiling import node_times
from ovdeploy.runtime.backends.openvino.profiling import operation_times
from ovdeploy.runtime.backends.registry import choose_backend
from ovdeploy.runtime.backends.tensorrt import trtexec
from ovdeploy.runtime.backends.tensorrt.layers import layers_by_precision, parse_layers
from ovdeploy.runtime.backends.tensorrt.trtexec_results import parse_profile, parse_times, read_results
from ovdeploy.runtime.cli import main
from support.bundles import engine_file

FIXTURES = Path(__file__).parent / "trtexec"

PROGRAM = """#!{python}
import os, pathlib, shutil, sys
KNOWN = {{"device", "onnx", "loadEngine", "stronglyTyped", "noTF32", "minShapes", "optShapes", "maxShapes", "shapes",
    "useCudaGraph", "noDataTransfers", "useSpinWait", "separateProfileRun", "iterations", "profilingVerbosity",
    "exportTimes", "exportProfile", "exportLayerInfo"}}
given = dict(argument[2:].partition("=")[::2] for argument in sys.argv[1:])
assert set(given) <= KNOWN, set(given) - KNOWN
source = given.get("onnx") or given["loadEngine"]
assert pathlib.Path(source).is_file(), source
if os.environ.get("FAIL"):
    print("[I] all the rest")
    print("[E] Error[10]: could not find any implementation for node")
    sys.exit(1)
for kind, key in (("times", "exportTimes"), ("profile", "exportProfile"), ("layers", "exportLayerInfo")):
    shutil.copy(pathlib.Path({fixtures!r}) / (kind + ".json"), given[key])
with open({log!r}, "a") as log:
    print(*sys.argv[1:], sep="\\n", file=log)
"""


def read(version, kind):
    return (FIXTURES / version / f"{kind}.json").read_text(encoding="utf-8")


@pytest.fixture
def own(micro_bundle, tmp_path):
    """A copy of the tiny bundle in a folder whose name a shell would stumble over."""
    path = tmp_path / "it's a $HOME; bundle"
    shutil.copytree(micro_bundle, path)
    return path


@pytest.fixture(params=["10", "11"])
def installed(request, tmp_path, monkeypatch):
    """A trtexec on the PATH that knows the flags of both versions and leaves the fixtures of one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "trtexec"
    log = tmp_path / "log"
    program.write_text(PROGRAM.format(python=sys.executable, fixtures=str(FIXTURES / request.param), log=str(log)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return request.param, log


def invoke(*arguments):
    result = CliRunner().invoke(main, ["profile", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("version", "expected"), [("10", [2.0, 2.125, np.nan, 2.25, 4.5]), ("11", [1.0, 1.5, np.nan, 2, 1.25])]
)
def test_times_are_read_nan_included(version, expected):
    np.testing.assert_array_equal(parse_times(read(version, "times")), expected)


def test_names_that_are_not_escaped_are_read_whole():
    old, new = (parse_profile(read(version, "profile")) for version in ("10", "11"))
    assert [row.name for row in old] == [
        "Reformatting CopyNode for Input Tensor 0 to {ForeignNode[/a/Cast.../b/MatMul]}",
        "{ForeignNode[onnx::MatMul_12 + (Unnamed Layer* 5) [Shuffle].../blocks.0/Add]}",
        '/neck/"conv"/Conv',
        "C:\\models\\new + /t\tab",
    ]
    np.testing.assert_array_equal([row.average_ms for row in old], [0.11, 1.5, 0.39, np.nan])
    assert [row.name for row in new][1] == '__mye123_"quoted", "timeMs"_myl0_1'
    assert [row.average_ms for row in new] == [0.1, 0.8, 0.1]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("10", ["fp16", "fp16", "fp16", "fp32"]), ("11", ["fp16", "fp16", "bf16"])],
)
def test_precisions_of_layers_are_read_in_both_versions_words(version, expected):
    assert [layer.precision for layer in parse_layers(read(version, "layers"))] == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ('{"Layers": ["a", "b"], "Bindings": []}', {"unknown": 2}),
        ('{"Layers": []}', {}),
        ('{"Layers": [{"Name": "a", "Outputs": []}]}', {"unknown": 1}),
        ('{"Layers": [{"Name": "a", "Outputs": ["x"]}]}', {"unknown": 1}),
        (
            '{"Layers": [{"Name": "a", "Outputs": [{"Format/Datatype": "Thirty-two wide channel vectorized INT8"}]}]}',
            {"int8": 1},
        ),
        ('{"Layers": [{"Name": "a", "Outputs": [{"DataType": "BFloat16", "Format": "FP32"}]}]}', {"bf16": 1}),
        ('{"Layers": [{"Name": "a\\q", "Outputs": [{"DataType": "Int32"}]}]}', {"int32": 1}),
    ],
)
def test_layers_of_any_verbosity_are_counted(told, expected):
    assert layers_by_precision(told) == expected


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"Layers": 3}', "{"])
def test_what_is_no_layer_information_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 — json's own is one
        parse_layers(text)


@pytest.mark.parametrize("text", ["", "{}", "[]", '[{"name": "a"}]', '[{"count": 1}, {"name": "a", "averageMs": }]'])
def test_what_is_no_profile_is_refused(text):
    with pytest.raises(ValueError, match=r"count|read"):
        parse_profile(text)


@pytest.mark.parametrize("version", ["10", "11"])
def test_files_become_a_profile_with_the_slowest_layers_first(version):
    paths = {kind: FIXTURES / version / f"{kind}.json" for kind in trtexec.KINDS}
    came = read_results(paths, "clip_image", "fp16", "trtexec", {"B": 8})
    assert (came.times.runs, came.times.dropped) == (4, 1)
    assert sum(layer.share for layer in came.layers) == pytest.approx(1)
    assert [layer.ms for layer in came.layers] == sorted((layer.ms for layer in came.layers), reverse=True)
    if version == "10":
        assert came.times.p50 == pytest.approx((2.125 + 2.25) / 2) and came.times.max == 4.5
        assert came.layers[0].kind == "Myelin" and came.layers[1].name == '/neck/"conv"/Conv'
        assert came.precisions() == pytest.approx({"fp16": 1.0, "fp32": 0.0})
    else:
        assert came.layers[0].kind == "gemm"
        assert came.precisions() == pytest.approx({"fp16": 0.9, "unknown": 0.1})


def test_a_file_that_is_missing_or_something_else_is_told(tmp_path):
    paths = {kind: FIXTURES / "10" / f"{kind}.json" for kind in trtexec.KINDS}
    with pytest.raises(EngineError, match="has left no"):
        read_results({**paths, "times": tmp_path / "none.json"}, "head", "fp32", "", {})
    with pytest.raises(EngineError, match="is not what trtexec 10 or 11 writes"):
        read_results({**paths, "times": paths["profile"]}, "head", "fp32", "", {})


def test_percentiles_need_a_number():
    with pytest.raises(EngineError, match="head: none of 2 runs"):
        summarize([np.nan, np.inf], "", "head")
    with pytest.raises(EngineError, match="none of 0 runs"):
        summarize([], "", "head")
    assert ranked([("a", "k", "fp32", np.nan)])[0].share == 0 and ranked([]) == ()


def line(bundle, stage, **changes):
    contract = bundle.stage(stage).contract
    ranges = bundle.ranges()
    how = {
        "source": Path(f"{stage}.onnx"), "contract": contract, "ranges": ranges,
        "sizes": {axis: usual for axis, (_, usual, _) in ranges.items()},
        "results": trtexec.result_paths(Path("out"), stage, "fp32"), "iterations": 7,
    }  # fmt: skip
    return trtexec.command(**{**how, **changes})


def test_the_command_has_shapes_timing_flags_and_strong_typing(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    side, batch = bundle.recipe.parameters.crop, bundle.recipe.parameters.window_batch
    assert line(bundle, "dino", device=1) == [
        "trtexec", "--device=1", "--onnx=dino.onnx", "--stronglyTyped", "--noTF32",
        f"--minShapes=windows:1x3x{side}x{side}", f"--optShapes=windows:{batch}x3x{side}x{side}",
        f"--maxShapes=windows:{batch}x3x{side}x{side}", f"--shapes=windows:{batch}x3x{side}x{side}",
        "--useCudaGraph", "--noDataTransfers", "--useSpinWait", "--separateProfileRun",
        "--iterations=7", "--profilingVerbosity=detailed",
        "--exportTimes=out/dino.fp32.times.json", "--exportProfile=out/dino.fp32.profile.json",
        "--exportLayerInfo=out/dino.fp32.layers.json",
    ]  # fmt: skip


def test_a_plan_is_loaded_and_a_stage_of_fixed_shapes_needs_none(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    loaded = line(bundle, "dino", source=Path("dino.plan"))
    assert "--loadEngine=dino.plan" in loaded and "--stronglyTyped" not in loaded
    assert [argument.partition("=")[0] for argument in loaded if "hapes" in argument] == ["--shapes"]
    assert not [argument for argument in line(bundle, "sam_encoder") if "hapes" in argument]


def test_inputs_of_one_shape_agree_in_every_dynamic_input(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    (shapes,) = [argument for argument in line(bundle, "head") if argument.startswith("--shapes")]
    names = [entry.partition(":")[0] for entry in shapes.removeprefix("--shapes=").split(",")]
    assert names == ["window_features", "embeddings", "row_weights", "column_weights"], "the affinity's shape is fixed"


def test_a_dry_run_prints_the_commands_and_leaves_nothing(own):
    before = sorted(own.iterdir())
    result = invoke(own, "--dry-run", "--stages", "dino,head", "--size", "B=2")
    lines = [shlex.split(printed) for printed in result.stdout.splitlines()]
    assert [words[0] for words in lines] == ["trtexec", "trtexec"]
    assert f"--onnx={engine_file(own, 'dino')}" in lines[0]
    side = Bundle.load(own).recipe.parameters.crop
    assert f"--shapes=windows:2x3x{side}x{side}" in lines[0]
    assert sorted(own.iterdir()) == before


def test_trtexec_is_run_for_every_stage_and_its_files_are_shown_and_kept(own, installed):
    version, log = installed
    result = invoke(own, "--stages", "dino,sam_decoder", "--top", "1")
    assert result.exit_code == 0, result.output
    given = log.read_text().splitlines()
    assert sum(argument.startswith("--onnx=") for argument in given) == 2
    for flag in (*trtexec.COMPARABLE, "--stronglyTyped"):
        assert given.count(flag) == 2
    for words in ("dino", "sam_decoder", "p50", "p99", "4 runs, 1 without a time", "trtexec, graph"):
        assert words in result.stdout
    assert ("fp16 100%, fp32 0%" if version == "10" else "fp16 90%, unknown 10%") in result.stdout
    kept = {path.name for path in (own / "profile").iterdir()}
    assert {f"dino.fp32.{kind}.json" for kind in trtexec.KINDS} | {"dino.fp32.trtexec.summary.json"} <= kept
    again = json.loads(invoke(own, "--stages", "dino", "--read", "--json").stdout)
    assert [entry["stage"] for entry in again] == ["dino"] and again[0]["times"]["runs"] == 4


def test_a_failing_trtexec_is_told_with_its_error_and_the_command(own, installed, monkeypatch):
    monkeypatch.setenv("FAIL", "1")
    result = invoke(own, "--stages", "dino")
    assert result.exit_code == 1
    for words in ("dino: trtexec ended with 1", "could not find any implementation", "--onnx="):
        assert words in result.stderr
    assert "all the rest" not in result.stderr
    with pytest.raises(EngineError, match="cannot be started"):
        trtexec.run([str(own / "nothing")], "dino")


def test_the_script_needs_only_trtexec_and_survives_odd_names(own, installed):
    """Written beside the bundle, copied with it, and run by a plain shell without Python's help."""
    _, log = installed
    invoke(own, "--stages", "dino,head")
    shutil.rmtree(own / "profile")
    log.unlink()
    moved = own.parent / 'another "place" `echo no`'
    own.rename(moved)
    script = moved / "profile.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    assert "python" not in script.read_text() and "ovdeploy " in script.read_text()
    subprocess.run([str(script)], check=True, cwd="/")
    sources = [argument for argument in log.read_text().splitlines() if argument.startswith("--onnx=")]
    assert sources == [f"--onnx={engine_file(moved, stage).name}" for stage in ("dino", "head")]
    assert json.loads(invoke(moved, "--stages", "head", "--read", "--json").stdout)[0]["stage"] == "head"


def test_the_script_stops_at_the_first_error(own, installed, monkeypatch):
    invoke(own, "--stages", "dino,head")
    monkeypatch.setenv("FAIL", "1")
    assert subprocess.run([str(own / "profile.sh")], capture_output=True).returncode == 1


@pytest.mark.parametrize(
    ("by", "kind", "who"),
    [("onnxruntime", "MatMul", "CPUExecutionProvider"), ("openvino", "FullyConnected", "OpenVINO")],
)
def test_without_trtexec_a_backend_measures_in_the_same_table(own, monkeypatch, by, kind, who):
    pytest.importorskip(by)
    monkeypatch.setenv("TRTEXEC", "no-such-trtexec")
    sizes = ("--size", "Q=3", "--size", "B=1")
    result = invoke(own, "--by", by, "--stages", "dino,head", "--iterations", "2", "--top", "9", *sizes)
    assert result.exit_code == 0, result.output
    for words in ("dino", "head", "p50", "(2 runs", "time by precision: fp32", kind, who):
        assert words in result.stdout
    told = json.loads((own / "profile" / f"head.fp32.{by}.summary.json").read_text())
    assert told["sizes"]["Q"] == 3 and told["layers"] and told["times"]["runs"] == 2
    assert sum(layer["share"] for layer in told["layers"]) == pytest.approx(1)


def test_the_backend_that_segments_measures_if_nobody_is_named(own, monkeypatch):
    monkeypatch.setenv("TRTEXEC", "no-such-trtexec")
    result = invoke(own, "--stages", "head", "--iterations", "1")
    assert result.exit_code == 0, result.output
    assert (own / "profile" / f"head.fp32.{choose_backend('auto')}.summary.json").is_file()


def test_operations_of_openvino_are_averaged_over_runs():
    class Status(Enum):
        NOT_RUN, EXECUTED = 0, 2

    def operation(name, kernel, ms, status=Status.EXECUTED):
        told = {"node_name": name, "node_type": "FullyConnected", "exec_type": kernel, "status": status}
        return SimpleNamespace(**told, Status=Status, real_time=timedelta(milliseconds=ms))

    first = [operation("a", "brgemm_avx2_f32", 4), operation("b", "jit_i8", 1), operation("c", "", 9, Status.NOT_RUN)]
    assert operation_times([first, [operation("a", "brgemm_avx2_f32", 2)]]) == [
        ("a", "FullyConnected", "fp32", 3.0),
        ("b", "FullyConnected", "int8", 0.5),
    ]


def test_asking_for_trtexec_where_there_is_none_is_an_error(own, monkeypatch):
    monkeypatch.setenv("TRTEXEC", "no-such-trtexec")
    result = invoke(own, "--by", "trtexec")
    assert result.exit_code == 1 and "TRTEXEC" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stages", "nose"], "holds no nose stage"),
        (["--precision", "fp16"], "unknown precision 'fp16'"),
        (["--size", "Z=1"], "unknown axis 'Z'"),
        (["--source", "plan", "--dry-run"], "there is no plan of text_encoder"),
        (["--read"], "has left no"),
    ],
)
def test_what_cannot_be_profiled_is_told(own, arguments, told):
    result = invoke(own, *arguments)
    assert result.exit_code == 1 and told in result.stderr


def test_a_size_outside_the_recipes_range_widens_what_trtexec_builds_for(own):
    (printed,) = invoke(own, "--dry-run", "--stages", "head", "--size", "Q=5000").stdout.splitlines()
    length = Bundle.load(own).manifest.dimensions.embedding
    for which in ("--maxShapes", "--shapes"):
        (shapes,) = [argument for argument in shlex.split(printed) if argument.startswith(which)]
        assert f"embeddings:5000x{length}" in shapes


def test_nodes_are_summed_by_name_and_told_by_their_type():
    product = {"op_name": "MatMul", "output_type_shape": [{"float16": [1]}]}
    events = [
        {"cat": "Node", "name": "a_kernel_time", "dur": 1000, "args": product},
        {"cat": "Node", "name": "a_kernel_time", "dur": 3000, "args": product},
        {"cat": "Node", "name": "a_fence_before", "dur": 9000, "args": {}},
        {"cat": "Node", "name": "b_kernel_time", "dur": 500, "args": {"op_name": "Shape", "output_type_shape": []}},
        {"cat": "Session", "name": "model_run", "dur": 99, "args": {}},
    ]
    assert node_times(events, 2) == [("a", "MatMul", "fp16", 2.0), ("b", "Shape", "unknown", 0.25)]


def test_example_inputs_fit_the_contracts(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    sizes = {axis: usual for axis, (_, usual, _) in bundle.ranges().items()}
    for entry in bundle.manifest.stages.values():
        entry.contract.check_feeds(example_feeds(entry.contract, sizes))
    head = example_feeds(bundle.manifest.stages["head"].contract, sizes)
    for name in ("row_weights", "column_weights", "affinity"):  # else a head in half precision overflows
        assert np.allclose(head[name].sum(axis=tuple(range(1, head[name].ndim))), 1)
    assert np.allclose(np.linalg.norm(head["embeddings"], axis=1), 1)
