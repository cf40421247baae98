"""The real bindings of TensorRT 10.16 and 11.4, TensorRT-RTX 1.7 and cuda-python have all that the code uses.

TensorRT's bindings are imported over three empty libraries, compiled here, so neither TensorRT nor a GPU is needed. The
chain of proof: what the real bindings have = `surface.json` (here); what the fake accepts = `surface.json`
(`recording.py`); the code runs on the fake to the end (`test_plans.py`, `test_session.py`, `test_rtx.py`), and every
name in its source that is TensorRT's is one that all have (here), but for those in the file of one library.

`PYTHONPATH=tests python PATH` with this file's path writes `surface.json` again.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.samples import ROOT
from support.tensorrt.sources import OURS, attributes, names_of, sources

HERE = ROOT / "tests" / "support" / "tensorrt"
KEPT = HERE / "surface.json"
BINDINGS = {"tensorrt10": "10.16.1.11", "tensorrt11": "11.4.0.106"}
SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)
"""What the bindings take from TensorRT's libraries."""


def read_surface(version: str, folder: Path) -> dict:
    """The surface of the real bindings of a version; skips the test where they or a compiler cannot be had."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make empty libraries with")
    libraries = folder / "libraries"
    libraries.mkdir(parents=True, exist_ok=True)
    (folder / "empty.c").write_text("\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in SYMBOLS))
    for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        soname = f"lib{name}.so.{version.split('.')[0]}"
        target = libraries / soname
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", target, folder / "empty.c"], check=True
        )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(bindings(version, folder))}
    return surface_of("tensorrt_bindings", environment)


def bindings(version: str, folder: Path) -> Path:
    """The bindings' wheel, unpacked; downloaded the first time."""
    site = folder / "site"
    if not (site / "tensorrt_bindings").is_dir():
        wheels = folder / "wheels"
        name = f"tensorrt-cu13-bindings=={version}"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", wheels]
        done = subprocess.run([*pip, name], capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"{name} cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            wheel.extractall(site)
    return site


def surface_of(module: str, environment: dict[str, str]) -> dict:
    done = subprocess.run(
        [sys.executable, HERE / "surface.py", module], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def kept() -> dict:
    return json.loads(KEPT.read_text())


RTX = "tensorrt-rtx"
ALL = (*BINDINGS, RTX)


@pytest.mark.parametrize("which", BINDINGS)
def test_the_kept_surface_is_that_of_the_real_bindings(which, kept, pytestconfig):
    folder = Path(pytestconfig.cache.mkdir("tensorrt-bindings")) / f"{BINDINGS[which]}-{sys.version_info.minor}"
    real = read_surface(BINDINGS[which], folder)
    assert real["version"] == kept[which]["version"] == BINDINGS[which]
    for name, surface in kept[which]["classes"].items():
        assert real["classes"][name] == surface, f"{name} has changed; write surface.json again"
    assert set(real["classes"]) == set(kept[which]["classes"])


def test_the_kept_surface_of_cuda_python_is_the_real_one(kept):
    pytest.importorskip("cuda.bindings.runtime")
    real = surface_of("cuda.bindings.runtime", dict(os.environ))
    assert real["functions"] == kept["cuda"]["functions"]
    assert real["properties"] == kept["cuda"]["properties"] == ["major", "minor", "name"]
    for name, members in kept["cuda"]["enums"].items():  # newer versions add members
        assert members.items() <= real["enums"][name].items()


def test_the_kept_surface_of_tensorrt_rtx_is_the_real_one(kept):
    pytest.importorskip("tensorrt_rtx_bindings")
    real = surface_of("tensorrt_rtx_bindings", dict(os.environ))
    for name, surface in kept[RTX]["classes"].items():
        assert real["classes"][name] == surface, f"{name} has changed; write surface.json again"
    assert set(real["classes"]) == set(kept[RTX]["classes"])


@pytest.mark.parametrize("which", ALL)
def test_no_name_is_used_that_a_library_lacks(which, kept):
    own, others = names_of(kept[which]), {name for other in ALL for name in names_of(kept[other])}
    used = {name: path.name for path in sources(which) for name in attributes(path)}
    assert {name: used[name] for name in set(used) & (others - own) - OURS} == {}
    assert len(set(used) & own) > 40, "the walk must find what the code uses"


@pytest.mark.parametrize("which", ALL)
def test_every_attribute_of_the_module_is_in_the_library(which, kept):
    """`trt.X` and `trt.X.Y`, wherever they stand, in lines that no test reaches too."""
    for path in sources(which):
        for node in ast.walk(ast.parse(path.read_text())):
            chain = _chain(node)
            if len(chain) < 2 or chain[0] != "trt" or chain[1] == "__version__":
                continue
            spec = kept[which]["classes"].get(chain[1])
            assert spec is not None, f"{path.name}: trt.{chain[1]} is not in {which}"
            known = {*spec["members"], *spec["methods"], *spec["constants"]}
            assert len(chain) < 3 or chain[2] in known, f"{path.name}: trt.{'.'.join(chain[1:])} is not in {which}"


def _chain(node: ast.AST) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return [node.id, *parts]
    return ["trt", *parts[1:]] if parts and parts[0] == "_trt" else []


def test_levels_of_hardware_compatibility_are_tensorrts(kept):
    from ovdeploy.runtime.backends.tensorrt.options import HARDWARE

    for which in BINDINGS:
        assert set(HARDWARE.values()) <= set(kept[which]["classes"]["HardwareCompatibilityLevel"]["members"])


def test_the_words_for_targets_strategies_and_verdicts_are_tensorrt_rtxs(kept):
    from ovdeploy.runtime.backends.registry import BACKENDS
    from ovdeploy.runtime.backends.tensorrt import rtx
    from ovdeploy.runtime.backends.tensorrt.targets import TAKES, TARGETS, USUAL

    classes, options = kept[RTX]["classes"], BACKENDS[RTX].options
    names = {name.upper() for name in TARGETS if name != USUAL}
    assert names == set(classes["ComputeCapability"]["members"]) - {"NONE"} and set(TAKES) == set(TARGETS)
    assert set(rtx.STRATEGIES) == set(options[rtx.GRAPHS])
    assert set(rtx.STRATEGIES.values()) == set(classes["CudaGraphStrategy"]["members"])
    specializations = classes["DynamicShapesKernelSpecializationStrategy"]["members"]
    assert {name.upper() for name in options[rtx.SPECIALIZATION]} == set(specializations)
    assert rtx.KEPT in options and rtx.INVALID.keys() == {1, 2, 4, 8, 16, 32, 64}


def test_every_cuda_function_in_the_source_is_kept(kept):
    used = {name for path in sources(RTX) for name in attributes(path) if name.startswith("cuda") and name != "cuda"}
    members = {member for enum in kept["cuda"]["enums"].values() for member in enum}
    assert (
        used - set(kept["cuda"]["functions"]) - set(kept["cuda"]["enums"]) - members - {"cuda_graph_strategy"} == set()
    )
    assert len(used) > 20


if __name__ == "__main__":
    cache = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(".pytest_cache/d/tensorrt-bindings")
    written = {
        which: read_surface(version, cache / f"{version}-{sys.version_info.minor}")
        for which, version in BINDINGS.items()
    }
    written[RTX] = surface_of("tensorrt_rtx_bindings", dict(os.environ))
    written["cuda"] = surface_of("cuda.bindings.runtime", dict(os.environ))
    KEPT.write_text(json.dumps(written, sort_keys=True, separators=(",", ":")) + "\n")
