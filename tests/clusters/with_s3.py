"""Photos in S3, one request in ten of which fails: nothing is lost, and broken photos are counted to the one."""

from __future__ import annotations

import pytest

from ovdeploy.runtime.batch.table import Table
from support.batches import encoded, write_tar
from support.clusters import call
from support.flaky_s3 import environment, flaky_s3

PHOTOS = 60
BROKEN = [f"photos/{number:03}.png" for number in range(7, PHOTOS, 20)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    objects = {f"photos/{number:03}.png": encoded(number) for number in range(PHOTOS)}
    objects |= dict.fromkeys(BROKEN, b"no picture")
    objects["photos/007.png"] = b""
    tar = write_tar(tmp_path_factory.mktemp("tar") / "0.tar", [(f"{n}.png", encoded(n)) for n in range(12)])
    objects["tars/0.tar"] = tar.read_bytes()
    with flaky_s3("bucket", objects) as found:
        yield found


@pytest.fixture
def asked(server, monkeypatch):
    address, faults = server
    for name, value in environment(address).items():
        monkeypatch.setenv(name, value)
    faults.share, faults.asked, faults.failed = 0.1, 0, 0
    return faults


def test_one_request_in_ten_fails_and_nothing_is_lost(asked, micro_bundle, tmp_path):
    told = call(micro_bundle, "s3://bucket/photos", tmp_path / "out", "--workers", 2, "--shard-size", 7, code=1)
    assert (told["photos"], told["failed"]) == (PHOTOS, len(BROKEN))
    assert asked.failed > 0, "else this proves nothing"
    rows = Table(tmp_path / "out", ("mask",)).read().to_pylist()
    assert [row["name"] for row in rows] == [f"s3://bucket/photos/{number:03}.png" for number in range(PHOTOS)]
    assert [row["name"].removeprefix("s3://bucket/") for row in rows if row["error"]] == BROKEN
    print(f"{asked.failed} of {asked.asked} requests failed")


def test_a_tar_is_read_too(asked, micro_bundle, tmp_path):
    asked.share = 0.3
    told = call(micro_bundle, "s3://bucket/tars/*.tar", tmp_path / "out")
    assert (told["photos"], told["failed"]) == (12, 0)


def test_an_object_that_is_not_there_is_told(asked, micro_bundle, tmp_path):
    asked.share = 0.0
    assert "there are no photos" in call(micro_bundle, "s3://bucket/none", tmp_path / "out", code=1, text=True)
