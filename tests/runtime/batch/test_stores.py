"""Stores are asked with patience, and with an end to it."""

from __future__ import annotations

import pytest

from ovdeploy.runtime.batch import stores
from ovdeploy.runtime.batch.photos import ObjectPhoto, named_photo
from ovdeploy.runtime.batch.stores import TRIES, Patient, patiently
from ovdeploy.runtime.errors import MissingExtraError, PhotoError
from support.batches import encoded, write_tar

URL = "s3://bucket/a.png"


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures, error=None):
        self.left, self.error, self.asked = failures, error or OSError("slow down"), 0

    def __call__(self):
        self.asked += 1
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return "answer"


@pytest.mark.parametrize("failures", [0, 1, TRIES - 1])
def test_a_request_that_fails_is_made_again(failures):
    pauses = []
    ask = Flaky(failures)
    assert patiently(ask, URL, pauses.append) == "answer" and ask.asked == failures + 1
    assert len(pauses) == failures and all(0.1 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses))


def test_patience_ends():
    ask = Flaky(99)
    with pytest.raises(PhotoError, match=rf"failed {TRIES} times \(slow down\)"):
        patiently(ask, URL, lambda pause: None)
    assert ask.asked == TRIES


@pytest.mark.parametrize("error", [FileNotFoundError(URL), PermissionError("no")])
def test_what_the_next_try_would_meet_too_is_told_at_once(error):
    ask = Flaky(99, error)
    with pytest.raises(PhotoError, match=r"s3://bucket/a\.png: "):
        patiently(ask, URL, lambda pause: None)
    assert ask.asked == 1


class System:
    """A store in memory, half of whose requests fail."""

    def __init__(self, objects):
        self.objects, self.number = objects, 0

    def _ask(self):
        self.number += 1
        if self.number % 2:
            raise ConnectionError("closed")

    def find(self, url, detail):
        self._ask()
        return {key: {"size": len(data)} for key, data in self.objects.items() if f"s3://{key}".startswith(url)}

    def info(self, url):
        self._ask()
        return {"size": len(self.objects[url.removeprefix("s3://")])}

    def cat_file(self, url, start, end):
        self._ask()
        return self.objects[url.removeprefix("s3://")][start:end]

    def open(self, url, mode, **how):
        return Halting(self.objects[url.removeprefix("s3://")], self._ask)


class Halting:
    def __init__(self, content, ask):
        self.content, self.ask, self.at, self.size = content, ask, 0, len(content)

    def seek(self, at):
        self.at = at

    def read(self, size):
        self.ask()
        return self.content[self.at : self.at + size if size >= 0 else None]

    def close(self):
        pass


@pytest.fixture
def system(monkeypatch, tmp_path):
    tar = write_tar(tmp_path / "0.tar", [(f"{index}.png", encoded(index)) for index in range(3)]).read_bytes()
    photos = {"b.png": encoded(1), "a.png": encoded(), ".x.png": b"", "a.mask.png": b"", "../../etc.png": encoded(2)}
    objects = {"bucket/tars/0.tar": tar, **{f"bucket/photos/{name}": content for name, content in photos.items()}}
    made = System(objects)
    monkeypatch.setattr(stores, "_system", lambda scheme: made)
    monkeypatch.setattr(stores, "FIRST_PAUSE", 0.0)
    return made


def test_a_prefix_means_its_photos_and_no_key_is_a_path(system):
    from ovdeploy.runtime.batch.plan import planned

    plan = planned("s3://bucket/photos")
    photos = list(plan[0].photos())
    expected = ["../../etc.png", "a.png", "b.png"]
    assert [photo.name for photo in photos] == [f"s3://bucket/photos/{name}" for name in expected]
    assert [type(photo) for photo in photos] == [ObjectPhoto] * 3
    assert all(photo.read(10**6).shape == (40, 52, 3) and len(photo.sha256) == 64 for photo in photos)


def test_a_tar_in_a_store_is_read_though_requests_fail(system):
    from ovdeploy.runtime.batch.plan import planned

    photos = list(planned("s3://bucket/tars")[0].photos())
    assert [photo.name for photo in photos] == [f"s3://bucket/tars/0.tar/{index}.png" for index in range(3)]
    assert all(photo.read(10**6).shape == (40, 52, 3) for photo in photos)


def test_a_file_in_a_store_is_read_from_anywhere(system):
    content = system.objects["bucket/tars/0.tar"]
    with Patient(Halting(content, system._ask), URL) as file:
        assert file.seek(-10, 2) == len(content) - 10 and file.read() == content[-10:]
        assert file.seek(5) == 5 and file.read(7) == content[5:12] and file.tell() == 12
        assert file.seek(-2, 1) == 10 and file.read(1) == content[10:11]


def test_an_object_that_is_too_large_is_refused(system, monkeypatch):
    monkeypatch.setattr(stores, "MOST_BYTES", 100)
    with pytest.raises(PhotoError, match="the most that is fetched"):
        ObjectPhoto("s3://bucket/photos/a.png").read(10**6)


def test_only_known_schemes_are_stores():
    assert stores.is_stored("s3://bucket/a") and not any(map(stores.is_stored, ("file:///a", "s3:/a", "a", "zip://x")))
    assert not isinstance(named_photo("simplecache::s3://bucket/a.png", allow_urls=True), ObjectPhoto)


def test_without_fsspec_its_extra_is_told(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"ovdeploy\[s3\]"):
        ObjectPhoto(URL).read(1)
