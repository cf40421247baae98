"""The runtime's tokenizer against open_clip's, which is the truth on every text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from ovdeploy.export.models.text_assets import imagenet_templates, write_tokenizer
from ovdeploy.runtime.words.tokenizer import END, START, ClipTokenizer

CONTEXT = 77
START_ID, END_ID = 49406, 49407

HARD_TEXTS = {
    "empty": "",
    "one space": " ",
    "only white space": " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000",
    "white space inside": "a \t b\u2003c\x1fd\u3000e",
    "zero-width space is none": "a\u200bb\ufeffc\u180ed",
    "plain": "a photo of a cup",
    "upper case": "A PHOTO OF A CUP",
    "underscores and digits": "class_12 x2y 3.14 1,000",
    "curly quotes": "‘cup’s’ “mug” it’s they’re",
    "contractions": "i'm you're he's we'll they've don't she'd",
    "contractions in upper case": "I'M YOU'RE HE'S WE'LL THEY'VE DON'T SHE'D",
    "apostrophes in a row": "''s '''t 'll'll's's'",
    "contraction after a digit": "1's 2'll",
    "ligatures": "ﬁne ﬂour oﬃce ﬆ ﬅ ﬀ",
    "ligature from an entity": "'&#xFB06; &#xFB01;",
    "ligature from an entity in a special token": "<&#xFB06;art_of_text> <&#xFB05;art_of_text>",
    "full-width": "ＡＢＣ１２３！？ ＜start_of_text＞",
    "half-width katakana": "ﾃｰﾌﾞﾙ ｶﾞ",
    "entities": "&amp; &lt;b&gt; &quot; &nbsp;x &#65; &#x42; &notanentity;",
    "entities twice and three times": "&amp;amp; &amp;amp;amp; &amp;lt;cup&amp;gt;",
    "entities that are no characters": "&#0; &#12; &#xd800; &#x110000; &#128;",
    "mojibake": "cafÃ© â€œquotedâ€\x9d schÃ¶n",
    "final sigma": "ΟΔΟΣ ΟΔΟΣ. ΣΑΣ Σ ΑΣ1 ΑΣ'Σ",
    "Turkish dotted I": "İstanbul İ I ı IŞIK",
    "long s": "ſ 'ſ it'ſ aſb Meſſer",
    "long s in a special token": "<ſtart_of_text>",
    "Kelvin and Angstrom signs": "300 K 5 Å Ω",
    "sharp s": "straße STRASSE ẞ",
    "title case letters": "ǅ ǈ ǋ ǲ",
    "letters whose folding has two characters": "ŉ ʼn ǰ j\u030c ẖ h\u0331 ΐ և եւ",
    "combining marks": "e\u0301 é a\u0308\u0323 \u0301 \u0301\u0302x",
    "ypogegrammeni in a word": "ᾳ α\u0345 ῳ",
    "ypogegrammeni from an entity": "&#x345; a&#x345;b",
    "variation selectors": "☕\ufe0f ☕\ufe0e ❤\ufe0f",
    "emoji": "🪑 ☕ 👍🏽 🇩🇪 a🪑b",
    "zero-width joiner": "👩\u200d👩\u200d👧 a\u200db क\u094d\u200dष",
    "CJK": "咖啡杯 テーブル 컵 桌子1张",
    "right to left": "كوب قهوة שולחן \u202eabc\u202c",
    "digits of all kinds": "² ½ ٣ ४ Ⅷ ① 〇 x²y 1½2 ٣٤",
    "control characters": "\x00\x01a\x02\x07b\x1bc\x7f\x80\x9f",
    "soft hyphen": "co\u00adoperate",
    "private use and non-characters": "\ue000 \ufffe \uffff \U0010ffff",
    "surrogate pair written as entities": "&#xd83d;&#xde00;",
    "special token": START,
    "end token": END,
    "special tokens, adjacent": START + END + END + START,
    "special tokens in upper case": "<START_OF_TEXT> <End_Of_Text>",
    "special tokens after punctuation": f"!{START} .{END} !!{END}a -{START}-",
    "special tokens before punctuation": f"{START}! {END}. {START}'s",
    "special tokens in words": f"a{START}b 1{END}2 é{END}é",
    "special tokens, incomplete": "<start_of_text start_of_text> <<start_of_text>> <start of text> <|startoftext|>",
    "special tokens from entities": "&lt;start_of_text&gt; &amp;lt;end_of_text&amp;gt;",
    "exactly as long as the context": " ".join(["cup"] * 75),
    "one token too long": " ".join(["cup"] * 76),
    "much too long": "photo of a cup, " * 200,
    "one long word": "a" * 600,
    "one long word of many merges": "internationalization" * 40,
    "special tokens beyond the cut": (START + END) * 60,
    "letters of Unicode 16, in words": "a\u1c8ab a\ua7dab a\U00010d4ab a\U000105c0b",
    "letters of Unicode 17, in words": "a\u088fb a\u0c5cb a\ua7cfb a\U000323b0b a\U00011db0b",
    "letters of later Unicode, in words": "a\u0558b a\ua7e2b a\U0003d000b a\U00012550b",
    "unassigned, in words": "a\u0378b a\u05ffb a\U000e0fffb a\U0002fe00b",
}

TRICKY = (
    "'’\"“<>_&;#!.,-~|/\\ \t\x00\x1f\x85\u00ad\u200b\u200d\ufe0f\ufeff\u2028"
    "aAsStTlLmMdDvVrReEiIıİkKKſßẞσςΣÅÅŉǰʼǅﬁﬆ\u0301\u0307\u030a\u030c\u0331\u0345\u034f"
    "0129²½٣Ⅷ①中あｶﾞ컵ก็כض🪑👩🏽🇩€Ã©â™Âﬓ\u088f\ua7ce\U000323b0\ue000\uffff"
)
FRAGMENTS = [
    *[START, END, START.upper(), END.title(), "<ſtart_of_text>", START[:-1], END[1:], "&lt;start_of_text&gt;"],
    *["'s", "'S", "'ſ", "'re", "'LL", "’t", "&amp;", "&amp;amp;", "&#39;s", "&#x345;", "&#xfb06;", "â€™", "..."],
    *"!<>-_' \u3000aéΣ1²中☕\u0301",
]
FUZZ = settings(max_examples=400, deadline=None)  # the first example loads ftfy's tables


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return ClipTokenizer(path, CONTEXT)


@pytest.fixture(scope="module")
def clip():
    return SimpleTokenizer()


def assert_same(tokenizer, clip, texts):
    ours, theirs = tokenizer(texts), clip(texts).numpy()
    wrong = [text for text, a, b in zip(texts, ours, theirs, strict=True) if not np.array_equal(a, b)]
    assert not wrong, f"{len(wrong)} of {len(texts)} texts differ, for example {wrong[0]!a}"


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS.keys())
def test_hard_texts_have_open_clips_tokens(tokenizer, clip, text):
    np.testing.assert_array_equal(tokenizer([text]), clip([text]).numpy())


@FUZZ
@given(text=st.text(max_size=40))
def test_any_text_has_open_clips_tokens(tokenizer, clip, text):
    assert_same(tokenizer, clip, [text])


@FUZZ
@given(text=st.text(alphabet=TRICKY, max_size=30))
def test_texts_of_tricky_characters_have_open_clips_tokens(tokenizer, clip, text):
    assert_same(tokenizer, clip, [text])


@FUZZ
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_texts_of_special_tokens_and_punctuation_have_open_clips_tokens(tokenizer, clip, text):
    assert_same(tokenizer, clip, [text])


@FUZZ
@given(text=st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Mn", "Nl", "No"]), max_size=20))
def test_texts_of_assigned_letters_marks_and_numbers_have_open_clips_tokens(tokenizer, clip, text):
    assert_same(tokenizer, clip, [text])


def test_every_character_is_cut_as_open_clip_cuts_it(tokenizer, clip):
    # Its kind shows between a letter and a sign: a letter joins the one, a sign the other, a number neither. Characters
    # are assigned on planes 0 to 3; the rest, tags and private use, by samples (all of it takes a minute).
    characters = [c for c in range(0x40000) if not 0xD800 <= c < 0xE000] + list(range(0x40000, 0x110000, 97))
    blocks = [characters[start : start + 256] for start in range(0, len(characters), 256)]
    suspects = [c for block in blocks if not encoded_alike(tokenizer, clip, *block) for c in block]
    wrong = [f"U+{c:04X}" for c in suspects if not encoded_alike(tokenizer, clip, c)]
    assert not wrong, f"{len(wrong)} characters differ: {' '.join(wrong[:40])}"


def encoded_alike(tokenizer, clip, *characters):
    text = " ".join(f"a{chr(c)}!" for c in characters)
    return tokenizer.encode(text) == clip.encode(text)


def test_prompts_of_all_templates_have_open_clips_tokens(tokenizer, clip):
    names = ["cup", "Coffee Mug", "Schüßel", "t-shirt", "咖啡"]
    assert_same(tokenizer, clip, [template.replace("{}", name) for template in imagenet_templates() for name in names])


def test_tokens_are_int32_rows_between_start_and_end_padded_with_zeros(tokenizer):
    rows = tokenizer(["", "cup"])
    assert rows.dtype == np.int32
    assert rows.shape == (2, CONTEXT)
    assert rows[0, :2].tolist() == [START_ID, END_ID]
    assert not rows[0, 2:].any()
    assert rows[1, 0] == START_ID
    assert rows[1, 2] == END_ID


def test_no_texts_have_no_rows(tokenizer):
    assert tokenizer([]).shape == (0, CONTEXT)


@pytest.mark.parametrize("context", [2, 3, 16, 77, 100])
def test_texts_are_cut_to_the_context_with_the_end_token_last(tokenizer, clip, context):
    short = ClipTokenizer.__new__(ClipTokenizer)
    short.__dict__ |= {**tokenizer.__dict__, "context_length": context}
    texts = ["", "cup", "cup " * 200]
    rows = short(texts)
    np.testing.assert_array_equal(rows, clip(texts, context_length=context).numpy())
    assert rows[2, -1] == END_ID
