from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.export.models.miniature.wordpieces import vocabulary, write_wordpieces
from ovdeploy.runtime.errors import BundleError, OvdeployWarning, VocabularyError
from ovdeploy.runtime.words.phrases import LONGEST_TEXT, NOBODY, passes, text_inputs
from ovdeploy.runtime.words.wordpiece import PhraseTokenizer

ENDS = {101, 102, 1012, 1029}
"""`[CLS]`, `[SEP]`, full stop and question mark in BERT's vocabulary."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("words") / "tokenizer.json"
    write_wordpieces(found)
    return found


@pytest.fixture(scope="module")
def tokenizer(path):
    return PhraseTokenizer(path, 256)


def phrases(count, seed=0):
    """Random names: words known and not, letters of several scripts, signs, accents, spaces."""
    random = np.random.default_rng(seed)
    known = [piece for piece in vocabulary() if piece.isalpha()]
    odd = [
        "café",
        "naïve",
        "Straße",
        "猫",
        "собака",
        "traffic-light",
        "t-shirt",
        "O'Neil",
        "#1",
        "A&B",
        "x" * 120,
        "ﬁre",
    ]
    made = ["".join(random.choice(list("abcxyz0189"), random.integers(1, 12))) for _ in range(50)]
    pool = [*known, *odd, *made]
    return [" ".join(random.choice(pool, random.integers(1, 5))) for _ in range(count)]


def upstream(text):
    """Transformers' masks and positions of a text's tokens."""
    torch = pytest.importorskip("torch")
    dino = pytest.importorskip("transformers.models.grounding_dino.modeling_grounding_dino")
    masks, positions = dino.generate_masks_with_special_tokens_and_transfer_map(
        torch.from_numpy(text).long(), torch.tensor(dino.SPECIAL_TOKENS)
    )
    return masks.numpy(), positions.numpy()


@pytest.mark.filterwarnings("ignore::ovdeploy.runtime.errors.OvdeployWarning")
def test_500_random_phrases_are_those_of_transformers(path, tokenizer):
    transformers = pytest.importorskip("transformers")
    processing = pytest.importorskip("transformers.models.grounding_dino.processing_grounding_dino")
    theirs = transformers.BertTokenizer(vocab=vocabulary())
    names = phrases(500)
    lengths = [len(tokenizer.encode(name)) + 1 for name in names]
    for part in passes(lengths):
        text = theirs(processing._merge_candidate_labels_text(names[part]))["input_ids"]
        ours = tokenizer.text(names[part])
        assert ours.tolist() == [text] and len(text) <= LONGEST_TEXT
        made = text_inputs(lengths[part])
        masks, positions = upstream(ours)
        assert np.array_equal(made.attends, masks) and np.array_equal(made.position_ids, positions)


def blocks(text):
    """The published rule in loops: a phrase ends at a sign; what stands behind the last sees itself alone."""
    sees, position, begin = np.eye(len(text), dtype=bool), np.zeros(len(text), int), 0
    for index, token in enumerate(text):
        if token in ENDS:
            if 0 < index < len(text) - 1:
                sees[begin : index + 1, begin : index + 1] = True
                position[begin : index + 1] = np.arange(index + 1 - begin)
            begin = index + 1
    return sees, position


@given(st.lists(st.integers(2, 9), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_masks_and_positions_follow_the_published_rule(lengths):
    text = [101, *(token for length in lengths for token in (*[2000] * (length - 1), 1012)), 102]
    made, (sees, position) = text_inputs(lengths), blocks(text)
    assert np.array_equal(made.attends[0], sees) and np.array_equal(made.position_ids[0], position)
    assert made.owners.tolist() == [
        NOBODY, *(owner for index, n in enumerate(lengths) for owner in (*[index] * (n - 1), NOBODY)), NOBODY
    ]  # fmt: skip


@given(st.lists(st.integers(2, 254), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_passes_hold_every_phrase_once_in_order_and_no_text_is_too_long(lengths):
    found = passes(lengths)
    assert [index for part in found for index in range(part.start, part.stop)] == list(range(len(lengths)))
    sums = [2 + sum(lengths[part]) for part in found]
    assert max(sums) <= LONGEST_TEXT
    assert all(total + lengths[part.stop] > LONGEST_TEXT for total, part in zip(sums, found[:-1], strict=False))


def test_signs_that_end_a_phrase_are_read_as_spaces_and_told(tokenizer):
    with pytest.warns(OvdeployWarning, match=r"'St\. B\?'.*'st b'"):
        told = tokenizer.encode("St. B?")
    assert told == tokenizer.encode("st b") and not ENDS.intersection(told)


def test_a_phrase_has_its_signs_around_it(tokenizer):
    assert tokenizer("a b").tolist() == [[101, *tokenizer.encode("A  b"), 1012, 102]]


@pytest.mark.filterwarnings("ignore::ovdeploy.runtime.errors.OvdeployWarning")
@pytest.mark.parametrize("name", ["", " ", "...", "\u0301", "\u200b"])
def test_a_name_of_which_nothing_is_left_is_refused(name, tokenizer):
    with pytest.raises(VocabularyError, match="sees nothing"):
        tokenizer(name)


def test_a_long_name_is_refused_and_never_cut(path):
    short = PhraseTokenizer(path, 8)
    assert short("a b c d e").shape == (1, 8)
    with pytest.raises(VocabularyError, match="makes 6 tokens, and this detector reads 5"):
        short("a b c d e f")


def test_what_the_tokenizer_does_not_know_is_told(tokenizer):
    with pytest.warns(OvdeployWarning, match="does not know all of '猫 a'"):
        assert tokenizer.encode("猫 a")[0] == 100


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file["model"].update(type="BPE"),
        lambda file: file["model"]["vocab"].pop("[UNK]"),
        lambda file: file["model"]["vocab"].update({"[CLS]": 2**33}),
        lambda file: file.pop("model"),
        lambda file: file.update(normalizer={"type": "Nothing"}),
    ],
)
def test_files_that_are_no_tokenizer_of_berts_are_refused(change, path, tmp_path):
    file = json.loads(path.read_text())
    change(file)
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    with pytest.raises(BundleError, match="tokenizer"):
        PhraseTokenizer(tmp_path / "tokenizer.json", 32)
