"""A manifest is the one that was written, or it is refused: its digest, its parts, and who signed it."""

from __future__ import annotations

import json
import os
import random
import re
import shutil

import msgspec
import pytest
from click.testing import CliRunner

from ovdeploy.runtime import Bundle, BundleError, Segmenter
from ovdeploy.runtime.bundle.bundle import write_manifest
from ovdeploy.runtime.bundle.seal import digest_of
from ovdeploy.runtime.bundle.signature import VERIFY_VARIABLE, check_signature, sign
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.errors import ParameterError
from support.bundles import write_data

FLIPS = 400
"""Of the manifest's some 100,000 bits; `tests/measure/flips.py` tries more."""


@pytest.fixture
def manifest(micro_bundle, tmp_path):
    """A manifest alone: nothing else is read when it is loaded."""
    shutil.copy(micro_bundle / "bundle.json", tmp_path)
    return tmp_path / "bundle.json"


def data_of(folder):
    return json.loads((folder / "bundle.json").read_text())


def keys_of(place, above=()):
    """Every place of a JSON value, as keys from the top."""
    parts = place.items() if isinstance(place, dict) else enumerate(place) if isinstance(place, list) else ()
    for key, value in parts:
        yield (*above, key)
        yield from keys_of(value, (*above, key))


def with_value(data, keys, change):
    data = json.loads(json.dumps(data))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = change(place[keys[-1]])
    return data


def other(value):
    """Another value of the same type."""
    return {
        bool: lambda: not value, int: lambda: value + 1, float: lambda: value * 1.5 + 0.125, str: lambda: value + "x",
        list: lambda: value[1:] if value else [1], dict: lambda: {} if value else {"x": 1}, type(None): lambda: 0,
    }[type(value)]()  # fmt: skip


def test_no_flipped_bit_is_taken_for_what_was_written(manifest):
    whole, rng = Bundle.load(manifest.parent), random.Random(0)
    written = manifest.read_bytes()
    for _ in range(FLIPS):
        flipped = bytearray(written)
        flipped[rng.randrange(len(written))] ^= 1 << rng.randrange(8)
        manifest.write_bytes(flipped)
        try:
            came = Bundle.load(manifest.parent)
        except BundleError:
            continue
        assert came.manifest == whole.manifest and came.digest == whole.digest, "white space"


def test_every_value_is_covered(manifest):
    """Of the same type, so that no other check refuses it first."""
    data = data_of(manifest.parent)
    places = [keys for keys in keys_of(data) if keys != ("schema_version",)]
    assert len(places) > 300
    for keys in random.Random(1).sample(places, 300):
        (manifest).write_text(json.dumps(with_value(data, keys, other)))
        with pytest.raises(BundleError):
            Bundle.load(manifest.parent)


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_version_is_no_way_round_the_digest(manifest, version):
    data = data_of(manifest.parent) | {"schema_version": version}
    manifest.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="digest" if version == 2 else "cannot be read"):
        Bundle.load(manifest.parent)


def test_what_is_told_says_what_to_do(manifest):
    data = data_of(manifest.parent)
    data["recipe"]["parameters"]["stride"] += 1
    manifest.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=r"bundle.json is not as it was written.*Copy the bundle again.*--set"):
        Bundle.load(manifest.parent)
    del data["digest"]
    manifest.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="its digest is missing"):
        Bundle.load(manifest.parent)


def test_the_digest_is_of_what_is_said_and_not_of_how_it_is_laid_out(manifest):
    digest = Bundle.load(manifest.parent).digest
    data = data_of(manifest.parent)
    assert digest == data["digest"] == digest_of(data)
    manifest.write_text(json.dumps(dict(sorted(data.items(), reverse=True)), indent=7))
    assert Bundle.load(manifest.parent).digest == digest


def test_every_manifest_that_is_written_has_its_digest_renewed(micro_bundle, tmp_path):
    manifest = Bundle.load(micro_bundle).manifest
    write_manifest(tmp_path, msgspec.structs.replace(manifest, versions={"ovdeploy": "other"}))
    changed = Bundle.load(tmp_path)
    assert changed.manifest.versions == {"ovdeploy": "other"} and changed.digest != Bundle.load(micro_bundle).digest


# A consistent forgery: the digest is right, what it says is not

FORGERIES = [
    (("dimensions", "sam_side"), lambda value: value * 2, "sam_side"),
    (("dimensions", "sam_grid"), lambda value: value + 1, "sam_grid"),
    (("dimensions", "feature_grid"), lambda value: [value[0] + 1, value[1]], "feature_grid"),
    (("dimensions", "embedding"), lambda value: value + 1, "embedding"),
    (("dimensions", "context_length"), lambda value: value - 1, "context_length"),
    (("recipe", "parameters", "crop"), lambda value: value + 16, "crop"),
    (("stages", "head", "contract", "stage"), lambda value: "dino", "contract of dino"),
    (("stages", "dino", "contract", "inputs", 0, "shape"), lambda value: [*value[:3], value[3] * 2], "crop"),
]


@pytest.mark.parametrize(("keys", "change", "told"), FORGERIES, ids=[".".join(map(str, row[0])) for row in FORGERIES])
def test_sizes_that_contradict_the_contracts_are_refused_at_load(micro_bundle, tmp_path, keys, change, told):
    write_data(tmp_path, with_value(data_of(micro_bundle), keys, change))
    with pytest.raises(BundleError, match=told):
        Bundle.load(tmp_path)


GRAPHS = [
    (("stages", "clip_image", "contract", "inputs", 0, "dtype"), lambda value: "int32", "another type"),
    (("stages", "clip_image", "contract", "inputs", 2, "shape"), lambda value: [*value, 1], "number of axes"),
    (("stages", "clip_image", "contract", "inputs", 0, "name"), lambda value: "elsewhere", "elsewhere"),
    (("stages", "dino", "contract", "outputs", 1, "shape"), lambda value: [*value, 3], "number of axes"),
    (("stages", "dino", "contract", "inputs", 0, "shape"), lambda value: [8, *value[1:]], "is free"),
]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("keys", "change", "told"), GRAPHS, ids=[f"{row[0][1]}-{row[2]}" for row in GRAPHS])
def test_contracts_are_held_against_the_graphs(micro_bundle, tmp_path, keys, change, told, backend):
    pytest.importorskip(backend)
    path = shutil.copytree(micro_bundle, tmp_path / "b", ignore=shutil.ignore_patterns("text_encoder*"))
    write_data(path, with_value(data_of(micro_bundle), keys, change))
    with pytest.raises(BundleError, match=told):
        Segmenter.load(path, backend=backend)


def test_axes_that_are_not_the_graphs_are_refused_where_the_library_tells_them(micro_bundle, tmp_path):
    path = shutil.copytree(micro_bundle, tmp_path / "b", ignore=shutil.ignore_patterns("text_encoder*"))
    keys = ("stages", "head", "contract", "inputs", 2, "shape")
    write_data(path, with_value(data_of(micro_bundle), keys, lambda value: ["vw", *value[1:]]))
    with pytest.raises(BundleError, match="is not the graph's other 'vw'"):
        Segmenter.load(path, backend="onnxruntime")


# Signatures


@pytest.fixture
def keys(tmp_path):
    """Two pairs, as (private, public)."""
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pairs = []
    for name in ("ours", "theirs"):
        private = Ed25519PrivateKey.generate()
        secret = private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        public = private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        for suffix, data in ((".pem", secret), (".pub", public)):
            (tmp_path / f"{name}{suffix}").write_bytes(data)
        pairs.append((tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"))
    return pairs


@pytest.fixture
def copy(micro_bundle, tmp_path):
    return shutil.copytree(micro_bundle, tmp_path / "copy")


def test_a_signed_bundle_is_loaded_and_every_other_is_refused(copy, keys):
    (ours, public), (_, others) = keys
    with pytest.raises(
        BundleError, match=r"is not signed: bundle.json.sig cannot be read.*ovdeploy sign --bundle .* --key"
    ):
        Bundle.load(copy, verify_key=public)
    assert CliRunner().invoke(main, ["sign", str(copy), "--key", str(ours)]).exit_code == 0
    assert Bundle.load(copy, verify_key=public).digest == Bundle.load(copy).digest
    with pytest.raises(BundleError, match="another key signed it"):
        Bundle.load(copy, verify_key=others)
    write_data(copy, data_of(copy) | {"versions": {"ovdeploy": "other"}})
    with pytest.raises(BundleError, match="the bundle was changed since"):
        Bundle.load(copy, verify_key=public)


def test_a_damaged_signature_is_refused(copy, keys):
    (ours, public), _ = keys
    path = sign(copy, Bundle.load(copy).digest, ours)
    text = path.read_bytes()
    for damaged in (b"", b"\xff" * 64, text[:-3], text.replace(text[:1], b"g", 1), b"0" * 128, text + b"00" * 200):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match=r"bundle\.json\.sig"):
            check_signature(copy, Bundle.load(copy).digest, public)
    path.unlink()
    os.mkfifo(path)  # who opened it would wait for ever
    with pytest.raises(BundleError, match=r"is not signed: bundle.json.sig cannot be read .it is a FIFO"):
        check_signature(copy, Bundle.load(copy).digest, public)


@pytest.mark.parametrize(
    "command", ["inspect", "lint", "bench", "build-plans", "profile", "evaluate", "tune", "layers"]
)
def test_every_command_that_loads_a_bundle_takes_the_key(copy, keys, command):
    (_, public), _ = keys
    more = ["--dataset", "voc21", "--data", "nowhere"] if command in ("evaluate", "tune") else []
    result = CliRunner().invoke(main, [command, str(copy), *more, "--verify-key", str(public)])
    assert "--verify-key" in CliRunner().invoke(main, [command, "--help"]).stdout
    if command not in ("evaluate", "tune", "layers"):  # these look at their other arguments first
        assert result.exit_code == 1 and "is not signed" in result.stderr


def test_the_environments_key_holds_for_everything(copy, keys, monkeypatch):
    (ours, public), _ = keys
    monkeypatch.setenv(VERIFY_VARIABLE, str(public))
    with pytest.raises(BundleError, match="is not signed"):
        Segmenter.load(copy)
    sign(copy, Bundle.written_here(copy).digest, ours)
    Segmenter.load(copy).close()


def test_the_option_does_not_outlive_its_command(copy, keys, monkeypatch):
    (_, public), _ = keys
    monkeypatch.delenv(VERIFY_VARIABLE, raising=False)
    assert CliRunner().invoke(main, ["inspect", str(copy), "--verify-key", str(public)]).exit_code == 1
    assert CliRunner().invoke(main, ["inspect", str(copy)]).exit_code == 0


def test_what_is_no_key_is_refused_with_how_to_make_one(copy, keys, tmp_path):
    (ours, public), _ = keys
    (tmp_path / "text").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    for act in (
        lambda: sign(copy, "0", public), lambda: sign(copy, "0", tmp_path / "text"),
        lambda: sign(copy, "0", tmp_path / "missing"), lambda: sign(copy, "0", tmp_path),
        lambda: sign(copy, "0", tmp_path / "pipe"), lambda: check_signature(copy, "0", tmp_path / "pipe"),
        lambda: check_signature(copy, "0", ours), lambda: check_signature(copy, "0", tmp_path / "text"),
    ):  # fmt: skip
        with pytest.raises(ParameterError, match="openssl genpkey -algorithm ed25519"):
            act()


def test_a_bundle_whose_files_are_not_the_manifests_is_not_signed(copy, keys):
    (ours, _), _ = keys
    next(copy.glob("head*.onnx")).write_bytes(b"another")
    result = CliRunner().invoke(main, ["sign", str(copy), "--key", str(ours)])
    assert result.exit_code == 1 and re.search(r"head\.fp32\..*has 7 bytes", result.stderr)
    assert not (copy / "bundle.json.sig").exists()
