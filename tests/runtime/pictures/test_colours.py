"""Colours of classes differ, suit common words, and are the same every time."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovdeploy.runtime.pictures.colours import APART, ASTRAY, colours_of, palette, to_lab
from ovdeploy.runtime.pictures.common_words import COLOURS, NAMES, THINGS


def closest(colours):
    lab = to_lab(colours)
    away = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    np.fill_diagonal(away, np.inf)
    return away.min()


@pytest.mark.parametrize(("count", "least"), [(8, 30), (64, 24), (150, 15), (256, 12)])
def test_no_two_colours_are_alike(count, least):
    """2.3 is what a person just sees in two patches side by side."""
    assert closest(palette(count)) >= least


def test_a_class_keeps_its_colour_and_past_256_they_come_again():
    np.testing.assert_array_equal(palette(300)[:40], palette(40))
    np.testing.assert_array_equal(palette(300)[256:], palette(44))
    assert palette(0).shape == (0, 3) and palette(3).dtype == np.uint8


def test_white_is_not_taken_since_legends_are_white():
    assert to_lab(palette(256))[:, 0].max() < 97


@pytest.mark.parametrize(
    ("name", "word"),
    [("sky", "sky"), ("Blue Sky", "blue"), ("wet grass", "grass"), ("dining-table", "table"), ("a person.", "person"),
     ("GREEN_striped", "green"), ("sky; небо", "sky"), ("tree house", "house")],
)  # fmt: skip
def test_a_common_word_has_its_colour(name, word):
    away = np.linalg.norm(to_lab(colours_of([name])) - to_lab(np.array([COLOURS[word].rgb], np.uint8)))
    assert away < 8, "the nearest candidate lies nearer than half a step of their grid"


def test_other_names_have_the_palettes_colours():
    names = [f"class {index}" for index in range(30)]
    np.testing.assert_array_equal(colours_of(names), palette(30))
    assert colours_of([]).shape == (0, 3)


def test_the_second_of_a_kind_differs_from_the_first():
    colours = colours_of(["green striped", "green dotted", "grass", "meadow", "cup", "sky", "clouds"])
    assert closest(colours) >= APART
    for index in (0, 1):
        assert colours[index].argmax() == 1, "both are green all the same"


@given(st.lists(st.sampled_from([*COLOURS, "cup", "mug", "тарелка", ""]), max_size=60))
def test_whatever_the_names_colours_differ_and_stay_near_their_words(names):
    colours = colours_of(names)
    np.testing.assert_array_equal(colours, colours_of(list(names)))
    if len(names) > 1:
        assert closest(colours[:40]) >= 12
    if names and names[0] in COLOURS:
        away = np.linalg.norm(to_lab(colours[:1]) - to_lab(np.array([COLOURS[names[0]].rgb], np.uint8)))
        assert away <= ASTRAY


def test_what_is_given_may_be_changed():
    first = colours_of(["sky", "cup"])
    first[:] = 0
    assert colours_of(["sky", "cup"]).any()


def test_60_000_names_of_colours_take_no_minutes():
    start = time.process_time()
    colours_of([f"{word} {index}" for index in range(3000) for word in NAMES])
    assert time.process_time() - start < 20, "linear in the number of names"


def test_no_word_stands_twice():
    words = [*NAMES, *(word for words in THINGS.values() for word in words.split())]
    assert len(words) == len(set(words)) == len(COLOURS) and all(word == word.casefold() for word in words)
