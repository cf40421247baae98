"""Names of results: those of the plain rule, for any number of photos."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.photo import listing
from ovdeploy.runtime.photo.listing import Listing, Source
from ovdeploy.runtime.photo.naming import result_names


def names(*places, reserved=()):
    return list(result_names([Source(place, place) for place in places], reserved))


def plainly(places):
    """The rule, in quadratic time: plain names that are nobody else's first, then whole ones with numbers."""
    stems = [os.path.splitext(place)[0] for place in places]
    given_names = {stem for stem in stems if stems.count(stem) == 1}
    found = []
    for place, stem in zip(places, stems, strict=True):
        if stems.count(stem) == 1:
            found.append(stem)
            continue
        tried = (place, *(f"{place}-{number}" for number in range(2, 3 * len(places) + 2)))
        found.append(next(name for name in tried if name not in given_names))
        given_names.add(found[-1])
    return found


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        (["a.png"], ["a"]),
        (["a.png", "a.jpg"], ["a.png", "a.jpg"]),
        (["a.png", "a.png", "a.png"], ["a.png", "a.png-2", "a.png-3"]),
        (["a.png.png", "a.png", "a.png"], ["a.png", "a.png-2", "a.png-3"]),
        (["a.png-2.gif", "a.png", "a.png"], ["a.png-2", "a.png", "a.png-3"]),
        (["a.png", "a.png", "a.png-2.gif"], ["a.png", "a.png-3", "a.png-2"]),
        (["x/a.png", "y/a.png", "x/a.jpg"], ["x/a.png", "y/a", "x/a.jpg"]),
        (["x.y/a", "x.y/a.png"], ["x.y/a", "x.y/a.png"]),
        ([".a", "a\udcff.png", "a\n.png"], [".a", "a\udcff", "a\n"]),
    ],
)
def test_names_are_distinct_and_as_short_as_can_be(places, expected):
    assert names(*places) == expected == plainly(places)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.from_regex(r"(x/)?(a|b|a\.png|a\.png-[23])(\.png|\.jpg|)", fullmatch=True), max_size=14))
def test_names_are_those_of_the_plain_rule(places):
    found = names(*places)
    assert found == plainly(places)
    assert len(set(found)) == len(found)


def test_a_plain_name_that_could_be_another_photos_file_is_made_whole():
    """`a.coco.jpg` would write `a.coco.json`, and so would `a.jpg` in COCO's form."""
    assert names("a.jpg", "a.coco.jpg", reserved=(".coco",)) == ["a", "a.coco.jpg"]


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=8), st.integers(-9, 9))
def test_a_listing_gives_back_what_it_was_given(pairs, index):
    given_sources = [Source(name + place, place) if len(name) % 2 else Source(name, place) for name, place in pairs]
    kept = Listing(iter(given_sources))
    assert list(kept) == given_sources and len(kept) == len(given_sources) and kept[1:3] == given_sources[1:3]
    if -len(pairs) <= index < len(pairs):
        assert kept[index] == given_sources[index]
    else:
        with pytest.raises(IndexError):
            kept[index]


def test_a_list_that_does_not_end_ends(monkeypatch):
    monkeypatch.setattr(listing, "LISTED", 3)
    with pytest.raises(ParameterError, match="more than 3 photos"):
        Listing(Source("a.jpg", "a.jpg") for _ in iter(int, 1))
