"""Everything mode on engines that are drawn: what is asked, what is told, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime import Bundle, ParameterError, PhotoError, Prompter, PromptError
from ovdeploy.runtime.backends.fake import FakeSession
from support.samples import draw_photo

HW = (150, 203)
SIDE, MASK = 512, 128  # of the micro SAM
THINGS = ((10, 10, 50, 40), (70, 5, 120, 90), (80, 20, 100, 60))
"""x₀ y₀ x₁ y₁ in low-resolution masks, the last within the second; the photo's part is 128 × 95."""


@pytest.fixture(scope="module")
def manifest(complete_bundle):
    return Bundle.load(complete_bundle).manifest


def drawn(manifest, things=THINGS, iou=0.95, device="cpu"):
    """A prompter whose decoder answers a point with all things that lie under it, three at most."""

    def decode(feeds):
        low_res = np.full((len(feeds["points"]), 4, MASK, MASK), -9, np.float32)
        estimates = np.zeros((len(feeds["points"]), 4), np.float32)
        for index, (x, y) in enumerate(feeds["points"][:, 0] * MASK / SIDE):
            under = [(x0, y0, x1, y1) for x0, y0, x1, y1 in things if x0 <= x < x1 and y0 <= y < y1]
            for token, (x0, y0, x1, y1) in enumerate(under, start=1):
                low_res[index, token, y0:y1, x0:x1] = 9
                estimates[index, token] = iou
        return {"low_res_logits": low_res, "iou": estimates}

    decoder = FakeSession(manifest.stages["sam_prompt_decoder"].contract, decode)
    decoder.device = device
    features = np.zeros((1, 64, 32, 32), np.float32)
    encoder = FakeSession(
        manifest.stages["sam_encoder"].contract,
        lambda feeds: {"features": features, "affinity": np.zeros((1024, 1024), np.float32)},
    )
    return Prompter(manifest.dimensions, encoder, decoder, manifest.recipe.parameters), encoder, decoder


def asked(decoder):
    return sum(len(call["points"]) for call in decoder.calls)


def test_each_thing_is_found_once_with_all_that_is_known_of_it(manifest, photo):
    prompter, encoder, decoder = drawn(manifest)
    found = prompter.everything(photo)
    assert len(found.instances) == len(THINGS) and len(encoder.calls) == 1
    assert found.points == asked(decoder) == 256 and found.points_per_side == 16
    scale = HW[1] / MASK
    for number, each in enumerate(found.instances, start=1):
        mask = each.mask.decode()
        ys, xs = np.nonzero(mask)
        assert each.box_xyxy == (xs.min(), ys.min(), xs.max(), ys.max()) and each.area == mask.sum()
        assert min(np.abs(np.array(thing) * scale - each.box_xyxy).max() for thing in THINGS) < 2  # whole pixels
        assert mask[int(each.point_xy[1]), int(each.point_xy[0])]
        assert each.id == number and each.class_name == "object" and each.crop_xyxy == (0, 0, HW[1] - 1, HW[0] - 1)
        assert each.iou == each.score == pytest.approx(0.95) and 0.9 < each.stability <= 1
    assert {"decode", "encode", "decoder", "masks", "suppress", "total"} == set(found.timings)
    assert found.photo.tobytes() == photo.tobytes() and found.path is None


def test_an_estimate_above_1_is_told_and_scores_1(manifest, photo):
    found = drawn(manifest, iou=1.02)[0].everything(photo)
    assert all(each.iou == pytest.approx(1.02) and each.score == 1.0 for each in found.instances)


@pytest.mark.parametrize("parameters", [{"iou_threshold": 0.96}, {"stability_threshold": 1.0, "stability_offset": 8.5}])
def test_where_no_mask_survives_the_answer_is_empty(manifest, photo, parameters, tmp_path):
    found = drawn(manifest)[0].everything(photo, parameters=parameters)
    assert found.instances == () and found.to_dict()["instances"] == []
    assert np.asarray(found.overlay()).tobytes() == photo.tobytes()
    found.save_json(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == "ovdeploy/everything/1"


def test_masks_without_a_pixel_are_no_things(manifest, photo):
    """With all thresholds at 0 the decoder's empty masks pass them."""
    keeping_all = {"iou_threshold": 0, "stability_threshold": 0, "box_threshold": 1}
    found = drawn(manifest)[0].everything(photo, parameters=keeping_all)
    assert found.instances and all(each.area for each in found.instances)


def test_the_grid_is_what_the_machine_bears(manifest, photo):
    for device, points in (("cpu", 256), ("cuda:0", 1024)):
        prompter, _, decoder = drawn(manifest, device=device)
        assert prompter.everything(photo).points == asked(decoder) == points


def test_one_point_is_asked_in_the_middle(manifest, photo):
    prompter, _, decoder = drawn(manifest)
    prompter.everything(photo, parameters={"points_per_side": 1})
    (call,) = decoder.calls
    np.testing.assert_allclose(call["points"], [[[SIDE / 2, 378 / 2]]])  # 150 · 512/203 is 378.3, rounded
    assert call["labels"].tolist() == [[1]]


def test_a_coarse_grid_first_asks_less_and_misses_what_lies_within(manifest, photo):
    prompter, _, decoder = drawn(manifest, things=THINGS[:2])
    whole = prompter.everything(photo, parameters={"points_per_side": 32})
    full, decoder.calls = asked(decoder), []
    shares = []
    found = prompter.everything(
        photo, parameters={"points_per_side": 32, "coarse_to_fine": True},
        progress=lambda event, *, share, **_: shares.append(share),
    )  # fmt: skip
    assert {each.box_xyxy for each in found.instances} == {each.box_xyxy for each in whole.instances}
    assert found.points == asked(decoder) < full + 8**2 + 16**2
    inside = sum(each.area for each in found.instances) / photo[..., 0].size
    assert found.points == pytest.approx(64 + (1 - inside) * (256 + 1024), rel=0.05)  # points on borders
    assert shares == sorted(shares) and shares[-1] == 1


def test_points_go_through_in_the_batch_that_is_asked_for(manifest, photo):
    prompter, _, decoder = drawn(manifest)
    prompter.everything(photo, parameters={"points_per_side": 3, "prompt_batch": 4})
    assert [len(call["points"]) for call in decoder.calls] == [4, 4, 1]
    prompter.everything(photo, parameters={"points_per_side": 5})
    assert [len(call["points"]) for call in decoder.calls[3:]] == [16, 9]


def test_crops_are_encoded_each_and_asked_by_fewer_points(manifest, photo):
    prompter, encoder, decoder = drawn(manifest, things=((0, 0, MASK, MASK),))
    found = prompter.everything(
        photo, parameters={"points_per_side": 4, "crop_layers": 1, "crop_points_divisor": 2}
    )  # fmt: skip
    assert len(encoder.calls) == 5 and asked(decoder) == 16 + 4 * 4 == found.points
    assert [each.box_xyxy for each in found.instances] == [(0, 0, HW[1] - 1, HW[0] - 1)], "crops cut it off"


def test_points_can_be_given(manifest, photo):
    prompter, _, decoder = drawn(manifest)
    found = prompter.everything(photo, grids=[[[0, 0], [1, 1], [0.2, 0.2]]])
    np.testing.assert_allclose(decoder.calls[0]["points"][:, 0], [[0, 0], [512, 378], [102.4, 75.6]], rtol=1e-6)
    assert len(found.instances) == 1 and found.points_per_side == 0


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"parameters": {"points_per_sid": 3}}, ParameterError, "Did you mean 'points_per_side'"),
        ({"parameters": {"points_per_side": 0}}, ParameterError, "points_per_side"),
        ({"parameters": {"iou_threshold": "x"}}, ParameterError, "iou_threshold"),
        ({"parameters": {"stability_threshold": 1.1}}, ParameterError, "stability_threshold"),
        ({"parameters": {"crop_layers": 9}}, ParameterError, "crop_layers"),
        ({"parameters": {"min_area": float("nan")}}, ParameterError, "min_area"),
        ({"grids": []}, PromptError, "there are 0 layers, and 0 grids"),
        ({"grids": [[[0.5, 0.5]]], "parameters": {"crop_layers": 1}}, PromptError, "1 layers, and 1 grids"),
        ({"grids": [[]]}, PromptError, r"shape \[0\]"),
        ({"grids": [[[1, 2, 3]]]}, PromptError, r"shape \[1, 3\]"),
        ({"grids": [[[0.5, 1.5]]]}, PromptError, r"got \[0\.5, 1\.5\]"),
        ({"grids": [[[0.5, float("nan")]]]}, PromptError, "nan"),
        ({"grids": [["a"]]}, PromptError, "got"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(manifest, photo, given, error, told):
    with pytest.raises(error, match=told):
        drawn(manifest)[0].everything(photo, **given)


@pytest.mark.parametrize("hw", [(1, 1), (1, 400), (400, 1), (2, 3), (700, 40)])
def test_photos_of_any_size_can_be_searched(complete_bundle, hw):
    everything = {"points_per_side": 2, "iou_threshold": 0, "stability_threshold": 0, "crop_layers": 1, "min_area": 9}
    with Prompter.load(complete_bundle) as prompter:
        found = prompter.everything(draw_photo(hw), parameters=everything)
        assert found.backend and found.precision == "fp32" and found.bundle == Bundle.load(complete_bundle).digest
    for each in found.instances:
        assert each.mask.decode().shape == hw and each.mask.area == each.area > 0
    assert found.overlay().size == hw[::-1]


def test_an_answer_can_be_saved_and_read_by_others(manifest, photo, tmp_path):
    from ovdeploy.runtime.answers import Rle

    Image.fromarray(photo).save(tmp_path / "a.png")
    found = drawn(manifest)[0].everything(tmp_path / "a.png")
    found.save_json(tmp_path / "a.json")
    found.save_overlay(tmp_path / "a.webp")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["path"] == str(tmp_path / "a.png") and told["size"] == {"height": HW[0], "width": HW[1]}
    for each, entry in zip(found.instances, told["instances"], strict=True):
        assert Rle.from_coco(entry["mask"]) == each.mask
    assert found.subject.hw == HW and found.subject.classes == [(0, "object")]
    assert [each["segmentation"] for each in found.to_coco()["annotations"]] == [
        entry["mask"] for entry in told["instances"]
    ]
    with pytest.raises(ParameterError, match="opacity"):
        found.overlay(opacity=2)


def test_in_the_picture_small_things_lie_above_large_ones(manifest, photo):
    found = drawn(manifest)[0].everything(photo)
    large, small = (
        next(e for e in found.instances if e.area == pick(x.area for x in found.instances)) for pick in (max, min)
    )
    colours = np.asarray(found.overlay(opacity=1.0))
    inside, around = (small.mask.decode(), large.mask.decode() & ~small.mask.decode())
    first = [np.unique(colours[part][:, 0], return_counts=True) for part in (inside, around)]
    assert first[0][0][first[0][1].argmax()] != first[1][0][first[1][1].argmax()], "colours of their own"


def test_what_is_no_photo_is_refused(manifest):
    with pytest.raises(PhotoError):
        drawn(manifest)[0].everything("missing.png")
