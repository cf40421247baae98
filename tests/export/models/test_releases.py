"""Weights of releases: fetched once, gone on with where the download broke off, and never another file."""

from __future__ import annotations

import pytest
import torch

from ovdeploy.export.models import sam
from ovdeploy.export.models.checkpoints.releases import release_file
from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.recipe.recipe import ModelChoice
from support.mirror import Mirror, digest_of, ground, serving

PUBLISHED = "/dl.fbaipublicfiles.com/segment_anything/sam_micro_{}.pth"
URL = "https://dl.fbaipublicfiles.com/segment_anything/weights.pth"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def mirror(folder, monkeypatch):
    (folder / "weights.pth").write_bytes(bytes(range(256)) * 4096)
    with serving(Mirror({"/" + URL.partition("://")[2]: folder / "weights.pth"})) as served:
        monkeypatch.setenv("OVDEPLOY_RELEASES", served.address)
        yield served


def fetched(folder, digits=None):
    return release_file(URL, folder / "kept", digits)


def test_a_file_is_fetched_once(mirror, folder):
    digits = digest_of(folder / "weights.pth")[:6]
    for _ in range(2):
        assert fetched(folder, digits).read_bytes() == (folder / "weights.pth").read_bytes()
    assert len(mirror.log) == 1 and [path.name for path in (folder / "kept").iterdir()] == ["weights.pth"]


def test_a_download_that_breaks_off_is_gone_on_with(mirror, folder):
    mirror.breaks = {"weights.pth": 2}
    assert digest_of(fetched(folder, digest_of(folder / "weights.pth")[:6])) == digest_of(folder / "weights.pth")
    assert ["bytes=" in line for line in mirror.log] == [False, True, True]
    assert sum(int(line.split()[-2]) for line in mirror.log) == 1 << 20, "no byte twice"


def test_one_that_always_breaks_off_is_told_and_gone_on_with_by_the_next_command(mirror, folder):
    mirror.breaks = {"weights.pth": 3}
    with pytest.raises(WeightsError, match=r"broke off 3 times.*of \d+ bytes.*the same command goes on from there"):
        fetched(folder, digest_of(folder / "weights.pth")[:6])
    assert not (folder / "kept" / "weights.pth").exists()
    assert fetched(folder, digest_of(folder / "weights.pth")[:6]).is_file()
    assert sum(int(line.split()[-2]) for line in mirror.log) == 1 << 20


def test_without_digits_a_download_begins_again(mirror, folder):
    mirror.breaks = {"weights.pth": 3}
    with pytest.raises(WeightsError, match="the same command begins again"):
        fetched(folder)
    assert fetched(folder).read_bytes() == (folder / "weights.pth").read_bytes()
    assert "bytes=" not in mirror.log[-1]


def test_another_file_than_the_digits_say_is_refused_and_not_kept(mirror, folder):
    with pytest.raises(WeightsError, match=r"SHA-256 begins with \w{6}, not 000000"):
        fetched(folder, "000000")
    assert list((folder / "kept").iterdir()) == []


def test_a_damaged_file_that_is_kept_is_fetched_again(mirror, folder):
    (folder / "kept").mkdir()
    (folder / "kept" / "weights.pth").write_bytes(b"damaged")
    assert fetched(folder, digest_of(folder / "weights.pth")[:6]).stat().st_size == 1 << 20


def test_what_is_not_there_is_told(mirror, folder):
    with pytest.raises(WeightsError, match="answered 404"):
        release_file(URL.replace("weights", "others"), folder / "kept", "00")


def test_no_server_is_told(folder, monkeypatch):
    monkeypatch.setenv("OVDEPLOY_RELEASES", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="broke off 3 times, at last because Connection refused"):
        fetched(folder, "00")


def test_other_schemes_are_refused(folder, monkeypatch):
    monkeypatch.setenv("OVDEPLOY_RELEASES", f"file://{folder}")
    with pytest.raises(WeightsError, match="http or https"):
        fetched(folder, "00")


def test_published_weights_of_sam_come_from_the_release(mirror, folder):
    state = random_state(build_model("sam", "micro"), 4)
    torch.save(state, folder / "sam.pth")
    assert ground(folder / "sam.pth", "5a") > 0
    mirror.files[PUBLISHED.format("5a")] = folder / "sam.pth"
    module, provenance = load_model("sam", ModelChoice(model="micro", pretrained="sam_micro_5a"), "pretrained")
    assert provenance.source == "pretrained:sam_micro_5a"
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_a_page_in_a_files_place_is_told_and_not_kept(mirror, folder, monkeypatch):
    """Where no digits are known."""
    monkeypatch.setitem(sam.BUILDS, "micro", sam.BUILDS["micro"]._replace(release=URL, hashed=False))
    (folder / "weights.pth").write_bytes(b"<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(WeightsError, match=r"is a web page \(HTML\)"):
        load_model("sam", ModelChoice(model="micro", pretrained="any"), "pretrained")
    assert list((folder / "home" / "hub" / "checkpoints").iterdir()) == []
