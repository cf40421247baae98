"""A bundle is verified before it is used; whatever is wrong with it is told, with what to do."""

import json
import shutil

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import Bundle, BundleError, Segmenter
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.bundle.opening import open_stage
from support.bundles import engine_file, write_data

HEAD_FILES = ("stages", "head", "engines", "fp32", "files")


def copied(micro_bundle, folder, *, ignore=("text_encoder*",)):
    """A bundle that may be changed; without its largest engine, which nearly no test needs."""
    return shutil.copytree(micro_bundle, folder, ignore=shutil.ignore_patterns(*ignore))


def edited(micro_bundle, folder, keys, value):
    """A manifest alone, one value in it replaced."""
    data = json.loads((micro_bundle / "bundle.json").read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    write_data(folder, data)
    return folder


def refusal(action):
    with pytest.raises(BundleError) as caught:
        action()
    return str(caught.value)


def flip(path, index=1000):
    data = bytearray(path.read_bytes())
    data[index] ^= 1
    path.write_bytes(data)


def test_a_whole_bundle_tells_what_it_holds(micro_bundle):
    bundle = Bundle.load(str(micro_bundle))
    assert bundle.recipe.name == "micro"
    assert bundle.precisions() == ("fp32",)
    assert list(bundle.manifest.stages) == list(bundle.recipe.stages)
    for stage in bundle.recipe.stages:
        assert bundle.engine_path(stage, "fp32").parent == micro_bundle
        assert bundle.stage(stage).contract.stage == stage
    assert bundle.tokenizer_path().parent == micro_bundle


def test_a_manifest_comes_back_as_it_was_written(micro_bundle, tmp_path):
    manifest = Bundle.load(micro_bundle).manifest
    write_manifest(tmp_path, manifest)
    assert Bundle.load(tmp_path).manifest == manifest


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: (path.unlink(), path.mkdir()), "missing"),
        (lambda path: path.write_bytes(b""), "has 0 bytes, the manifest says"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, the manifest says"),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "bytes, the manifest says"),
        (flip, "SHA-256 differs"),
    ],
    ids=["missing", "a folder", "empty", "truncated", "longer", "one bit flipped"],
)
@pytest.mark.parametrize("stage", ["head", "sam_decoder"])
def test_a_damaged_engine_is_refused_by_name_with_what_to_do(micro_bundle, tmp_path, stage, damage, told):
    path = copied(micro_bundle, tmp_path / "bundle")
    damage(engine_file(path, stage))
    message = refusal(lambda: Segmenter.load(path))
    for words in (
        str(engine_file(path, stage)),
        told,
        "Copy the bundle again",
        f"export-engines micro --output {path} --force",
    ):
        assert words in message


def test_a_damaged_tokenizer_is_refused_when_words_are_embedded(micro_bundle, tmp_path):
    path = copied(micro_bundle, tmp_path / "bundle", ignore=())
    flip(Bundle.load(path).tokenizer_path())
    with Segmenter.load(path) as segmenter:
        message = refusal(lambda: segmenter.vocabulary(["a name in no cache: tokenizer"]))
    assert "tokenizer." in message and "SHA-256" in message


def test_damage_beside_the_asked_precision_and_stages_is_no_matter(micro_bundle, tmp_path):
    path = copied(micro_bundle, tmp_path / "bundle")
    (path / "notes.txt").write_text("anything")
    flip(engine_file(path, "sam_decoder"))
    assert Bundle.load(path).engine_path("head", "fp32") == engine_file(path, "head")


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("schema_version",), 0, ["schema version 0", "reads 1 to 3", "Export the bundle again"]),
        (("schema_version",), 4, ["schema version 4", "reads 1 to 3", "install the ovdeploy that made it"]),
        (("schema_version",), "1", ["cannot be read", "schema_version"]),
        (("future",), 1, ["cannot be read", "`future`"]),
        (("recipe", "future"), 1, ["cannot be read", "`future`"]),
        (("dimensions", "future"), 1, ["cannot be read", "`future`"]),
        (("stages", "head", "future"), 1, ["cannot be read", "`future`"]),
        (("stages", "head", "engines", "fp32", "future"), 1, ["cannot be read", "`future`"]),
        ((*HEAD_FILES, 0, "future"), 1, ["cannot be read", "`future`"]),
        (("stages", "head", "contract", "future"), 1, ["cannot be read", "`future`"]),
        (("stages", "head", "contract", "inputs", 0, "future"), 1, ["cannot be read", "`future`"]),
        (("text", "tokenizer"), None, ["cannot be read", "tokenizer"]),
        (("dimensions", "embedding"), "64", ["cannot be read", "embedding"]),
        (("recipe", "method"), "future", ["unknown method 'future'", "trident"]),
    ],
)
def test_a_manifest_with_what_this_version_does_not_know_is_refused(micro_bundle, tmp_path, keys, value, told):
    path = edited(micro_bundle, tmp_path, keys, value)
    message = refusal(lambda: Bundle.load(path).recipe.stages)
    assert [words for words in [*told, "bundle.json"] if words not in message] == [], message


def test_another_schema_version_is_told_even_if_nothing_else_can_be_read(tmp_path):
    (tmp_path / "bundle.json").write_text('{"schema_version": 7, "all": "different"}')
    assert "schema version 7" in refusal(lambda: Bundle.load(tmp_path))


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b"{}", b"\xff\xfe", bytes(100), b'{"schema_version": 1}'])
def test_a_manifest_that_is_no_manifest_is_refused(tmp_path, data):
    (tmp_path / "bundle.json").write_bytes(data)
    message = refusal(lambda: Bundle.load(tmp_path))
    assert "bundle.json cannot be read" in message and "Export the bundle again" in message


def test_what_is_no_bundle_is_refused_with_how_to_make_one(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file", str(tmp_path)):
        message = refusal(lambda path=path: Bundle.load(path))
        assert str(path) in message and "no bundle.json" in message and "export-engines" in message


@pytest.mark.parametrize("where", [(*HEAD_FILES, 0, "path"), ("text", "tokenizer", "path")])
@pytest.mark.parametrize("name", ["../x", "..", "a/../../x", "/etc/passwd", "//etc/passwd", "link/x", "link"])
def test_a_path_that_leaves_the_bundle_is_refused_on_load(micro_bundle, tmp_path, where, name):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "link").symlink_to(tmp_path)
    path = edited(micro_bundle, tmp_path / "bundle", where, name)
    message = refusal(lambda: Bundle.load(path))
    assert "bundle.json" in message and repr(name) in message and "outside the bundle" in message


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (HEAD_FILES, []),
        (("stages", "head", "engines"), {}),
        ((*HEAD_FILES, 0, "path"), ""),
        ((*HEAD_FILES, 0, "path"), "."),
        ((*HEAD_FILES, 0, "path"), "a\0b"),
        ((*HEAD_FILES, 0, "path"), "x" * 300),
        ((*HEAD_FILES, 0, "bytes"), -1),
    ],
)
def test_an_entry_that_names_no_file_is_refused(micro_bundle, tmp_path, keys, value):
    path = edited(micro_bundle, copied(micro_bundle, tmp_path / "bundle"), keys, value)
    assert str(path) in refusal(lambda: Bundle.load(path).engine_path("head", "fp32"))


def test_a_link_out_of_the_bundle_is_refused_although_the_file_is_right(micro_bundle, tmp_path):
    path = copied(micro_bundle, tmp_path / "bundle")
    head = engine_file(path, "head")
    shutil.move(head, tmp_path / head.name)
    head.symlink_to(tmp_path / head.name)
    assert "outside the bundle" in refusal(lambda: Bundle.load(path))


def test_links_inside_the_bundle_and_to_it_work(micro_bundle, tmp_path):
    path = copied(micro_bundle, tmp_path / "bundle")
    (path / "store").mkdir()
    head = engine_file(path, "head")
    shutil.move(head, path / "store" / head.name)
    head.symlink_to(path / "store" / head.name)
    (tmp_path / "current").symlink_to(path)
    assert Bundle.load(tmp_path / "current").engine_path("head", "fp32").is_file()


def test_an_unknown_precision_is_answered_with_those_there_are(micro_bundle):
    message = refusal(lambda: Segmenter.load(micro_bundle, precision="fp8"))
    assert "'fp8'" in message and "Valid: fp32" in message and str(micro_bundle) in message


def test_a_stage_that_was_not_exported_is_told_with_how_to_export_it(micro_bundle, tmp_path):
    manifest = Bundle.load(micro_bundle).manifest
    stages = {name: stage for name, stage in manifest.stages.items() if name != "clip_image"}
    path = copied(micro_bundle, tmp_path / "bundle")
    write_manifest(path, msgspec.structs.replace(manifest, stages=stages))
    message = refusal(lambda: Segmenter.load(path))
    for words in (
        str(path),
        "no clip_image stage",
        "sam_encoder",
        f"export-engines micro --output {path} --stages ",
        ",clip_image",
    ):
        assert words in message


def test_a_bundle_copied_elsewhere_works_and_does_not_look_back(micro_bundle, tmp_path, segmenter, vocabulary, photo):
    first = copied(micro_bundle, tmp_path / "first")
    second = shutil.move(first, tmp_path / "ein anderer Ordner ü")
    expected = segmenter.segment(photo, vocabulary)
    with Segmenter.load(second) as moved:
        result = moved.segment(photo, vocabulary)
    assert result.mask.tobytes() == expected.mask.tobytes()
    assert str(micro_bundle) not in (second / "bundle.json").read_text(encoding="utf-8"), (
        "no machine's paths in a bundle"
    )


def test_a_bundle_without_its_text_engine_segments_and_says_what_is_missing(micro_bundle, tmp_path, vocabulary, photo):
    path = copied(micro_bundle, tmp_path / "bundle")
    with Segmenter.load(path) as segmenter:
        assert segmenter.segment(photo, vocabulary).mask.shape == photo.shape[:2]
        message = refusal(lambda: segmenter.vocabulary(["a name in no cache: text engine"]))
    assert f"{engine_file(path, 'text_encoder')} is missing" in message


def test_a_bundle_without_its_text_engine_embeds_names_that_are_in_the_cache(micro_bundle, tmp_path):
    with Segmenter.load(micro_bundle) as whole:
        expected = whole.vocabulary(["cup; mug", "table"])
    with Segmenter.load(copied(micro_bundle, tmp_path / "bundle")) as without:
        found = without.vocabulary(["cup; mug", "table"])
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)


def test_an_altered_manifest_can_be_rewritten_for_an_altered_file(micro_bundle, tmp_path):
    # the counterpart of the tests above: it is the manifest's word that counts, not a list of known hashes
    path = copied(micro_bundle, tmp_path / "bundle")
    head_path = engine_file(path, "head")
    flip(head_path)
    manifest = Bundle.load(path).manifest
    entry = msgspec.structs.replace(manifest.stages["head"].engines["fp32"], files=(file_entry(head_path),))
    head = msgspec.structs.replace(manifest.stages["head"], engines={"fp32": entry})
    write_manifest(path, msgspec.structs.replace(manifest, stages={**manifest.stages, "head": head}))
    assert Bundle.load(path).engine_path("head", "fp32") == head_path


def test_a_bundle_may_be_named_by_its_manifest(micro_bundle):
    assert Bundle.load(micro_bundle / "bundle.json").path == micro_bundle


def test_a_stage_without_an_engine_in_a_precision_is_served_by_its_substitute(bundle):
    manifest = bundle.manifest
    stages = dict(manifest.stages)
    stages["head"] = msgspec.structs.replace(stages["head"], substitutes={"int8": "fp32"})
    write_manifest(bundle.path, msgspec.structs.replace(manifest, stages=stages))
    opened = Bundle.load(bundle.path)
    assert opened.engine_path("head", "int8") == bundle.engine_path("head", "fp32")
    assert opened.census("head", "int8") == opened.census("head", "fp32")
    with open_stage(opened, "head", "int8") as session:
        assert session.contract.stage == "head"
    with pytest.raises(BundleError, match="unknown precision 'int8'"):
        opened.engine_path("dino", "int8")
