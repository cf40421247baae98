"""Hashing ahead changes who hashes, and nothing else."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from ovdeploy.runtime.bundle import digests
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.bundle.digests import Digests
from ovdeploy.runtime.errors import BundleError
from ovdeploy.runtime.pipelines.engines import Engines


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "engine.onnx"
    path.write_bytes(b"weights")
    return path


def test_each_file_is_hashed_once_ahead(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    true = digests.sha256_of
    monkeypatch.setattr(digests, "sha256_of", lambda path: hashed.append(path) or true(path))
    held = Digests()
    with held.ahead([file, file]):
        assert held.of(file) == held.of(file) == sha256(b"weights")
    assert hashed == [file]
    held.of(file)
    assert hashed == [file, file]  # nothing is remembered afterwards


@pytest.mark.parametrize("content", [b"changed", b"longer than before", b""])
def test_a_file_that_changes_after_it_was_hashed_is_hashed_again(file: Path, content: bytes) -> None:
    held = Digests()
    with held.ahead([file]):
        assert held.of(file) == sha256(b"weights")
        file.write_bytes(content)
        assert held.of(file) == sha256(content)


def test_another_file_of_the_same_size_and_time_is_hashed_again(file: Path, tmp_path: Path) -> None:
    held, other = Digests(), tmp_path / "other"
    with held.ahead([file]):
        held.of(file)
        other.write_bytes(b"WEIGHTS")
        times = os.stat(file)
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.replace(file)
        assert held.of(file) == sha256(b"WEIGHTS")


def test_a_file_that_is_missing_or_vanishes_is_an_error_only_where_it_is_asked_for(file: Path, tmp_path: Path) -> None:
    held = Digests()
    with held.ahead([tmp_path / "none", file]):
        file.unlink()
    with held.ahead([]):
        pass


def test_an_altered_engine_is_refused_when_a_bundle_is_opened(micro_bundle: Path, tmp_path: Path) -> None:
    micro_copy = Bundle.load(shutil.copytree(micro_bundle, tmp_path / "altered"))
    engines = Engines.of(micro_copy, backend="onnxruntime")
    entry = micro_copy.stage("dino").engines["fp32"].files[0]
    path = micro_copy.path / entry.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        engines.open(["clip_image", "dino"])
    engines.close()
