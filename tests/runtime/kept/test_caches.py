"""Every cache under damage: the same answer as without it, at once, and without a word on standard output."""

import random
import shutil
import time

import pytest

from support.caches import CACHES
from support.damage import clear, in_place_of_files, some

DAMAGES = 25
"""Of each cache; `tests/measure/flips.py` does more."""

SOON = 5.0
"""Seconds that no answer takes: nothing waits for a pipe."""


@pytest.fixture(params=CACHES)
def cache(request):
    return CACHES[request.param]


def test_what_is_kept_is_found_again(cache, tmp_path):
    first, second = cache.ask(tmp_path), cache.ask(tmp_path)
    assert first.made and not second.made and first.content == second.content
    assert cache.files(tmp_path)


def test_damage_anywhere_gives_the_same_answer_and_is_mended(cache, tmp_path):
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    whole.mkdir()
    expected = cache.ask(whole).content
    rng = random.Random(5)
    for kind, damage in some(DAMAGES):
        shutil.copytree(whole, damaged)
        path = rng.choice(cache.files(damaged))
        before = path.read_bytes()
        damage(path)
        changed = path.read_bytes() != before
        answer = cache.ask(damaged)
        assert answer.content == expected, f"{kind} in {path.name}"
        assert bool(answer.made) == changed, f"{kind} in {path.name}"
        assert cache.ask(damaged) == (expected, 0), "it was made anew for good"
        shutil.rmtree(damaged)


@pytest.mark.parametrize("kind", in_place_of_files())
@pytest.mark.parametrize("name", [name for name in CACHES if name != "journal"])  # see test_journal.py
def test_what_is_no_file_neither_hangs_nor_counts(name, kind, tmp_path):
    cache = CACHES[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    expected = cache.ask(whole).content
    path = cache.files(whole)[0]
    in_place_of_files()[kind](path)
    start = time.monotonic()
    assert cache.ask(whole).content == expected
    assert time.monotonic() - start < SOON
    clear(path)
    assert cache.ask(whole).content == expected and cache.ask(whole).made == 0


def test_files_of_one_thing_under_the_name_of_another_do_not_count(cache, tmp_path):
    expected = cache.ask(tmp_path).content
    paths = cache.files(tmp_path)
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, [*contents[1:], *contents[:1]], strict=True):
        path.write_bytes(content)
    assert cache.ask(tmp_path).content == expected
