"""Which photos a gate may judge by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovdeploy.calib.int8.gate import _too_empty, showing
from ovdeploy.calib.int8.photos import Photo


def photos(count):
    return [Photo(Path(f"{index}.png"), str(index), 9.0) for index in range(count)]


@pytest.mark.parametrize(("label", "kept"), [(0, [1]), (3, [1])])
def test_photos_in_which_nothing_is_found_judge_nothing(label, kept):
    empty = np.full((4, 5), label, np.uint16)
    found = empty.copy()
    found[1, 1] = 7
    assert [int(each.sha256) for each in showing(photos(3), [empty, found, empty])] == kept


def test_what_to_do_is_told_where_too_few_are_left():
    assert _too_empty(photos(5), photos(4), 4) == []
    (told,) = _too_empty(photos(5), photos(2), 4)
    assert told.startswith("in 3 of 5 photos") and "2 are left, 4 are needed; name by --classes" in told
