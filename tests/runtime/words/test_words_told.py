"""Names that CLIP would take for something else: too long, the same as another, alone, or given once."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime import Bundle, OvdeployWarning, Vocabulary, VocabularyError, available_recipes, load_recipe
from ovdeploy.runtime.datasets import available_specs, load_spec
from ovdeploy.runtime.words.tokenizer import ClipTokenizer, pieces
from ovdeploy.runtime.words.vocabulary import check_words, parse_classes


def tokenizer(micro_bundle) -> ClipTokenizer:
    return ClipTokenizer(Bundle.load(micro_bundle).tokenizer_path(), 77)


def test_a_name_that_would_be_cut_is_refused_with_its_name_and_count(segmenter):
    ending = "a " * 80
    with pytest.raises(VocabularyError, match=r"name 'a a .*…' makes \d+ tokens with its template, and CLIP reads 77"):
        segmenter.vocabulary([f"{ending}cup", f"{ending}table"])


def test_a_name_that_just_fits_is_taken(segmenter, micro_bundle):
    cut = tokenizer(micro_bundle)
    fits = next(n for n in range(80, 0, -1) if not cut.cut("a " * n))
    assert fits == 75 and cut.cut("a " * 76) == 78
    assert len(segmenter.vocabulary(["a " * 75, "table"], templates=["{}"])) == 2
    with pytest.raises(VocabularyError, match="makes 78 tokens"):
        segmenter.vocabulary(["a " * 75 + "cup", "table"], templates=["{}"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["T-shirt", "t - shirt"], "'T-shirt' and 't - shirt' are the same"),
        (["a &lt b", "a < b"], "are the same"),
        (["sea  side", "sea side"], "are the same"),
        (["\x01"], "sees nothing"),
    ],
)
def test_names_that_clip_cannot_tell_apart_or_see_are_refused(words, told, segmenter):
    with pytest.raises(VocabularyError, match=told):
        segmenter.vocabulary(words)


@pytest.fixture(scope="module")
def read(micro_bundle):
    return tokenizer(micro_bundle)


@given(left=st.text(max_size=12), right=st.text(max_size=12))
@settings(deadline=None)
def test_the_same_pieces_are_the_same_tokens(left, right, read):
    for other in (right, left.swapcase(), f" {left}  ", left.replace(" ", "\t")):
        assert (read.encode(left) == read.encode(other)) == (pieces(left) == pieces(other))


def test_the_classes_of_all_datasets_and_recipes_can_be_told_apart():
    for name in available_specs():
        spec = load_spec(name)
        check_words(word for words in parse_classes(spec.classes) for word in words)
    for name in available_recipes():
        check_words(word for words in parse_classes(load_recipe(name).classes or ["a"]) for word in words)


def test_generators_of_classes_and_templates_are_read_once(segmenter):
    listed = segmenter.vocabulary(["cup; mug", "table"], templates=["a {}.", "{}"])
    given_once = segmenter.vocabulary((c for c in ["cup; mug", "table"]), templates=(t for t in ["a {}.", "{}"]))
    assert given_once.synonyms == listed.synonyms
    assert given_once.embeddings.tobytes() == listed.embeddings.tobytes()


def test_a_single_class_is_warned_of_and_the_result_says_so(segmenter, photo, vocabulary):
    alone = Vocabulary(["cup; mug"], vocabulary.embeddings[:2])
    with pytest.warns(OvdeployWarning, match=r"'cup' is the only class.*'background'"):
        result = segmenter.segment(photo, alone)
    assert len(result.warnings) == 1 and result.to_dict()["warnings"] == list(result.warnings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segmenter.segment(photo, vocabulary).warnings == ()


def test_many_photos_are_warned_of_once_and_each_result_says_it(segmenter, photo, vocabulary):
    alone = Vocabulary(["cup"], vocabulary.embeddings[:1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        results = list(segmenter.segment_many([photo] * 4, alone))
    assert len([w for w in caught if w.category is OvdeployWarning]) == 1
    assert all("only class" in result.warnings[0] for result in results)


def test_embedding_many_names_tells_how_far_it_is(segmenter):
    told = []
    segmenter.vocabulary([f"name {i}" for i in range(5)], progress=lambda event, **more: told.append((event, more)))
    assert [event for event, _ in told] == [f"embedding names, {i} of 5" for i in range(1, 6)]
    assert [more["share"] for _, more in told] == [0.0, 0.2, 0.4, 0.6, 0.8]
