"""The miniature models: their words, their training, and the weights that come with the package."""

import re
from concurrent.futures import ProcessPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file

from ovdeploy.export.models import build_model
from ovdeploy.export.text_assets import clip_tokenizer, imagenet_templates, write_tokenizer
from ovdeploy.export.tiny import clip_task, crops
from ovdeploy.export.tiny.contrast import APART, TEMPERATURE, dense_contrast
from ovdeploy.export.tiny.curves import draw_curves
from ovdeploy.export.tiny.dataset import Scenes, draw_shards
from ovdeploy.export.tiny.loop import WARMUP, Budget, Cycle, Task, rate_share, train
from ovdeploy.export.tiny.models import BUILDERS, CONTEXT
from ovdeploy.export.tiny.sam_task import STAGES
from ovdeploy.export.tiny.train import TASKS, main, write_weights
from ovdeploy.export.tiny.words import cut_vocabulary, known_words
from ovdeploy.export.weights import load_model
from ovdeploy.runtime.errors import ExportError, WeightsError
from ovdeploy.runtime.recipe import ModelChoice, load_recipe
from ovdeploy.runtime.scenes import ALL_NAMES, SEEN, STUFF, THINGS, draw_scene
from ovdeploy.runtime.scenes.names import COLOURS, HELD_OUT, PATTERNS, parts
from ovdeploy.runtime.tokenizer import ClipTokenizer

HARD = ["", "cup of coffee", "façade & 東京 🙂", "<end_of_text>", "red-striped, dotted's", "xyzzy" * 20]
"""Texts of which the miniature CLIP knows little or nothing."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path, len(cut_vocabulary().tokens))
    return ClipTokenizer(path, CONTEXT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve training scenes in two shards."""
    path = tmp_path_factory.mktemp("tiny")
    assert sum(draw_shards(path / "scenes", 12, workers=1, shard=6)) == 12
    return path


@pytest.fixture(scope="module")
def scenes(folder):
    return Scenes(folder / "scenes", 12, shard=6)


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


def test_shards_hold_the_scenes_of_their_seeds(scenes):
    for seed in (0, 5, 11):
        scene, kept = draw_scene(seed), scenes[seed]
        assert (kept.photo == scene.photo).all() and (kept.labels == scene.labels).all()
        assert tuple(kept.captions) == scene.captions


def test_drawing_again_draws_only_what_is_missing(folder):
    (folder / "scenes" / "0001.json").unlink()
    assert list(draw_shards(folder / "scenes", 12, workers=1, shard=6)) == [6, 6]
    assert list(draw_shards(folder / "scenes", 12, workers=1, shard=6)) == [12]


def test_a_patch_takes_the_name_that_fills_it():
    labels = np.zeros((crops.WINDOW, crops.WINDOW), np.uint8)
    labels[:8, :8] = 3
    labels[:8, 8:12] = 4
    patches = crops.majority_labels(labels).reshape(crops.GRID, crops.GRID)
    assert patches[0, 0] == 3 and patches[0, 1] == crops.MIXED and (patches[1:] == 0).all()


def test_windows_and_their_captions_fit_together(scenes):
    batch = crops.cut_crops(scenes, np.random.default_rng(0), 6)
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


def test_only_the_last_windows_are_recoloured(scenes):
    as_they_are, some = (crops.cut_crops(scenes, np.random.default_rng(3), 4, count) for count in (0, 2))
    np.testing.assert_array_equal(as_they_are.windows[:2], some.windows[:2])
    assert not np.array_equal(as_they_are.windows[2], some.windows[2])


@pytest.fixture
def deterministic():
    """What the command sets for its process."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("role", BUILDERS)
def test_a_stopped_run_ends_in_the_same_bytes(role, folder, scenes, tmp_path, monkeypatch):
    """SAM's stages change after each step, and are small. The second cycle begins where the run was stopped."""
    untils = (1, 2, 3, 9)
    stages = [
        stage._replace(until=until, images=stage.parts, regions=2, users=2, corrections=1)
        for stage, until in zip(STAGES, untils, strict=True)
    ]
    monkeypatch.setattr("ovdeploy.export.tiny.sam_task.STAGES", stages)
    files = []
    for name, stops in (("once", (None,)), ("resumed", (1, 2, 3, None))):
        for stop in stops:
            torch.manual_seed(0)
            model = BUILDERS[role]()
            task = TASKS[role](model, scenes, folder)
            budget = Budget((Cycle(2), Cycle(2, stable=0.5)), 1e-3, 0, stop)
            history = train(model, task, budget, tmp_path / f"{name}.ckpt", lambda step, told: None)
        assert all(np.isfinite(values).all() for values in history.values())
        assert {len(values) for name, values in history.items() if name != "detail"} == {4}
        write_weights(model, tmp_path / f"{name}.safetensors")
        files.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert files[0] == files[1]
    draw_curves(history, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000


@pytest.mark.usefixtures("deterministic")
def test_a_run_that_has_ended_can_be_given_another_cycle_and_no_other_run_goes_on(folder, scenes, tmp_path):
    def run(cycles, checkpoint="d.ckpt", seed=0):
        torch.manual_seed(0)
        model = BUILDERS["dino"]()
        task = TASKS["dino"](model, scenes, folder)
        return train(
            model, task, Budget(tuple(map(Cycle, cycles)), 1e-3, seed), tmp_path / checkpoint, lambda step, told: None
        )

    run((2,))
    for others in ({"cycles": (2,), "seed": 1}, {"cycles": (3,)}, {"cycles": (1, 1)}):
        with pytest.raises(WeightsError, match="at step 2"):
            run(**others)
    kept = torch.load(tmp_path / "d.ckpt", weights_only=True)
    kept["budget"]["cycles"] = [cycle[:2] for cycle in kept["budget"]["cycles"]]  # of a run before cycles had a peak
    torch.save(kept, tmp_path / "d.ckpt")
    assert run((2, 2)) == run((2, 2), "whole.ckpt")
    with pytest.raises(WeightsError, match="at step 4"):
        run((2,))


def test_the_rate_rises_stays_and_falls_in_every_cycle():
    budget = Budget((Cycle(4 * WARMUP, stable=0.5), Cycle(WARMUP + 10, stable=0.0, peak=0.5)), 1e-3)
    shares = [rate_share(step, budget) for step in range(budget.steps)]
    first, second = shares[: 4 * WARMUP], shares[4 * WARMUP :]
    assert first[0] == 1 / WARMUP and first[WARMUP - 1 : 2 * WARMUP] == [1.0] * (WARMUP + 1)
    assert first[3 * WARMUP] == 0.5 and first[-1] == pytest.approx(1 / (2 * WARMUP))
    rising = [0.5 * (step + 1) / WARMUP * (1 - step / len(second)) for step in range(WARMUP)]
    assert second[:WARMUP] == pytest.approx(rising) and second[-1] == pytest.approx(0.5 / len(second))


class Halves(Task):
    """Two parts: x and 3 y."""

    def __init__(self, model):
        self.model = model

    def parts(self, rng, step):
        return [lambda: {"loss": self.model.weight[0, 0]}, lambda: {"loss": 3 * self.model.weight[0, 1]}]


def test_a_step_goes_along_the_mean_over_the_parts(tmp_path, monkeypatch):
    model, seen = torch.nn.Linear(2, 1), []
    with torch.no_grad():
        model.weight[:] = torch.tensor([[1.0, 2.0]])
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda parameters, norm: seen.extend(parameters))
    history = train(model, Halves(model), Budget((Cycle(1),), 1e-3), tmp_path / "h.ckpt", lambda step, told: None)
    assert history == {"loss": [(1 + 6) / 2]}
    assert seen[0].grad.tolist() == [[0.5, 1.5]] and seen[1].grad is None


def test_the_command_trains_and_writes(tmp_path, monkeypatch, folder):
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    (tmp_path / "scenes").symlink_to(folder / "scenes")
    arguments = ["--out", str(tmp_path), "--model", "dino", "--steps", "1", "--scenes", "12"]
    result = CliRunner().invoke(main, arguments)
    torch.use_deterministic_algorithms(False)
    assert result.exit_code == 0, result.output
    state = load_file(tmp_path / "dino.safetensors")
    assert state.keys() == BUILDERS["dino"]().state_dict().keys()
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert (tmp_path / "dino.png").is_file()


def test_the_command_trains_all_models_side_by_side(tmp_path, monkeypatch, folder):
    """In processes of their own, to the same bytes as one alone."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # as the command sets it, which would outlast the test
    submitted = []

    class Watched(ProcessPoolExecutor):
        def submit(self, work, run, roles, **options):
            submitted.append(tuple(roles))
            return super().submit(work, run, roles, **options)

    monkeypatch.setattr("ovdeploy.export.tiny.train.ProcessPoolExecutor", Watched)
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    for name in ("all", "dino"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenes").symlink_to(folder / "scenes")
        arguments = ["--out", str(tmp_path / name), "--model", name, "--steps", "1", "--scenes", "12", "--threads", "2"]
        result = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
        torch.use_deterministic_algorithms(False)
        assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "all").glob("*.safetensors")} == set(BUILDERS)
    assert len({(tmp_path / name / "dino.safetensors").read_bytes() for name in ("all", "dino")}) == 1
    assert submitted == [("sam",), ("clip", "dino")]


def test_a_model_that_fails_beside_others_does_not_stop_them(tmp_path, monkeypatch, folder):
    """The extractor has a checkpoint of another seed."""
    monkeypatch.setattr("ovdeploy.export.tiny.train.SHARD", 6)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    (tmp_path / "scenes").symlink_to(folder / "scenes")
    arguments = ["--out", str(tmp_path), "--steps", "1", "--scenes", "12", "--device", "cpu", "--threads", "2"]
    assert CliRunner().invoke(main, [*arguments, "--model", "dino", "--seed", "1"]).exit_code == 0
    result = CliRunner().invoke(main, arguments)
    torch.use_deterministic_algorithms(False)
    assert result.exit_code == 1 and "clip and dino" in result.output and "cannot go on" in result.output
    assert (tmp_path / "sam.safetensors").is_file() and (tmp_path / "clip.safetensors").is_file()


def test_the_command_tells_that_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--device", "cuda"])
    assert result.exit_code == 2 and "no GPU" in result.output and not list(tmp_path.iterdir())


def test_the_dense_contrast_is_its_definition():
    """One patch after another. The last has no label; the one before it is alone with its own, and has no share."""
    labels = torch.tensor([[0, 1, 0, 1, 0, 2, -1]])
    units = torch.nn.functional.normalize(torch.randn(1, 7, 5, generator=torch.manual_seed(0)), dim=-1)
    cosine = (units[0] @ units[0].T).tolist()
    known, name = range(6), labels[0].tolist()
    pairs = [(i, j) for i in known for j in known if i != j]
    same, other = ([(i, j) for i, j in pairs if (name[i] == name[j]) is equal] for equal in (True, False))

    def weight(i, among):
        return sum(np.exp(cosine[i][j] / TEMPERATURE) for k, j in among if k == i)

    losses = dense_contrast(units, labels)
    assert float(losses["contrast"]) == pytest.approx(
        np.mean([-np.log(weight(i, same) / weight(i, pairs)) for i in range(5)]), rel=1e-5
    )
    assert float(losses["together"]) == pytest.approx(np.mean([1 - cosine[i][j] for i, j in same]), rel=1e-5)
    assert float(losses["apart"]) == pytest.approx(
        4 * np.mean([max(cosine[i][j] - APART, 0) ** 2 for i, j in other]), rel=1e-5
    )


def test_where_all_is_of_one_label_nothing_has_to_be_apart():
    assert dense_contrast(torch.ones(1, 3, 1), torch.zeros(1, 3))["apart"] == 0


def test_training_compares_with_no_name_that_is_held_out():
    from ovdeploy.export.tiny.clip_task import CLASSES

    assert (*SEEN, *STUFF) == CLASSES


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


@pytest.mark.parametrize("role", BUILDERS)
def test_the_package_has_weights_that_fit(role):
    module, provenance = load_model(role, load_recipe("tiny").models[role])
    assert provenance.source == "package" and provenance.model == "tiny"
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())


def test_the_packages_weights_are_small():
    from ovdeploy.export.weights import _in_package

    sizes = [_in_package(role, "tiny").stat().st_size for role in BUILDERS]
    assert sum(sizes) <= 12e6 and max(sizes) <= 5e6


def test_other_models_have_no_weights_in_the_package():
    with pytest.raises(WeightsError, match="'tiny' alone"):
        load_model("dino", ModelChoice(model="micro", weights="package"))


def test_the_models_are_registered():
    for role in BUILDERS:
        assert not build_model(role, "tiny").training
