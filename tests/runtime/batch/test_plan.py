"""What is there is divided in the same way by everybody, and nothing is lost or doubled."""

from __future__ import annotations

import io
import os
import tarfile
from itertools import chain
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.batch import portions, stores
from ovdeploy.runtime.batch.plan import Division, Plan, planned
from ovdeploy.runtime.batch.portions import Names, Rows, Tar
from ovdeploy.runtime.errors import ParameterError, PhotoError
from ovdeploy.runtime.photo.listing import Listing, Source
from support.batches import encoded, write_tar
from support.samples import draw_photos

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402

NAMES = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=40)


def names_of(plan):
    return [photo.name for portion in plan for photo in portion.photos()]


@given(NAMES, st.integers(1, 50))
def test_every_name_is_in_one_portion_and_in_its_order(names, size):
    plan = Plan(Listing(Source(name, name) for name in names), division=Division(size))
    parts = [list(map(os.fsdecode, portion.names)) for portion in plan]
    assert list(chain.from_iterable(parts)) == names
    assert all(len(part) == size for part in parts[:-1]) and plan.photos == len(names)


@given(NAMES, NAMES)
def test_two_plans_have_the_same_digest_if_and_only_if_their_names_are_the_same(one, other):
    digests = [Plan(Listing(Source(name, name) for name in names)).digest for names in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


def test_the_digest_tells_apart_names_that_are_cut_otherwise():
    digests = {Plan(Listing(Source(name, name) for name in names)).digest for names in (("ab", "c"), ("a", "bc"))}
    assert len(digests) == 2


def test_a_shard_without_photos_is_refused():
    with pytest.raises(ParameterError, match="1 or more"):
        Plan(Listing(), division=Division(0))


def test_a_folder_a_glob_and_a_list_mean_the_same_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_photos("photos", ["a.png", "sub/b.jpg", "sub/c.png"])
    expected = ["photos/a.png", "photos/sub/b.jpg", "photos/sub/c.png"]
    Path("list.txt").write_text("\n".join(expected))
    assert names_of(planned("photos")) == names_of(planned("@list.txt")) == expected
    assert names_of(planned("photos/*/*")) == expected[1:]
    assert names_of(planned("photos", Division(recursive=False))) == expected[:1]


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    Path(os.fsdecode(name)).write_bytes(encoded())
    [portion] = planned(str(tmp_path))
    assert portion.names == (name,)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(portion), type=Names)
    assert next(again.photos()).read(10**6).shape == (40, 52, 3)


@pytest.mark.parametrize("what", ["empty folder", "folder of others"])
def test_nothing_is_told(what, tmp_path):
    if what == "folder of others":
        (tmp_path / "readme.txt").touch()
    with pytest.raises(PhotoError, match="no photos"):
        planned(str(tmp_path))


# tars


def test_a_tar_is_a_portion_with_its_photos_in_their_order(tmp_path):
    members = [("b.jpg", encoded(1)), ("b.json", b"{}"), ("a/c.png", encoded(2)), (".d.png", b""), ("b.mask.png", b"")]
    path = write_tar(tmp_path / "0.tar", members)
    plan = planned(str(path))
    assert [type(portion) for portion in plan] == [Tar] and plan.photos is None
    assert names_of(plan) == [f"{path}/b.jpg", f"{path}/a/c.png"]
    assert all(photo.read(10**6).shape == (40, 52, 3) for photo in plan[0].photos())


def test_a_folder_and_a_glob_of_tars_mean_these(tmp_path):
    for name in ("1.tar", "0.tar", ".hidden.tar"):
        write_tar(tmp_path / name, [("a.png", encoded())])
    expected = [f"{tmp_path}/0.tar/a.png", f"{tmp_path}/1.tar/a.png"]
    assert names_of(planned(str(tmp_path))) == names_of(planned(f"{tmp_path}/[01].tar")) == expected


def test_a_members_name_is_never_a_path_here(tmp_path):
    outside = tmp_path / "outside.png"
    inside = tmp_path / "in"
    inside.mkdir()
    path = write_tar(inside / "0.tar", [("../outside.png", encoded()), (str(outside), encoded())])
    photos = list(Tar(os.fsencode(path)).photos())
    assert [photo.read(10**6).shape for photo in photos] == [(40, 52, 3)] * 2
    assert not outside.exists() and [each.name for each in tmp_path.rglob("*")] == ["in", "0.tar"]


def test_links_and_devices_in_a_tar_are_no_photos(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("x.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert list(Tar(os.fsencode(tmp_path / "0.tar")).photos()) == []


@pytest.mark.parametrize("cut", [700, 1500, 1536, 1700, 3000])
def test_a_tar_that_is_cut_gives_what_is_whole_and_an_error(cut, tmp_path):
    path = write_tar(tmp_path / "0.tar", [(f"{index}.png", bytes(600)) for index in range(3)])
    path.write_bytes(path.read_bytes()[:cut])
    *whole, last = Tar(os.fsencode(path)).photos()
    assert len(whole) == (cut - 512 >= 600) + (cut >= 2048 + 600)
    with pytest.raises(PhotoError, match=r"0\.tar"):
        last.read(1)


def _flipped(data):
    data[2 * 1536 + 150] ^= 1
    return data, 2, "the header at byte 3072 is damaged"


def _zeroed(data):
    data[2 * 1536 : 2 * 1536 + 512] = bytes(512)
    return data, 2, "more follows behind its end at byte 3072"


def _joined(data):
    return data + data, 4, "more follows behind its end at byte 6144"


@pytest.mark.parametrize("damage", [_flipped, _zeroed, _joined])
def test_photos_behind_a_damaged_header_are_not_lost_in_silence(damage, tmp_path):
    path = write_tar(tmp_path / "0.tar", [(f"{index}.png", bytes(600)) for index in range(4)])
    data, count, why = damage(bytearray(path.read_bytes()))
    path.write_bytes(data)
    *whole, last = Tar(os.fsencode(path)).photos()
    assert [photo.name for photo in whole] == [f"{path}/{index}.png" for index in range(count)]
    with pytest.raises(PhotoError, match=why):
        last.read(1)


def test_a_member_that_is_too_large_is_refused_and_the_next_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(portions, "MOST_BYTES", 20_000)
    path = write_tar(tmp_path / "0.tar", [("a.png", bytes(30_000)), ("b.png", encoded())])
    large, small = Tar(os.fsencode(path)).photos()
    with pytest.raises(PhotoError, match="30000 bytes, and 20000 are the most"):
        large.read(1)
    assert small.read(10**6).shape == (40, 52, 3)


def test_a_header_that_asks_for_gigabytes_is_an_error_and_takes_none(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 0
        archive.addfile(info)
    data = bytearray((tmp_path / "0.tar").read_bytes())
    data[124:136] = b"77777777777\0"
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + sum(data[156:512]) + 8 * 32)
    (tmp_path / "0.tar").write_bytes(data)
    [broken] = Tar(os.fsencode(tmp_path / "0.tar")).photos()
    with pytest.raises(PhotoError, match="at once"):
        broken.read(1)


def test_a_tar_that_is_gone_is_an_error_row_and_no_end(tmp_path):
    [broken] = Tar(os.fsencode(tmp_path / "0.tar")).photos()
    with pytest.raises(PhotoError, match="no such file"):
        broken.read(1)


# Parquet


def write_column(path, values, kind=None, groups=3, column="image"):
    parquet.write_table(pa.table({column: pa.array(values, kind)}), path, row_group_size=groups)
    return path


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 30), group=st.integers(1, 12), size=st.integers(1, 12))
def test_rows_are_in_one_portion_each_whatever_the_groups(tmp_path_factory, count, group, size):
    path = write_column(
        tmp_path_factory.mktemp("p") / "a.parquet", [f"{row}.png" for row in range(count)], groups=group
    )
    plan = planned(str(path), Division(size))
    assert names_of(plan) == [f"{row}.png" for row in range(count)] and plan.photos == count


def test_a_column_holds_bytes_names_or_both(tmp_path):
    (tmp_path / "file.png").write_bytes(encoded(3))
    both = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = [{"bytes": encoded(1), "path": "x.png"}, {"bytes": None, "path": str(tmp_path / "file.png")}, None]
    held = planned(str(write_column(tmp_path / "a.parquet", values, both)))
    first, second, third = held[0].photos()
    assert first.read(10**6).shape == second.read(10**6).shape == (40, 52, 3)
    assert first.name.endswith("a.parquet/0")
    with pytest.raises(PhotoError, match="it is empty"):
        third.read(1)


def test_urls_in_a_column_or_list_need_leave(tmp_path):
    path = write_column(tmp_path / "a.parquet", ["s3://bucket/a.png", "https://localhost/a.png"])
    for photo in planned(str(path))[0].photos():
        with pytest.raises(PhotoError, match="--allow-urls"):
            photo.read(1)


def test_a_column_in_a_store_names_no_paths_here_and_no_urls_without_leave(tmp_path, monkeypatch):
    values = ["http://169.254.169.254/a.jpg", "s3://other/a.png", "/etc/hostname", "file:///etc/hostname"]
    data = write_column(tmp_path / "a.parquet", values).read_bytes()
    listed = [("s3://bucket/a.parquet", len(data)), ("s3://bucket/b.png", 1)]
    monkeypatch.setattr(stores, "listed", lambda url: iter(listed))
    monkeypatch.setattr(stores, "opened", lambda url: io.BytesIO(data))
    monkeypatch.setattr(stores, "content", lambda url: encoded())
    listing, column = planned("s3://bucket")
    assert [photo.read(10**6).shape for photo in listing.photos()] == [(40, 52, 3)]
    for photo, why in zip(column.photos(), ["--allow-urls"] * 2 + ["a path on this machine"] * 2, strict=True):
        with pytest.raises(PhotoError, match=why):
            photo.read(10**6)
    _, column = planned("s3://bucket", Division(allow_urls=True))
    _, stored, *paths = column.photos()
    assert stored.read(10**6).shape == (40, 52, 3)
    for photo in paths:
        with pytest.raises(PhotoError, match="a path on this machine"):
            photo.read(10**6)


def test_a_value_that_is_too_large_is_refused_and_the_next_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(portions, "MOST_BYTES", 20_000)
    large, small = planned(str(write_column(tmp_path / "a.parquet", [bytes(30_000), encoded()])))[0].photos()
    with pytest.raises(PhotoError, match="30000 bytes, and 20000 are the most"):
        large.read(1)
    assert small.read(10**6).shape == (40, 52, 3)


def test_the_digest_depends_on_what_divides_and_on_no_leave(tmp_path):
    name = str(write_column(tmp_path / "a.parquet", ["a.png"]))

    def digest(sources=(), files=(), **how):
        return Plan(Listing(Source(each, each) for each in sources), files, Division(**how)).digest

    for named in ({"sources": ["a.png"]}, {"files": [name]}):
        plain = digest(**named)
        assert digest(**named, allow_urls=True) == digest(**named, recursive=False) == plain != digest(**named, size=2)
    assert digest(["a.png"]) == digest(["a.png"], column="other")
    write_column(tmp_path / "a.parquet", ["a.png"], column="emagi")
    assert digest(files=[name], column="emagi") != plain


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path):
    path = write_column(tmp_path / "a.parquet", ["a.png"], column="picture")
    with pytest.raises(PhotoError, match=r"no column 'image'; name one of picture by --column"):
        planned(str(path))
    assert planned(str(path), Division(column="picture")).photos == 1


def test_a_file_that_shrank_gives_an_error_for_each_row_that_is_gone(tmp_path):
    path = write_column(tmp_path / "a.parquet", [encoded()] * 3)
    [portion] = planned(str(path))
    write_column(path, [encoded()])
    good, *gone = portion.photos()
    assert good.read(10**6).shape == (40, 52, 3) and len(gone) == 2
    with pytest.raises(PhotoError, match="fewer rows"):
        gone[0].read(1)


def test_a_file_that_is_no_parquet_is_refused_at_once_and_an_error_later(tmp_path):
    path = write_column(tmp_path / "a.parquet", [encoded()] * 2)
    [portion] = planned(str(path))
    path.write_bytes(b"PAR1" + bytes(100))
    with pytest.raises(PhotoError, match="cannot be read"):
        planned(str(path))
    photos = list(portion.photos())
    assert len(photos) == 2 and isinstance(portion, Rows)
    with pytest.raises(PhotoError, match="cannot be read"):
        photos[0].read(1)


def test_a_container_that_grew_is_another_plan(tmp_path):
    path = write_tar(tmp_path / "0.tar", [("a.png", encoded())])
    before = planned(str(path)).digest
    assert planned(str(path)).digest == before
    write_tar(path, [("a.png", encoded()), ("b.png", bytes(20_000))])
    assert planned(str(path)).digest != before
