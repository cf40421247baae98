from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.calib.int8.collect import Recorder, collect, row_axis
from ovdeploy.calib.int8.photos import choose_photos
from ovdeploy.calib.int8.stage import spread
from ovdeploy.calib.int8.steps import Steps
from ovdeploy.runtime import Bundle, Segmenter
from support.samples import draw_photo

STAGES = ("dino", "clip_image", "sam_encoder", "head", "sam_decoder")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for seed in range(3):
        Image.fromarray(draw_photo((90, 130), seed)).save(folder / f"{seed}.png")
    return choose_photos(sorted(folder.iterdir()), None, photos=2, gate_photos=1).calibration


def test_feeds_are_those_of_the_pipeline_and_bounded(micro_bundle, photos, vocabulary, tmp_path):
    opened = []

    def open_segmenter(wrap):
        opened.append(1)
        return Segmenter.load(micro_bundle, parameters={"region_threshold": 0.0, "min_area": 1}, wrap=wrap)

    steps = Steps(tmp_path, {"a": 1})
    for _ in range(2):
        found = collect(open_segmenter, lambda segmenter: vocabulary, photos, STAGES, steps, lambda line: None)
    assert len(opened) == 1, "what is there is not collected again"
    manifest = Bundle.load(micro_bundle).manifest
    for stage in STAGES:
        contract = manifest.stages[stage].contract
        readers = found.of(contract)
        assert len(readers) == 2, f"{stage} ran on both photos"
        feeds = readers[0]()
        sizes = contract.check_feeds(feeds)
        if rows := row_axis(contract):
            assert sizes[rows] <= contract.axes[rows].example
    rows = {stage: row_axis(manifest.stages[stage].contract) for stage in STAGES}
    assert rows == {"dino": "B", "clip_image": "B", "sam_encoder": "", "head": "", "sam_decoder": "R"}
    assert spread(9, 4) == (0, 2, 4, 6) and spread(2, 4) == (0, 1) and spread(0, 4) == ()


def test_a_recorder_is_the_session_that_it_wraps(segmenter, vocabulary):
    inner = segmenter.engines["dino"]
    told = []
    recorder = Recorder(inner, lambda contract, feeds: told.append(sorted(feeds)))
    feeds = {"windows": np.random.default_rng(0).random((1, *inner.contract.input("windows").shape[1:]), np.float32)}
    assert recorder.run(feeds)["features"].tobytes() == inner.run(feeds)["features"].tobytes()
    assert told == [["windows"]] and recorder.device == inner.device
