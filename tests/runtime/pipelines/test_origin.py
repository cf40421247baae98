"""A result says of which photo and which bundle it is."""

import json

from PIL import Image

from ovdeploy.runtime import Bundle
from support.samples import draw_photo, random_vocabulary


def test_a_result_knows_its_photos_path_and_its_bundle(segmenter, micro_bundle, tmp_path):
    photo = draw_photo((48, 64))
    path = tmp_path / "a photo.png"
    Image.fromarray(photo).save(path)
    words = random_vocabulary(segmenter.manifest.dimensions.embedding)
    one = segmenter.segment(path, words)
    two, three = segmenter.segment_many([str(path), photo], words)
    assert [result.path for result in (one, two, three)] == [str(path), str(path), None]
    assert {result.bundle for result in (one, two, three)} == {Bundle.load(micro_bundle).digest}
    assert one.to_dict()["path"] == str(path) and one.to_dict()["bundle"] == one.bundle


def test_a_result_knows_whether_class_0_is_the_background(segmenter):
    photo = draw_photo((48, 64))
    for words in (["background", "cup"], ["table", "cup"]):
        for refine in (True, False):
            found = segmenter.segment(photo, segmenter.vocabulary(words), parameters={"refine": refine})
            assert found.background == (words[0] == "background")


def test_a_name_that_is_not_utf8_can_be_told_in_json(segmenter, tmp_path):
    path = tmp_path / "caf\udce9.png"
    with open(path, "wb") as file:
        Image.fromarray(draw_photo((48, 64))).save(file, format="PNG")
    result = segmenter.segment(path, random_vocabulary(segmenter.manifest.dimensions.embedding))
    result.save_json(tmp_path / "result.json")
    assert result.path == str(path) == json.loads((tmp_path / "result.json").read_text())["path"]
