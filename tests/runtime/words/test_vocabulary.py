"""Class names, saved vocabularies, and embeddings from a text engine with a cache on disk."""

import io
import zipfile

import numpy as np
import pytest

from ovdeploy.runtime import Vocabulary, VocabularyError
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.pipelines.text_embedder import TextEmbedder, unit
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec
from ovdeploy.runtime.words.vocabulary import parse_classes

TEMPLATES = ("a {}.", "two {}s", "{}")
NAMES = ("cup", "table", "cup")
DAMAGE = {
    "empty": lambda data: b"",
    "garbage": lambda data: b"garbage",
    "start of a zip": lambda data: b"PK\x03\x04garbage",
    "truncated early": lambda data: data[:50],
    "truncated late": lambda data: data[:-4],
    "zeros": lambda data: bytes(len(data)),
}
PICKLE = b"cos\nmkdir\n(Vexploded\ntR."  # makes the folder `exploded` when it is unpickled


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["cup; mug", "table"], (("cup", "mug"), ("table",))),
        (["  Cup ;mug\t"], (("Cup", "mug"),)),
        (iter(["a", "b;c"]), (("a",), ("b", "c"))),
        (["a, b"], (("a, b",),)),
        (["テーブル; 桌子", "🪑"], (("テーブル", "桌子"), ("🪑",))),
    ],
)
def test_classes_are_split_into_synonyms(classes, expected):
    assert parse_classes(classes) == expected


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ([], "empty"),
        ([""], "class 0 has an empty name"),
        (["a", " ; "], "class 1 has an empty name"),
        (["cup", "CUP"], "'CUP' stands twice"),
        (["cup; Cup"], "'Cup' stands twice"),
        (["straße", "STRASSE"], "'STRASSE' stands twice"),
        ("cup", r"write \['cup'\]"),
        ([3], "3"),
        (["cup", None], "None"),
    ],
)
def test_classes_that_cannot_be_used_are_refused(classes, told):
    with pytest.raises(VocabularyError, match=told):
        parse_classes(classes)


@pytest.mark.parametrize(
    ("embeddings", "told"),
    [
        (np.ones((0, 4)), r"expected embeddings \[3, E\].*got \[0, 4\]"),
        (np.ones((4, 4)), r"expected embeddings \[3, E\].*got \[4, 4\]"),
        (np.ones(3), r"got \[3\]"),
        (np.ones((3, 4, 1)), r"got \[3, 4, 1\]"),
        (np.full((3, 4), np.nan), "NaN"),
        (np.diag([1, np.inf, 1]), "infinity"),
        (np.full((3, 4), "x"), "embeddings"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(embeddings, told):
    with pytest.raises(VocabularyError, match=told):
        Vocabulary(["cup; mug", "table"], embeddings)


def test_a_vocabulary_knows_where_the_queries_of_each_class_begin():
    vocabulary = Vocabulary(["a; b; c", "d", "e; f"], np.ones((6, 4), np.float64))
    assert (len(vocabulary), vocabulary.names) == (3, ("a", "d", "e"))
    assert vocabulary.query_starts.tolist() == [0, 3, 4]
    assert vocabulary.embeddings.dtype == np.float32


@pytest.mark.parametrize(
    ("classes", "background", "expected"),
    [
        (["cup; mug"], None, False),
        (["background; sky"], None, True),
        (["wall; BackGround"], None, True),
        (["cup", "background"], None, False),
        (["backgrounds", "table"], None, False),
        (["cup", "table"], True, True),
        (["background", "table"], False, False),
    ],
)
def test_class_0_is_the_background_if_a_synonym_says_so_or_the_caller_does(classes, background, expected):
    assert Vocabulary(classes, np.ones((2, 4)), background=background).background is expected


@pytest.mark.parametrize("name", ["v", "v.npz", "v.vocabulary", "new/folder/v", "ü 🪑.npz"])
@pytest.mark.parametrize("background", [False, True])
def test_a_vocabulary_is_saved_under_the_very_name_given_and_comes_back(tmp_path, name, background):
    saved = Vocabulary(
        ["テーブル; 桌子", "🪑; é", "a, b"], np.random.default_rng(0).random((5, 4)), background=background
    )
    saved.save(tmp_path / name)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [name]
    loaded = Vocabulary.load(str(tmp_path / name))
    assert (loaded.synonyms, loaded.background) == (saved.synonyms, background)
    np.testing.assert_array_equal(loaded.embeddings, saved.embeddings)


@pytest.mark.parametrize(
    "damage", [*DAMAGE.values(), lambda data: data.replace(b"cup", b"mug")], ids=[*DAMAGE, "altered"]
)
def test_a_damaged_vocabulary_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "damaged.npz"
    Vocabulary(["cup"], np.ones((1, 4))).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VocabularyError, match=r"damaged\.npz.*Vocabulary\.save"):
        Vocabulary.load(path)


def test_a_vocabulary_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(VocabularyError, match="not a vocabulary"):
            Vocabulary.load(path)


@pytest.mark.parametrize("header", ["", "{}", "[]", "null", '{"classes": 3, "background": false}', '{"classes": []}'])
def test_a_vocabulary_with_another_header_is_refused(tmp_path, header):
    np.savez(tmp_path / "v.npz", header=np.array(header), embeddings=np.ones((1, 4)))
    with pytest.raises(VocabularyError):
        Vocabulary.load(tmp_path / "v.npz")


def object_array():
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return file.getvalue() + PICKLE


def zip_of(data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("header.npy", data)
    return file.getvalue()


@pytest.mark.parametrize("data", [PICKLE, object_array(), zip_of(object_array()), zip_of(PICKLE)])
def test_a_pickle_is_refused_and_never_unpickled(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb").write_bytes(data)
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.load("bomb")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb"]
    assert "unsafely" not in str(caught.value), "the message must not tell the user to unpickle it"


def fake_features(feeds):
    # any function of the tokens will do; lengths differ, so that the mean of raw features points elsewhere
    rows = feeds["tokens"].astype(np.float32)
    return {"features": np.stack([rows[:, 0], rows[:, 1], rows.sum(1), np.ones(len(rows))], 1).astype(np.float32)}


def fake_tokenizer(texts):
    return np.array([[len(text), sum(map(ord, text)) % 97, 0] for text in texts], np.int32)


def embedder(folder, identity="engine 1"):
    """An embedder, and the list of the sessions that it opens."""
    tokens = TensorSpec(name="tokens", dtype="int32", shape=("P", 3), layout="texts, tokens", range="any")
    features = TensorSpec(name="features", dtype="float32", shape=("P", 4), layout="any", range="any")
    contract = StageContract(stage="text_encoder", inputs=(tokens,), outputs=(features,))
    opened = []

    def open_engine():
        opened.append(FakeSession(contract, fake_features))
        return opened[-1]

    return TextEmbedder(open_engine, lambda: fake_tokenizer, identity, folder), opened


def test_an_embedding_is_the_unit_mean_of_unit_vectors(tmp_path):
    tokens = fake_tokenizer([template.replace("{}", "{cup}") for template in TEMPLATES])
    features = fake_features({"tokens": tokens})["features"].astype(np.float64)
    expected = unit(unit(features).mean(axis=0))
    embedding = embedder(tmp_path)[0].embed("{cup}", TEMPLATES)
    assert embedding.dtype == np.float32
    # float32 against float64: a few units in the last place of values below 1
    np.testing.assert_allclose(embedding, expected, atol=1e-6)
    assert np.abs(unit(features.mean(axis=0)) - expected).max() > 1e-3, "the case must tell the two means apart"


def test_the_engine_is_opened_once_for_many_names_and_not_for_those_in_the_cache(tmp_path):
    first, opened = embedder(tmp_path)
    expected = [first.embed(name, TEMPLATES) for name in NAMES]
    assert [len(session.calls) for session in opened] == [2]
    second, opened = embedder(tmp_path)
    np.testing.assert_array_equal([second.embed(name, TEMPLATES) for name in NAMES], expected)
    assert not opened


@pytest.mark.parametrize(
    ("identity", "name", "templates"),
    [("engine 2", "cup", TEMPLATES), ("engine 1", "Cup", TEMPLATES)]
    + [("engine 1", "cup", other) for other in (TEMPLATES[:2], TEMPLATES[::-1], ("a {}.two {}s", "{}"))],
)
def test_another_engine_name_or_template_is_not_found_in_the_cache(tmp_path, identity, name, templates):
    embedder(tmp_path)[0].embed("cup", TEMPLATES)
    made, opened = embedder(tmp_path, identity)
    made.embed(name, templates)
    assert len(opened) == 1


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGE.values(),
        lambda data: data.replace(b"[4]", b"[9]"),
        lambda data: data[:-16] + np.full(4, np.nan, np.float32).tobytes(),
        lambda data: data.replace(b"<f4", b"<i4"),
    ],
    ids=[*DAMAGE, "header", "NaN", "integers"],
)
def test_a_cache_file_that_holds_no_embedding_is_computed_again(tmp_path, damage):
    made = embedder(tmp_path)[0]
    expected = [made.embed(name, TEMPLATES) for name in NAMES]
    for path in tmp_path.glob("*.embedding"):
        path.write_bytes(damage(path.read_bytes()))
    made, opened = embedder(tmp_path)
    np.testing.assert_array_equal([made.embed(name, TEMPLATES) for name in NAMES], expected)
    assert [len(session.calls) for session in opened] == [2], "written again, so that the third name is found"


def test_a_cache_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("where the folder should be")  # tests run as root, whom permissions do not stop
    expected = embedder(tmp_path / "folder")[0].embed("cup", TEMPLATES)
    made, opened = embedder(tmp_path / "file" / "embeddings")
    np.testing.assert_array_equal([made.embed("cup", TEMPLATES) for _ in range(2)], [expected, expected])
    assert len(opened[0].calls) == 2


@pytest.mark.parametrize("templates", [(), ("",), ("a cup",), ("{}", "a cup"), ("{ }",), ("{0}",), "a photo"])
def test_templates_without_a_place_for_the_name_are_refused(tmp_path, templates):
    made, opened = embedder(tmp_path)
    with pytest.raises(VocabularyError, match=r"\{\}"):
        made.embed("cup", templates)
    assert not opened
