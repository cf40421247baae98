"""The miniature models: their words, their training, and the weights that come with the package."""

import re

import cv2
import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from ovdeploy.export.models.families import build_model
from ovdeploy.export.models.miniature.words import cut_vocabulary, known_words
from ovdeploy.export.models.text_assets import clip_tokenizer, imagenet_templates, write_tokenizer
from ovdeploy.export.models.weights import load_model, packaged
from ovdeploy.export.tiny import clip_task, crops, dense_task
from ovdeploy.export.tiny.dataset import Scenes, draw_shards
from ovdeploy.export.tiny.train import BUILDERS, CONTEXT
from ovdeploy.runtime.errors import ExportError, WeightsError
from ovdeploy.runtime.recipe.recipe import ModelChoice
from ovdeploy.runtime.scenes import ALL_NAMES, SEEN, STUFF, THINGS, draw_scene
from ovdeploy.runtime.scenes.names import COLOURS, HELD_OUT, PATTERNS, parts
from ovdeploy.runtime.words.tokenizer import ClipTokenizer
from support.damage import cut, flip, put_in_place

MODELS = {
    "dense": ("dense", "tiny_catseg"), "escnet": ("dense", "tiny_escnet"), "detector": ("detector", "tiny_owlv2"),
    "sam2": ("sam", "tiny_sam2"),
}  # fmt: skip
"""Role and name of the miniatures that are not called `tiny`, by the file that the training writes."""

HARD = ["", "cup of coffee", "façade & 東京 🙂", "<end_of_text>", "red-striped, dotted's", "xyzzy" * 20]
"""Texts of which the miniature CLIP knows little or nothing."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path, len(cut_vocabulary().tokens))
    return ClipTokenizer(path, CONTEXT)


def test_known_words_are_cut_as_by_clips_whole_tokenizer():
    whole, cut = SimpleTokenizer(), clip_tokenizer(len(cut_vocabulary().tokens))
    for word in known_words():
        pieces = [[t.decoder[n] for n in t.encode(word)] for t in (whole, cut)]
        assert pieces[0] == pieces[1], word


def test_names_templates_and_captions_consist_of_known_words():
    said = [*ALL_NAMES, *(template.format("") for template in imagenet_templates())]
    said += [caption for seed in range(20) for caption in draw_scene(seed).captions]
    assert {word for text in said for word in re.findall(r"[a-z]+", text.lower())} <= set(known_words())


def test_the_runtimes_tokens_are_open_clips_also_of_unknown_words(tokenizer):
    texts = [*ALL_NAMES, *HARD]
    expected = clip_tokenizer(len(cut_vocabulary().tokens))(texts, CONTEXT).numpy()
    tokens = tokenizer(texts)
    np.testing.assert_array_equal(tokens, expected)
    assert tokens.max() == len(cut_vocabulary().tokens) - 1 == tokenizer._special["<end_of_text>"]


def test_names_come_back_from_their_tokens(tokenizer):
    pieces = {number: piece for piece, number in cut_vocabulary().tokens.items()}
    for name in ALL_NAMES:
        assert "".join(pieces[token] for token in tokenizer.encode(name)).replace("</w>", " ").strip() == name


def test_an_embedding_table_of_another_size_has_no_tokenizer():
    with pytest.raises(ExportError, match="17 tokens"):
        clip_tokenizer(17)


def test_shards_hold_the_scenes_of_their_seeds(training_scenes):
    for seed in (0, 5, 11):
        scene, kept = draw_scene(seed), training_scenes[seed]
        assert (kept.photo == scene.photo).all() and (kept.labels == scene.labels).all()
        assert tuple(kept.captions) == scene.captions


@pytest.mark.parametrize("suffix", [".photos", ".labels"])
def test_scenes_that_are_damaged_on_disk_are_drawn_again(tmp_path, suffix):
    """Also while they are open: a memory map of a file that is cut would end the process."""
    list(draw_shards(tmp_path, 2, workers=1, shard=2))
    scenes = Scenes(tmp_path, 2, shard=2)
    path = (tmp_path / "0000").with_suffix(suffix)
    size = path.stat().st_size
    for damage in (flip(5), flip(8 * size - 1), cut(0.5), cut(0), lambda path: put_in_place(path, "pipe")):
        damage(path)
        for seed in range(2):
            scene, kept = draw_scene(seed), scenes[seed]
            assert (kept.photo == scene.photo).all() and (kept.labels == scene.labels).all()


def test_drawing_again_draws_only_what_is_missing(training_folder):
    (training_folder / "scenes" / "0001.index").unlink()
    assert list(draw_shards(training_folder / "scenes", 12, workers=1, shard=6)) == [6, 6]
    assert list(draw_shards(training_folder / "scenes", 12, workers=1, shard=6)) == [12]


def test_a_patch_takes_the_name_that_fills_it():
    labels = np.zeros((crops.WINDOW, crops.WINDOW), np.uint8)
    labels[:8, :8] = 3
    labels[:8, 8:12] = 4
    patches = crops.majority_labels(labels).reshape(crops.GRID, crops.GRID)
    assert patches[0, 0] == 3 and patches[0, 1] == crops.MIXED and (patches[1:] == 0).all()


def test_windows_and_their_captions_fit_together(training_scenes):
    batch = crops.cut_crops(training_scenes, np.random.default_rng(0), 6)
    assert (
        batch.windows.shape == (6, 3, crops.WINDOW, crops.WINDOW)
        and 0 <= batch.windows.min() <= batch.windows.max() <= 1
    )
    for labels, caption in zip(batch.labels, batch.captions, strict=True):
        share = torch.bincount(labels[labels >= 0], minlength=len(ALL_NAMES)) / labels.numel()
        things = [ALL_NAMES[int(index)] for index in torch.nonzero(share > 0.15).flatten()]
        assert all(name in caption for name in things if name in THINGS)


@pytest.mark.parametrize("seed", range(6))
def test_recoloured_windows_have_no_hue_that_is_named(seed):
    photo = draw_scene(seed).photo[:96, :96]
    hue, saturation, value = cv2.split(
        cv2.cvtColor(crops.recoloured(photo, np.random.default_rng(seed)).astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    )
    clear = (saturation > 0.2) & (value > 0.3)  # elsewhere a step of a byte turns the hue
    assert any(((hue[clear] > low - 5) & (hue[clear] < high + 5)).all() for low, high in crops.NAMELESS_HUES)
    for colour in COLOURS.values():
        named, strength, _ = cv2.cvtColor(np.array(colour, np.float32)[None, None], cv2.COLOR_RGB2HSV)[0, 0]
        assert strength < 0.2 or all(not low <= named <= high for low, high in crops.NAMELESS_HUES)


def test_only_the_last_windows_are_recoloured(training_scenes):
    as_they_are, some = (crops.cut_crops(training_scenes, np.random.default_rng(3), 4, count) for count in (0, 2))
    np.testing.assert_array_equal(as_they_are.windows[:2], some.windows[:2])
    assert not np.array_equal(as_they_are.windows[2], some.windows[2])


def test_training_compares_with_no_name_that_is_held_out():
    from ovdeploy.export.tiny.clip_task import CLASSES

    assert (*SEEN, *STUFF) == CLASSES


@pytest.mark.parametrize("present", [1, 5, 12, 20])
def test_the_dense_head_is_asked_about_what_is_there_and_never_about_what_is_held_out(present):
    rng = np.random.default_rng(present)
    held_out = [ALL_NAMES.index(name) for name in HELD_OUT]
    there = rng.choice(dense_task.CLASSES, present, replace=False)
    labels = rng.choice(np.append(there, held_out[0]), (48, 48))
    asked = dense_task.ask(labels, rng)
    assert len(asked) == len(set(asked)) == dense_task.ASKED and not set(asked) & set(held_out)
    assert set(asked) <= set(there) if present > dense_task.ASKED else set(there) <= set(asked)


def test_what_is_held_out_is_no_wrong_answer_by_its_parts_either():
    """Else "red" would come to rule "dotted" out, which is what is held out."""
    patterns, colours = clip_task._never_seen()
    for row, name in enumerate(THINGS):
        colour, pattern = parts(name)
        barred = [f"{colour} {PATTERNS[i]}" for i in np.flatnonzero(patterns[row])]
        barred += [f"{list(COLOURS)[i]} {pattern}" for i in np.flatnonzero(colours[row])]
        assert sorted(barred) == sorted(
            [held for held in HELD_OUT if parts(held)[0] == colour] + [h for h in HELD_OUT if parts(h)[1] == pattern]
        )
    assert not patterns[len(THINGS) :].any() and not colours[len(THINGS) :].any()


def test_barred_words_are_no_wrong_answers():
    features, words = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    barred = torch.tensor([[[False, True, False]]])
    answer, scale = torch.tensor([[0]]), torch.tensor(30.0)
    assert float(clip_task._contrast(features, words, answer, scale)) == pytest.approx(np.log(2))
    assert float(clip_task._contrast(features, words, answer, scale, barred)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_package_has_weights_that_fit(name):
    role, model = MODELS.get(name, (name, "tiny"))
    module, provenance = load_model(role, ModelChoice(model=model, weights="package"))
    assert provenance.source == "package" and provenance.model == model
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_the_packages_weights_are_small():
    sizes = [packaged(role).stat().st_size for role in BUILDERS]
    assert sum(sizes) <= 12e6 and max(sizes) <= 5e6


def test_other_models_have_no_weights_in_the_package():
    with pytest.raises(WeightsError, match="'tiny' alone"):
        load_model("dino", ModelChoice(model="micro", weights="package"))


def test_the_models_are_registered():
    for name in BUILDERS:
        assert not build_model(*MODELS.get(name, (name, "tiny"))).training
