"""OWLv2: names, networks, pictures and boxes against transformers' own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ovdeploy.export.models.checkpoints.naming import rename
from ovdeploy.export.models.checkpoints.owlv2_names import OWLV2
from ovdeploy.export.models.detector import owlv2
from ovdeploy.export.models.weights import load_model, random_state
from ovdeploy.export.reference.grounded.owl import picture
from ovdeploy.export.reference.grounded.owl_detector import OwlDetector
from ovdeploy.export.reference.text_encoder import TextEncoder
from ovdeploy.runtime.pipelines.grounded.owl import best_classes, corners
from ovdeploy.runtime.pipelines.grounded.squares import square_image
from ovdeploy.runtime.recipe.recipe import ModelChoice
from ovdeploy.runtime.words.vocabulary import Vocabulary

transformers = pytest.importorskip("transformers")

SIDE, GREY = 160, 0.5
ROUNDING = 1e-5
"""Relative: float32 in another order, by fused attention."""

PUBLISHED = {
    "owlv2_b16": ({"hidden_size": 768, "image_size": 960, "patch_size": 16}, {"hidden_size": 512}, 512),
    "owlv2_l14": (
        {"hidden_size": 1024, "image_size": 1008, "patch_size": 14, "num_hidden_layers": 24,
         "num_attention_heads": 16, "intermediate_size": 4096},
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}, 768,
    ),
}  # fmt: skip
"""Vision, text and projection of google/owlv2-base-patch16-ensemble and owlv2-large-patch14-ensemble."""


def theirs_of(vision, text, projection):
    config = transformers.Owlv2Config(vision_config=vision, text_config=text, projection_dim=projection)
    return transformers.Owlv2ForObjectDetection(config).eval()


@pytest.fixture(scope="module")
def theirs():
    small = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "intermediate_size": 256}
    model = theirs_of({**small, "image_size": SIDE, "patch_size": 16}, small, 64)
    model.load_state_dict(random_state(model, 7))
    return model


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    """Their weights, read from a file as they would save it."""
    path = tmp_path_factory.mktemp("owlv2") / "model.safetensors"
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, str(path))
    model, provenance = load_model("detector", ModelChoice(model="micro_owlv2"), str(path))
    assert "read as transformers' Owlv2ForObjectDetection" in provenance.changes
    return model


@pytest.fixture(scope="module")
def answers(theirs, ours):
    """Both models on one picture and three texts: (theirs, ours' outputs, ours' text features)."""
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, SIDE, SIDE, generator=generator)
    tokens = torch.zeros(3, 16, dtype=torch.long)
    for row, words in enumerate(([320, 1125], [518], [320, 1125, 539, 320, 2368])):
        tokens[row, : len(words) + 2] = torch.tensor([49406, *words, 49407])
    detector, text = OwlDetector(ours).eval(), TextEncoder(ours.clip)
    with torch.no_grad():
        wanted = theirs(input_ids=tokens, pixel_values=detector.normalise(image), attention_mask=(tokens > 0).long())
        return wanted, detector(image), text(tokens.int())


def relative(came, wanted):
    return float((came - wanted).abs().max() / wanted.abs().max())


def test_boxes_and_objectness_are_theirs(answers):
    wanted, (_, _, _, boxes, objectness), _ = answers
    assert relative(boxes, wanted.pred_boxes) < ROUNDING
    assert relative(objectness, wanted.objectness_logits) < ROUNDING


def vocabulary_of(features):
    return Vocabulary([f"word {index}" for index in range(len(features))], features, background=False)


def logits_of(outputs, features):
    unit = torch.nn.functional.normalize(features, dim=-1)
    return (outputs[0][0] @ unit.T + outputs[1][0, :, None]) * outputs[2][0, :, None]


def test_logits_are_theirs(answers):
    wanted, outputs, features = answers
    assert relative(logits_of(outputs, features), wanted.logits[0]) < ROUNDING


@pytest.mark.parametrize("hw", [(60, 200), (200, 60), (128, 128)])
def test_the_hosts_boxes_are_those_of_their_processor(answers, hw):
    wanted, outputs, features = answers
    processor = transformers.Owlv2ImageProcessor()
    threshold = float(wanted.logits.sigmoid().amax(dim=-1).median())  # half of them are above
    threshold += 1e-4  # no score is that near to the median
    expected = processor.post_process_object_detection(wanted, threshold, target_sizes=[hw])[0]
    seen = {
        name: value.numpy() for name, value in zip(("embeddings", "shift", "scale", "boxes"), outputs, strict=False)
    }
    scores, classes = best_classes(seen, vocabulary_of(features.numpy()))
    above = scores > threshold
    assert above.any() and not above.all()
    np.testing.assert_array_equal(classes[above], expected["labels"].numpy())
    np.testing.assert_allclose(scores[above], expected["scores"].numpy(), atol=1e-5)
    boxes = corners(seen["boxes"][0][above]) * np.float32(max(hw))
    np.testing.assert_allclose(boxes, expected["boxes"].numpy(), atol=1e-3)  # pixels


def rounded(hw):
    """Sums in float32; and they compute in it where a pixel lies, which is a number as large as the photo."""
    return 5e-6 + max(hw) * 2.0**-23


@pytest.mark.parametrize("hw", [(60, 200), (231, 347), (500, 500), (1, 400), (160, 160), (30, 20), (161, 40)])
def test_the_picture_is_that_of_their_processor(hw):
    photo = np.random.default_rng(5).integers(0, 256, (*hw, 3), np.uint8)
    processor = transformers.Owlv2ImageProcessor(size={"height": SIDE, "width": SIDE}, do_normalize=False)
    wanted = processor(torch.from_numpy(photo).permute(2, 0, 1), return_tensors="pt")["pixel_values"].numpy()
    np.testing.assert_allclose(square_image(photo, SIDE, 0.0), wanted, atol=rounded(hw))
    np.testing.assert_allclose(picture(photo, SIDE, 0.0).numpy(), wanted, atol=rounded(hw))


@pytest.mark.parametrize("level", [0.0, GREY, 1.0])
@pytest.mark.parametrize("hw", [(1, 900), (500, 90), (159, 161)])
def test_padding_of_any_level_is_that_of_a_square_that_was_made(hw, level):
    photo = np.random.default_rng(6).integers(0, 256, (*hw, 3), np.uint8)
    np.testing.assert_allclose(square_image(photo, SIDE, level), picture(photo, SIDE, level).numpy(), atol=rounded(hw))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_checkpoints_names_and_shapes_are_all_of_the_models(name):
    with torch.device("meta"):
        model = owlv2.build(name)
        tensors = theirs_of(*PUBLISHED[name]).state_dict()
    renamed = rename(tensors, OWLV2)
    assert renamed.unknown == ()
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in renamed.tensors.items()} == wanted
