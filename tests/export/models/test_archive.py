"""PyTorch's archives are read without running or importing what they name, and within bounds."""

from __future__ import annotations

import collections
import io
import json
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress

import pytest
import torch
from safetensors.torch import save

from ovdeploy.export.models.checkpoints.reading import open_checkpoint
from ovdeploy.runtime.errors import WeightsError
from support.vile.formats import damages


def archive(path, pickled, storages=(("0", bytes(16)),)):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickled)
        for key, data in storages:
            file.writestr(f"a/data/{key}", data)
    return path


class Storage:
    def __init__(self, length=4, kind=torch.FloatStorage, key="0"):
        self.identifier = ("storage", kind, key, "cpu", length)


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.identifier if isinstance(thing, Storage) else None


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *arguments, state=None, items=None):
        self.called = (function, arguments, state, None, items)

    def __reduce__(self):
        return self.called


def pickled(content):
    file = io.BytesIO()
    Pickler(file, 2).dump(content)
    return file.getvalue()


def tensor(length=4, offset=0, shape=(4,), strides=(1,), **storage):
    arguments = (Storage(length, **storage), offset, shape, strides, False, collections.OrderedDict())
    return Call(torch._utils._rebuild_tensor_v2, *arguments)


def test_an_archive_written_by_hand_is_read(tmp_path):
    path = archive(tmp_path / "a.pt", pickled({"w": tensor()}))
    assert open_checkpoint(path).tensors["w"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "call",
    [
        Call(exec, "raise SystemExit('a pickle was executed')"),
        Call(pytest.fail, "a pickle was executed"),
        Call(getattr, "text", "upper"),
        Call(subprocess.check_call, ["false"]),
    ],
    ids=["exec", "fail", "getattr", "subprocess"],
)
def test_what_else_a_pickle_names_is_not_called(call, tmp_path):
    path = archive(tmp_path / "a.pt", pickled({"state_dict": {"w": tensor()}, "hook": call}))
    assert list(open_checkpoint(path).tensors) == ["w"]


def test_a_pickle_changes_nothing_of_ours(tmp_path):
    """A function would take new defaults from the state that a pickle gives it, for all files that are read later."""
    state = pickle.dumps((None, {"__defaults__": (7,)}), 2)[2:-1]
    path = archive(tmp_path / "a.pt", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b.")
    with pytest.raises(WeightsError, match="damaged"):
        open_checkpoint(path)
    fine = archive(tmp_path / "b.pt", pickled({"w": tensor()}))
    assert open_checkpoint(fine).tensors["w"].shape == (4,)


def test_indices_that_name_each_other_end(tmp_path):
    for one, other in (("a.json", "b.json"), ("b.json", "a.json")):
        (tmp_path / one).write_text(json.dumps({"weight_map": {"w": other}}))
    with pytest.raises(WeightsError, match="is an index itself"):
        open_checkpoint(tmp_path / "a.json")


def test_what_a_pickle_names_is_not_imported(tmp_path):
    (tmp_path / "trap.py").write_text("raise SystemExit('a module was imported')")
    path = archive(tmp_path / "a.pt", b"\x80\x02ctrap\nThing\n.")
    with pytest.raises(WeightsError, match="does not hold a state dict"):
        open_checkpoint(path)
    assert "trap" not in sys.modules


def test_methods_that_a_pickle_puts_on_a_dictionary_are_not_used(tmp_path):
    """A pickle may set attributes of an OrderedDict; `items` of its own would hide tensors, or bring others."""
    state = Call(collections.OrderedDict, state={"items": Call(print)}, items=iter([("w", tensor())]))
    assert list(open_checkpoint(archive(tmp_path / "a.pt", pickled(state))).tensors) == ["w"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"w": tensor(shape=(5,))}, "reaches beyond"),
        ({"w": tensor(offset=1)}, "reaches beyond"),
        ({"w": tensor(offset=-1)}, "impossible sizes"),
        ({"w": tensor(shape=(1 << 40,), strides=(0,))}, "reaches beyond"),
        ({"w": tensor(length=1 << 40)}, "not those of its tensor"),
        ({"w": tensor(kind=torch.DoubleStorage)}, "not those of its tensor"),
        ({"w": tensor(key="../0")}, "damaged"),
        ({"w": tensor(key=3)}, "damaged"),
        ({"w": tensor(kind=collections.OrderedDict)}, "damaged"),
        ({"w": tensor(strides=(1, 1))}, "impossible sizes"),
        ({"w": "text"}, "w is none"),
        ({"w": Call(print)}, "w is none"),
        ([tensor()], "does not hold a state dict"),
        ({}, "it is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_are_not_in_the_archive_are_refused(content, told, tmp_path):
    with pytest.raises(WeightsError, match=told):
        open_checkpoint(archive(tmp_path / "a.pt", pickled(content)))


def test_numbers_that_would_grow_when_unpacked_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", pickled({"w": tensor(length=1 << 20, shape=(1 << 20,))}))
        file.writestr("a/data/0", bytes(4 << 20))
    with pytest.raises(WeightsError, match="not those of its tensor"):
        open_checkpoint(tmp_path / "a.pt")


def test_views_of_one_storage_read_it_once(tmp_path, monkeypatch):
    whole = torch.arange(12.0)
    torch.save({str(k): whole[k : k + 3] for k in range(9)}, tmp_path / "a.pt")
    reads = []
    read = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: reads.append(str(name)) or read(self, name))
    came = open_checkpoint(tmp_path / "a.pt").tensors
    assert all(came[str(k)].tolist() == [k, k + 1, k + 2] for k in range(9))
    assert sum("data/0" in name for name in reads) == 1


def content_of(kind):
    state = {"a": torch.arange(20.0), "b": torch.ones(2, 3)}
    file = io.BytesIO()
    if kind == "index":
        return json.dumps({"weight_map": dict.fromkeys(state, "s-00001-of-00001.safetensors")}).encode()
    if kind == "safetensors":
        return save(state)
    if kind == "script":
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", ["zip", "older", "script", "safetensors", "index"])
def test_damage_is_told_by_an_error_of_ours(kind, tmp_path):
    """Cuts, flipped bits and lost parts, by chance with a fixed seed."""
    (tmp_path / "s-00001-of-00001.safetensors").write_bytes(content_of("safetensors"))
    path, good = tmp_path / "file", content_of(kind)
    path.write_bytes(good)
    open_checkpoint(path)
    for seed in range(4):
        for name, make in damages(good, seed).items():
            if "30 MB" not in name:
                path.write_bytes(make())
                with suppress(WeightsError):
                    open_checkpoint(path)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02}r\xff\xff\xff\xff.",  # a memo's index of four thousand million
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text longer than the file
        b"\x80\x02" + b"(" * 5000 + b".",
        b"",
        b"\x80\x02\x82\x01.",  # an extension that nobody registered
    ],
    ids=["memo", "text", "marks", "empty", "extension"],
)
def test_a_damaged_pickle_is_refused_within_bounds(raw, tmp_path):
    with pytest.raises(WeightsError):
        open_checkpoint(archive(tmp_path / "a.pt", raw))


def test_modules_that_hold_each_other_end(tmp_path):
    """`ctrap Thing`, built with a state that holds itself."""
    raw = b"\x80\x02ctrap\nThing\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00ub."
    with pytest.raises(WeightsError, match="nested more than 64 deep"):
        open_checkpoint(archive(tmp_path / "a.pt", raw))


def test_a_whole_module_gives_what_its_state_dict_has(tmp_path):
    module = torch.nn.BatchNorm2d(3)
    module.register_buffer("passing", torch.ones(2), persistent=False)
    torch.save(module, tmp_path / "m.pt")
    assert open_checkpoint(tmp_path / "m.pt").tensors.keys() == module.state_dict().keys()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_every_type_is_read_as_pytorch_reads_it(dtype, tmp_path):
    given = {"a": torch.arange(6).reshape(2, 3).T.to(dtype), "b": torch.ones((), dtype=dtype), "c": torch.ones(0, 3)}
    given["view"] = given["a"][1:, :1]
    torch.save(given, tmp_path / "t.pt")
    came, expected = open_checkpoint(tmp_path / "t.pt").tensors, torch.load(tmp_path / "t.pt", weights_only=True)
    for name, value in expected.items():
        assert came[name].dtype == value.dtype and torch.equal(came[name], value) and came[name].is_contiguous()
