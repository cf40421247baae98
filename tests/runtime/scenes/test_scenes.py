"""Drawn scenes: seeded, exactly labelled, and true to which combinations training may see."""

from collections import Counter

import cv2
import numpy as np
import pytest

from ovdeploy.runtime.scenes import (
    ALL_NAMES,
    COLOURS,
    FIRST_TEST_SEED,
    HELD_OUT,
    PATTERNS,
    SEEN,
    STUFF,
    THINGS,
    draw_scene,
)
from ovdeploy.runtime.scenes.draw import _paint, _silhouette, choose_names
from ovdeploy.runtime.scenes.materials import PATTERN_COVER, STUFF_TEXTURES
from ovdeploy.runtime.scenes.names import parts
from ovdeploy.runtime.scenes.silhouettes import SILHOUETTES


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def held_out_scenes():
    return [draw_scene(seed, held_out=True) for seed in range(FIRST_TEST_SEED, FIRST_TEST_SEED + 16)]


def test_the_names_are_what_the_pictures_promise():
    assert len(THINGS) >= 24 and len(set(ALL_NAMES)) == len(ALL_NAMES) == len(THINGS) + len(STUFF) <= 256
    assert set(HELD_OUT) < set(THINGS) and set(SEEN) == set(THINGS) - set(HELD_OUT)
    assert set(STUFF_TEXTURES) == set(STUFF) and set(PATTERN_COVER) == set(PATTERNS)


@pytest.mark.parametrize("name", HELD_OUT)
def test_neither_colour_nor_pattern_alone_tells_a_held_out_name(name):
    colour, pattern = parts(name)
    assert sum(colour in parts(seen) for seen in SEEN) >= 2
    assert sum(pattern in parts(seen) for seen in SEEN) >= 2


@pytest.mark.parametrize("held_out", [False, True])
def test_a_seed_draws_the_same_scene_again_and_another_seed_another(held_out):
    first, again, other = (draw_scene(seed, held_out=held_out) for seed in (7, 7, 8))
    assert first.photo.tobytes() == again.photo.tobytes() and first.labels.tobytes() == again.labels.tobytes()
    assert first.names == again.names and first.captions == again.captions
    assert first.photo.tobytes() != other.photo.tobytes()
    assert first.photo.tobytes() != draw_scene(7, held_out=not held_out).photo.tobytes()


def test_types_sizes_and_names_are_as_documented(scenes):
    for scene in scenes:
        assert scene.photo.dtype == scene.labels.dtype == np.uint8
        assert scene.photo.shape == (*scene.labels.shape, 3)
        assert scene.names == tuple(ALL_NAMES[i] for i in sorted(set(scene.labels.flatten().tolist())))
        assert len(scene.captions) >= 2 and all(caption.strip() == caption for caption in scene.captions)
    shapes = {scene.labels.shape for scene in scenes}
    assert len(shapes) > 30
    assert any(h > w for h, w in shapes) and any(w > h for h, w in shapes) and any(w == h for h, w in shapes)


def test_every_name_that_training_may_see_is_drawn_and_no_other(scenes):
    drawn = Counter(name for scene in scenes for name in scene.names)
    assert set(drawn) == {*SEEN, *STUFF}
    assert max(len(scene.names) for scene in scenes) >= 7


def test_held_out_scenes_draw_every_held_out_name(held_out_scenes):
    drawn = Counter(name for scene in held_out_scenes for name in scene.names)
    assert set(HELD_OUT) <= set(drawn)
    assert all(set(scene.names) & set(HELD_OUT) for scene in held_out_scenes)


def test_a_held_out_thing_has_company_of_its_colour_and_of_its_pattern():
    for seed in range(50):
        names = choose_names(np.random.default_rng(seed), held_out=True)
        for name in set(names) & set(HELD_OUT):
            others = [parts(other) for other in names if other in SEEN]
            assert any(parts(name)[0] == colour for colour, _ in others)
            assert any(parts(name)[1] == pattern for _, pattern in others)


@pytest.mark.parametrize("noun", SILHOUETTES)
def test_silhouettes_are_closed_and_fit_their_radius(noun):
    polygon = SILHOUETTES[noun]()
    assert np.linalg.norm(polygon, axis=1).max() == pytest.approx(1)
    x, y = polygon.T
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    assert 0.5 < area <= np.pi, "no line, no figure of eight that cancels out"


def test_a_silhouette_covers_the_pixels_of_its_polygon(monkeypatch):
    """Against the area of a disc, and the distance of pixel centres from its middle."""
    monkeypatch.setattr("ovdeploy.runtime.scenes.draw.SILHOUETTES", {"ball": SILHOUETTES["ball"]})

    class Middle:
        """Answers every draw with the middle of its range, so that the ball stays round."""

        def choice(self, values):
            return values[0]

        def random(self):
            return 0.9

        def normal(self, mean, deviation):
            return mean

        def uniform(self, low, high):
            return 1.0 if low > 0.5 else (low + high) / 2

    thing = _silhouette(Middle(), "red plain", (101, 121), 30.0)
    grown = np.pi * (30 + 1 / 8) ** 2  # OpenCV fills samples that the outline touches, half a sample of a quarter pixel
    assert thing.coverage.sum() == pytest.approx(grown, rel=0.003), "a polygon of 120 corners loses 0.05 %"
    y, x = np.mgrid[: thing.coverage.shape[0], : thing.coverage.shape[1]]
    distance = np.hypot(x + thing.left + 0.5 - 60.5, y + thing.top + 0.5 - 50.5)
    inside = thing.coverage >= 0.5
    assert inside[distance < 29.75].all() and not inside[distance > 30.25].any()


def test_labels_follow_the_topmost_thing():
    rng = np.random.default_rng(0)
    image, labels = np.zeros((90, 120, 3), np.float32), np.full((90, 120), 255, np.uint8)
    things = [_silhouette(rng, name, (90, 120), 35.0) for name in ("red plain", "blue dotted")]
    expected = labels.copy()
    for thing in things:
        _paint(rng, thing, image, labels, np.array([0.3, -0.7], np.float32), 1.0)
        h, w = thing.coverage.shape
        box = expected[thing.top : thing.top + h, thing.left : thing.left + w]
        box[thing.coverage >= 0.5] = ALL_NAMES.index(thing.name)
    assert (labels == expected).all() and len(np.unique(labels)) == 3


def test_labels_lie_on_what_they_name(scenes):
    """The middle of most plain things has the hue that its name says, whatever the light."""
    right = total = 0
    for scene in scenes:
        for name in scene.names:
            if name in STUFF or not name.endswith("plain"):
                continue
            inside = cv2.erode((scene.labels == ALL_NAMES.index(name)).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
            if inside.sum() > 100:
                total += 1
                right += _nearest_colour(scene.photo[inside].mean(axis=0) / 255) == parts(name)[0]
    assert total > 20 and right >= 0.85 * total, "strong light may turn red into orange, now and then"


def _nearest_colour(pixel: np.ndarray) -> str:
    """By direction in RGB, after a guess at black."""
    if pixel.max() < 0.22:
        return "black"
    units = {colour: np.array(rgb) / np.linalg.norm(rgb) for colour, rgb in COLOURS.items() if colour != "black"}
    return max(units, key=lambda colour: float(pixel @ units[colour]))
