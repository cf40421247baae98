"""Shared fixtures. Small random models for nearly everything; full-size ones only in tests marked `slow`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovdeploy.runtime import Bundle, Segmenter, Vocabulary, load_recipe
from support.samples import ROOT, draw_photo, random_vocabulary

GOLDEN = Path(os.environ.get("OVDEPLOY_GOLDEN", ROOT.parent / "shared" / "golden"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests neither read nor fill the user's cache of embeddings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVDEPLOY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_networks():
    from ovdeploy.export.reference.networks import Networks

    return Networks.load(load_recipe("micro"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the recipe `micro`. Shared: copy it before changing it."""
    from ovdeploy.export.bundling.build import build_bundle

    path = tmp_path_factory.mktemp("bundles") / "tiny"
    build_bundle(tiny_networks, path)
    return path


@pytest.fixture(scope="session")
def complete_bundle(tiny_bundle: Path, tiny_networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all optional stages, which were added afterwards. Shared: copy it before changing it."""
    from ovdeploy.export.bundling.build import build_bundle

    path = tmp_path_factory.mktemp("bundles") / "complete"
    shutil.copytree(tiny_bundle, path)
    build_bundle(tiny_networks, path, stages=[use.name for use in tiny_networks.recipe.uses if use.purpose])
    return path


@pytest.fixture(scope="session")
def training_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for training the miniature models, with twelve scenes in two shards. Shared."""
    from ovdeploy.export.tiny.dataset import draw_shards

    path = tmp_path_factory.mktemp("tiny")
    assert sum(draw_shards(path / "scenes", 12, workers=1, shard=6)) == 12
    return path


@pytest.fixture(scope="session")
def training_scenes(training_folder: Path):
    """Those scenes."""
    from ovdeploy.export.tiny.dataset import Scenes

    return Scenes(training_folder / "scenes", 12, shard=6)


@pytest.fixture(scope="session")
def segmenter(tiny_bundle: Path):
    with Segmenter.load(tiny_bundle) as opened:
        yield opened


@pytest.fixture(scope="session")
def ort_segmenter(tiny_bundle: Path):
    """The same by ONNX Runtime, for what is compared with it to the byte."""
    with Segmenter.load(tiny_bundle, backend="onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="session")
def vocabulary(tiny_bundle: Path) -> Vocabulary:
    """Three classes, one with a synonym, with random unit embeddings."""
    return random_vocabulary(Bundle.load(tiny_bundle).manifest.dimensions.embedding)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """[150, 203, 3] uint8: smooth colours with edges; both sides odd to every patch."""
    return draw_photo((150, 203))


@pytest.fixture(params=[10, 11])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """A machine whose GPU and TensorRT (10 or 11) are fakes; for the tests of TensorRT."""
    from support.tensorrt.world import World, install

    return install(World(request.param), monkeypatch)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """A copy of the tiny bundle, to be changed."""
    shutil.copytree(tiny_bundle, tmp_path / "tiny")
    return Bundle.load(tmp_path / "tiny")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden cases; tests that ask for it are skipped where it is absent."""
    if not (GOLDEN / "coffee.npz").is_file():
        pytest.skip(f"no golden cases at {GOLDEN} (set OVDEPLOY_GOLDEN)")
    return GOLDEN


@pytest.fixture(scope="session")
def golden_weights(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The golden checkpoints, by role."""
    folder = Path(os.environ.get("OVDEPLOY_GOLDEN_WEIGHTS") or tmp_path_factory.mktemp("checkpoints"))
    files = {"clip": folder / "clip.pt", "dino": folder / "dino.pth", "sam": folder / "sam.pth"}
    if not all(path.is_file() for path in files.values()):
        subprocess.run([sys.executable, str(golden / "checkpoints.py"), str(folder)], check=True)
    return {role: str(path) for role, path in files.items()}
