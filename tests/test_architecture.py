"""What must hold of the whole: one direction of imports, a complete wheel, a README that runs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import tomllib
from PIL import Image

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.backends.registry import choose_backend
from support.samples import ROOT, draw_photo

FOLDERS = ("runtime", "export", "calib", "engines")
ONNX_TOOLS = ROOT / "runtime" / "graph"
"""The only folder of the runtime that may import onnx; the others import from it inside functions."""

FORBIDDEN = {
    "runtime": ("torch", "onnx", "ovdeploy.export", "ovdeploy.calib"),
    "calib": ("ovdeploy.export",),
    "export": ("ovdeploy.calib",),
}
BLOCK = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {top} or name.startswith(("ovdeploy.export", "ovdeploy.calib")):
            raise ImportError(name + " must not be imported by the runtime")
sys.meta_path.insert(0, Refuse())
""".replace("{top}", repr({"torch", "torchvision", "open_clip", "timm", "segment_anything", "onnx", "safetensors"}))


def python(code: str, *, cwd: Path, path: Path | None = None) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "OVDEPLOY_CACHE": str(cwd / "cache")}
    if path:
        code = f"import sys; sys.path.insert(0, {str(path)!r}); sys.meta_path[:] = [f for f in sys.meta_path if " \
               f"'editable' not in repr(f).lower()]\n{code}"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules(folder: str) -> list[str]:
    package = importlib.import_module(f"ovdeploy.{folder}")
    found = pkgutil.walk_packages(package.__path__, f"ovdeploy.{folder}.")
    return [f"ovdeploy.{folder}", *(info.name for info in found)]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder):
    """Read in the source, imports inside functions included."""
    for path in (ROOT / folder).rglob("*.py"):
        forbidden = [name for name in FORBIDDEN[folder] if not (name == "onnx" and ONNX_TOOLS in path.parents)]
        package = ["ovdeploy", *path.relative_to(ROOT).with_suffix("").parts[:-1]]
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _imported(node, package):
                assert not any(name == f or name.startswith(f"{f}.") for f in forbidden), f"{path}: {name}"


def _imported(node: ast.AST, package: list[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        stem = ".".join([*base, *([node.module] if node.module else [])])
        return [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
    return []


def test_the_runtime_segments_where_torch_cannot_be_imported(micro_bundle, tmp_path, segmenter):
    """Every runtime module is imported and a copied bundle segments a photo: the same mask, byte for byte."""
    photo = draw_photo((90, 121))
    Image.fromarray(photo).save(tmp_path / "photo.png")
    names = [name for name in modules("runtime") if not name.startswith("ovdeploy.runtime.graph.")]
    python(
        f"{BLOCK}\nimport importlib, numpy, shutil\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"from ovdeploy.runtime import Segmenter\n"
        f"shutil.copytree({str(micro_bundle)!r}, 'copied')\n"
        f"with Segmenter.load('copied') as s:\n"
        f"    numpy.save('mask.npy', s.segment('photo.png', s.vocabulary(['cup; mug', 'table'])).mask)\n",
        cwd=tmp_path,
    )
    expected = segmenter.segment(photo, segmenter.vocabulary(["cup; mug", "table"])).mask
    assert np.load(tmp_path / "mask.npy").tobytes() == expected.tobytes()


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT], check=True)
    for left in ("build", "ovdeploy.egg-info"):  # stale, they would shadow the entry points of the installed package
        shutil.rmtree(ROOT / left, ignore_errors=True)
    return next(folder.glob("ovdeploy-*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory) -> Path:
    """The wheel, installed apart."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([*PIP, "install", "--no-deps", "--target", folder, wheel], check=True)
    return folder


def test_the_wheel_holds_every_module(site, tmp_path):
    """Editable installs hide packages that are not listed; so the wheel is built, installed apart and imported."""
    names = sorted(name for folder in FOLDERS for name in modules(folder))
    told = python(
        f"import importlib\nfor name in {names!r}: print(importlib.import_module(name).__file__)\n"
        f"from ovdeploy.runtime import available_recipes\nprint(*available_recipes())\n"
        f"from ovdeploy.runtime.photo.reading import demo_photo\nassert demo_photo().is_file()\n"
        f"from ovdeploy.runtime.datasets import load_spec\nassert len(load_spec('voc21').classes) == 21",
        cwd=tmp_path,
        path=site,
    ).splitlines()
    assert all(line.startswith(str(site)) for line in told[:-1])
    assert told[-1].split() == sorted(path.stem for path in (ROOT / "engines").glob("*.toml"))


def test_every_package_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {
        ".".join(["ovdeploy", *path.parent.relative_to(ROOT).parts])
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert listed == there


def test_the_public_names_exist_and_are_sorted():
    import ovdeploy.runtime as runtime

    assert runtime.__all__ == sorted(runtime.__all__)
    assert all(hasattr(runtime, name) and getattr(runtime, name).__doc__ for name in runtime.__all__)


def test_importing_the_runtime_loads_no_engine_and_no_cli(tmp_path):
    told = python(
        "import sys, ovdeploy.runtime\nprint(*({'onnxruntime', 'openvino', 'rich'} & set(sys.modules)))", cwd=tmp_path
    )
    assert told.split() == []


def test_files_are_small():
    for folder in (*FOLDERS, "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def test_loading_a_segmenter_needs_no_export_extra(micro_bundle):
    with Segmenter.load(micro_bundle) as opened:
        assert opened.backend == choose_backend("auto")


KEPT = (
    *("errors", "scenes", "datasets", "recipe", "bundle", "photo", "overlay", "parameters_file"),
    "cli",
)
"""Paths in runtime/ that users import; their names stay."""

NAMES = {
    "recipe": ("Recipe", "ModelChoice", "load_recipe", "available_recipes", "recipe_from", "with_optional"),
    "bundle": ("Bundle", "Manifest", "StageEntry", "EngineEntry", "PlanEntry", "FileEntry", "Dimensions", "MANIFEST"),
    "photo": ("load_photo", "as_photo", "demo_photo", "resize", "SUFFIXES"),
    "overlay": ("draw_overlay", "palette", "add_legend"),
    "parameters_file": ("load_parameters", "save_parameters", "with_parameters"),
    "cli": ("main",),
    "scenes": ("draw_scene", "ALL_NAMES", "FIRST_TEST_SEED"),
    "datasets": ("load_spec", "available_specs", "Dataset", "FolderDataset", "ScenesDataset"),
    "errors": ("OvdeployError", "BundleError", "EngineError"),
}
PUBLIC = [
    "Bundle",
    "BundleError",
    "DatasetError",
    "EngineError",
    "MissingExtraError",
    "OvdeployError",
    "ParameterError",
    "Parameters",
    "PhotoError",
    "Prompt",
    "PromptError",
    "PromptablePhoto",
    "PromptedMasks",
    "Prompter",
    "Recipe",
    "RecipeError",
    "Region",
    "Result",
    "Segmenter",
    "Vocabulary",
    "VocabularyError",
    "available_recipes",
    "load_parameters",
    "load_photo",
    "load_recipe",
]


@pytest.mark.parametrize("path", KEPT)
def test_the_paths_that_users_import_stay(path):
    module = importlib.import_module(f"ovdeploy.runtime.{path}")
    assert all(hasattr(module, name) for name in NAMES[path])


def test_the_runtime_loses_no_public_name():
    import ovdeploy.runtime as runtime

    assert set(PUBLIC) <= set(runtime.__all__)


GROUPS = {
    "ovdeploy.commands": 18,
    "ovdeploy.pipelines": 5,
    "ovdeploy.methods": 1,
    "ovdeploy.references": 5,
    "ovdeploy.models": 5,
    "ovdeploy.rivals": 2,
    "ovdeploy.runners": 2,
    "ovdeploy.products": 3,
}


@pytest.mark.parametrize("group", GROUPS)
def test_every_entry_point_loads(group):
    ours = [point for point in entry_points(group=group) if point.value.startswith("ovdeploy.")]
    assert len({point.name for point in ours}) == GROUPS[group]
    assert all(point.load() is not None for point in ours)


@pytest.mark.parametrize("module", ["ovdeploy.export.model_table", "ovdeploy.export.tiny.train"])
def test_what_is_run_as_a_module_runs(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


NOT_SHIPPED: dict[str, str] = {}
"""Tracked files of the four folders that are not Python and not in the wheel, each with its reason."""


def tracked(*folders: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return done.stdout.split()


def test_no_file_of_the_package_is_ignored_by_git():
    """What .gitignore hides would never be committed, and be missed by the next clone alone."""
    if not tracked("runtime"):
        pytest.skip("this is no git checkout")
    there = [
        str(path.relative_to(ROOT))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not _is_a_bundles(path)
    ]
    told = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(there),
        capture_output=True,
        text=True,
    )
    assert told.stdout.split() == []
    for name in ("demo", "build", "dist", "site"):  # folders of such names may be packages
        asked = subprocess.run(["git", "check-ignore", "-q", "--no-index", f"runtime/{name}/x.py"], cwd=ROOT)
        assert asked.returncode == 1, f"runtime/{name}/ would be ignored"
    asked = subprocess.run(
        ["git", "check-ignore", "-q", "--no-index", "export/models/miniature/new.safetensors"], cwd=ROOT
    )
    assert asked.returncode == 1


def _is_a_bundles(path: Path) -> bool:
    """Bundles lie in engines/ by default, and are no part of the package."""
    inside = path.relative_to(ROOT).parts
    return inside[0] == "engines" and len(inside) > 2 and inside[1] not in ("datasets", "presets")


def test_every_data_file_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    data = [name for name in tracked(*FOLDERS) if not name.endswith(".py")]
    assert data, "there are recipes, datasets and weights"
    assert [name for name in data if f"ovdeploy/{name}" not in held and name not in NOT_SHIPPED] == []
    assert all(reason for reason in NOT_SHIPPED.values())
