"""Names in any script: by a font that has them, shortened where they are too long, and told where no font has them."""

import os
import stat
import sys
import unicodedata
import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, features

from ovdeploy.runtime.errors import OvdeployWarning
from ovdeploy.runtime.pictures import fonts
from ovdeploy.runtime.pictures.fonts import Face, face_for, lacking, own_face
from ovdeploy.runtime.pictures.text import ELLIPSIS, Text, shortened

OWN = "Straße, œuvre, Đặng, Žluťoučký, Ελλάδα, ἄνθρωπος, Ёлка, їжак, “—” € 12.5 % …"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Nothing was told or found before, and fontconfig is not asked."""
    monkeypatch.setattr(fonts, "_told", set())
    monkeypatch.setattr(fonts.shutil, "which", lambda name: None)
    monkeypatch.delenv(fonts.VARIABLE, raising=False)
    fonts._found_face.cache_clear()


def square(side, height=700):
    pen = TTGlyphPen(None)
    for index, point in enumerate(((50, 0), (50, height), (50 + side, height), (50 + side, 0))):
        (pen.lineTo if index else pen.moveTo)(point)
    pen.closePath()
    return pen.glyph()


def font_with(path, characters):
    """A font whose letters are black squares, of 700 or their own heights in a thousandth."""
    heights = dict(characters) if isinstance(characters, dict) else dict.fromkeys(characters, 700)
    names = {f"g{index}": char for index, char in enumerate(heights)}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(char): name for name, char in names.items()})
    builder.setupGlyf({".notdef": square(100), **{name: square(800, heights[char]) for name, char in names.items()}})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


def drawn(text, size=32):
    image = Image.new("L", (int(text.width) + 20, 3 * size), 255)
    text.draw(ImageDraw.Draw(image), (10, 1.5 * size), 0)
    return np.asarray(image) < 128


def test_our_font_has_latin_greek_and_cyrillic_letters():
    assert not lacking(own_face(), OWN)
    assert face_for(OWN) == own_face()
    letters = [chr(code) for code in [*range(0x21, 0x250), *range(0x400, 0x480)]]
    printed = "".join(char for char in letters if unicodedata.category(char)[0] not in "CZ")
    assert lacking(own_face(), printed) <= set("\u0242\u0243\u0244\u0245\u0246\u0247\u0248\u0249")


def test_what_a_font_lacks_is_known():
    assert lacking(own_face(), "a杯b杯😀 \t\n\u200d") == {"杯", "😀"}


def test_a_missing_letter_is_a_box_and_told_once():
    with pytest.warns(OvdeployWarning, match=r"'杯' \(U\+676F\).*OVDEPLOY_FONTS"):
        text = Text("cup 杯", 32)
    assert drawn(text)[:, -30:].any(), "a box stands in its place"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Text("杯 again", 12)
    with pytest.warns(OvdeployWarning, match="桌"):
        Text("杯桌", 12)


def test_a_font_that_is_named_is_taken(tmp_path, monkeypatch):
    path = font_with(tmp_path / "squares.ttf", "杯桌")
    monkeypatch.setenv(fonts.VARIABLE, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert face_for("杯") == Face(path)
        text = Text("cup 杯", 40)
    ink = drawn(text, 40)
    assert ink[:, -38:-18].any(axis=0).all() and ink.sum() > 700, "our letters, and a black square"


def test_one_font_for_the_whole_name_comes_before_two(tmp_path, monkeypatch):
    few, all_letters = font_with(tmp_path / "few.ttf", "杯"), font_with(tmp_path / "all.ttf", "杯cup ")
    monkeypatch.setenv(fonts.VARIABLE, os.pathsep.join([few, all_letters]))
    assert face_for("cup 杯") == Face(all_letters)
    assert face_for("杯") == Face(few)


@pytest.mark.parametrize("content", [b"", b"no font", None, "FIFO"])
def test_what_is_named_and_is_no_font_is_told(tmp_path, monkeypatch, content):
    path = tmp_path / "DejaVuSans.ttf"  # Pillow would look for a missing one elsewhere
    if content == "FIFO":
        os.mkfifo(path)
    elif content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(fonts.VARIABLE, str(path))
    with pytest.warns(OvdeployWarning, match="no font that can be read"):
        assert face_for("杯") is None
    assert face_for("abc") == own_face()


def asked(tmp_path, monkeypatch, answer):
    """A fontconfig that gives one answer."""
    program = tmp_path / "fc-match"
    program.write_text(f"#!{sys.executable}\nimport sys\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(fonts.shutil, "which", lambda name: str(program))
    return program


def test_fontconfig_is_asked_for_exactly_what_is_missing(tmp_path, monkeypatch):
    path = font_with(tmp_path / "found.ttf", "杯桌")
    asked(tmp_path, monkeypatch, f"open({str(tmp_path / 'asked')!r}, 'a').write(sys.argv[-1] + chr(10)); "
                                 f"print('0', {path!r}, end='')")  # fmt: skip
    assert face_for("桌杯") == Face(path) and face_for("桌杯") == Face(path)
    assert (tmp_path / "asked").read_text().splitlines() == ["sans:scalable=true:charset=676f 684c"], "once"
    assert face_for("abc") == own_face()
    assert face_for("杯椅") is None, "what fontconfig gives need not have all letters"


@pytest.mark.parametrize(
    "answer", ["sys.exit(1)", "print('nothing')", "print('0 /no/such/file', end='')", "import os; os.abort()", "pass"]
)
def test_a_fontconfig_that_fails_is_none(tmp_path, monkeypatch, answer):
    asked(tmp_path, monkeypatch, answer)
    assert face_for("杯") is None


def test_a_long_name_ends_in_an_ellipsis():
    name = "a name that goes on and on"
    for width in (10, 60, 120, 10_000):
        text = shortened(name, 16, width)
        assert text.width <= max(width, Text("a" + ELLIPSIS, 16).width)
    assert shortened(name, 16, 10_000).width == Text(name, 16).width
    assert shortened("x", 16, 1).width == Text("x", 16).width


def test_marks_are_not_parted_from_their_letter():
    hindi = shortened("\u0932\u093f" * 40, 16, 60)
    letters = "".join(run.text for run in hindi._runs).removesuffix(ELLIPSIS)
    assert letters.count("\u0932") == letters.count("\u093f"), "a vowel sign is a mark too"
    name = "e\u0301" * 40
    for width in range(20, 200, 7):
        cut = shortened(name, 16, width)
        assert "".join(run.text for run in cut._runs).removesuffix(ELLIPSIS).count("e") * 2 == len(
            "".join(run.text for run in cut._runs).removesuffix(ELLIPSIS)
        )


@pytest.mark.skipif(not features.check("raqm"), reason="this Pillow cannot shape")
def test_right_to_left_is_written_from_the_right(tmp_path, monkeypatch):
    """The second letter is the low one, and stands left of the first."""
    monkeypatch.setenv(fonts.VARIABLE, font_with(tmp_path / "hebrew.ttf", {"א": 700, "ב": 200}))
    heights = drawn(Text("אב", 32)).sum(axis=0)
    assert heights[10:40].max() < 10 < 20 < heights[44:74].max()


@settings(deadline=None, max_examples=60)
@example("end of a paragraph\u2029", 8, 1.0)
@example("end of a line\u2028\n\x85", 8, 300.0)
@example("half a character \udcff", 8, 300.0)
@given(st.text(max_size=30), st.integers(8, 28), st.floats(1, 300))
def test_any_text_is_drawn(text, size, width):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OvdeployWarning)
        found = shortened(text, size, width)
        drawn(found, size)
    assert found.width >= 0
