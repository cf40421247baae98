"""Eight bits of a network with true weights, on true photos: it has the outliers that random weights do not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from ovdeploy.calib.int8.ranges import limit_of
from ovdeploy.calib.int8.stage import Work
from ovdeploy.calib.int8.steps import Steps
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.graph.probe import Probe
from ovdeploy.runtime.photo.reading import as_photo
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.reporting import silent
from ovdeploy.runtime.stage.precision import FP32

SIDE = 224
CALIBRATION = ("astronaut.png", "rocket.jpg", "motorcycle_left.png", "retina.jpg", "coins.png", "coffee.png")
HELD_OUT = "chelsea.png"
"""Photos that scikit-image's wheel brings."""


def window(name: str) -> dict[str, np.ndarray]:
    """The middle of a photo, every second pixel."""
    pixels = as_photo(Path(skimage.data.__file__).parent / name, 10_000_000)
    step = max(1, min(pixels.shape[:2]) // SIDE)
    small = pixels[::step, ::step]
    top, left = (small.shape[0] - SIDE) // 2, (small.shape[1] - SIDE) // 2
    return {"windows": small[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1)[None].astype(np.float32) / 255}


class Feeds:
    def of(self, contract):
        return [partial(window, name) for name in CALIBRATION]


@pytest.fixture(scope="module")
def works(real_bundle, tmp_path_factory) -> dict[str, Work]:
    """By precision; what is seen of the photos is looked at once."""
    bundle, folder = Bundle.load(real_bundle), tmp_path_factory.mktemp("steps")
    path, contract = bundle.engine_path("dino", FP32), bundle.stage("dino").contract
    found = {
        precision: Work(contract, path, Int8Settings(cases=1), Feeds(), Steps(folder, {}), precision)
        for precision in ("int8", "fp8")
    }
    found["int8"].observe(silent)
    return found


def errors(work: Work, ways) -> list[float]:
    """Relative errors of the features of a photo that was not calibrated on, all products in eight bits."""
    feeds, found = window(HELD_OUT), []
    for strength, method in ways:
        balanced = work.balanced(dict.fromkeys(work.sites, strength))
        limits = {p.value: limit_of(balanced.seen[p.value], method, work.format) for p in work.products}
        with Probe(balanced.model, work.contract, work.products, work.format) as probe:
            expected = probe.run(feeds, {}, ())["features"]
            came = probe.run(feeds, limits, [p.node for p in work.products])["features"]
        found.append(float(np.linalg.norm(came - expected) / np.linalg.norm(expected)))
    return found


def test_the_network_has_outliers_and_balancing_takes_them(works):
    """Of what enters the first block's MLP, one channel is far above all others."""
    work = works["int8"]
    first = work.products[2].value
    before = np.sort(work.balanced({}).seen[first].largest)
    after = np.sort(work.balanced(dict.fromkeys(work.sites, 0.5)).seen[first].largest)
    assert before[-1] > 4 * before[-2], "118.9 and 23.7 were seen"
    assert after[-1] < 0.5 * before[-1]


def test_clipping_outliers_costs_more_than_coarse_steps(works):
    """On random weights and miniatures all ranges are alike."""
    wide, percentile = errors(works["int8"], [(0.5, "wide"), (0.5, "percentile")])
    assert 2 * wide < percentile, "0.186 and 0.622 were seen, six photos to calibrate on being few"


def test_fp8_holds_outliers_without_balancing(works):
    """Its exponent holds outliers and small values together; three bits of mantissa are what it costs."""
    assert errors(works["fp8"], [(0.0, "minmax")])[0] < 0.15, "0.099 was seen"
