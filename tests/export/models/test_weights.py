from __future__ import annotations

import json
import pickle
from contextlib import nullcontext

import open_clip
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

from ovdeploy.export.commands import export_engines
from ovdeploy.export.models.checkpoints.activations import check_activation
from ovdeploy.export.models.checkpoints.fitting import Reading, fit
from ovdeploy.export.models.families import build_model, family_of
from ovdeploy.export.models.weights import load_model, random_state, read_checkpoint, state_digest
from ovdeploy.runtime import Bundle, RecipeError
from ovdeploy.runtime.boundary.shipped import RECIPES, shipped
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.recipe.recipe import ModelChoice

MICRO = ModelChoice(model="micro", weights="random:1")


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.fixture(scope="module")
def dino_state():
    return random_state(build_model("dino", "micro"), 7)


def test_random_weights_depend_on_the_seed_alone():
    digests = [load_model("dino", MICRO, f"random:{seed}")[1].sha256 for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_random_weights_do_not_depend_on_torchs_generator(dino_state):
    torch.manual_seed(123)
    assert state_digest(random_state(build_model("dino", "micro"), 7)) == state_digest(dino_state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
def test_checkpoints_in_both_formats_and_wrapped(tmp_path, dino_state, name, wrap):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save_file(dino_state, path)
    else:
        state = {f"module.{key}": value for key, value in dino_state.items()}
        torch.save({wrap: state} if wrap else state, path)
    _, provenance = load_model("dino", MICRO, str(path))
    assert provenance.source == f"file:{name}", "no folder of this machine"
    assert provenance.sha256 == state_digest(dino_state)


def test_what_was_done_to_a_checkpoint_is_kept_and_told(tmp_path, dino_state):
    torch.save({f"_orig_mod.{name}": value.half() for name, value in dino_state.items()}, tmp_path / "w.pth")
    _, provenance = load_model("dino", MICRO, str(tmp_path / "w.pth"))
    assert provenance.changes == ("'_orig_mod.' taken out of 42 names", "converted from float16")
    recipe = tmp_path / "micro.toml"
    recipe.write_text(shipped(RECIPES)["micro"].read_text())
    options = ["--dino-weights", str(tmp_path / "w.pth"), "--stages", "head", "--output", str(tmp_path / "made")]
    done = CliRunner().invoke(export_engines, [str(recipe), *options])
    assert "converted from float16" in done.output, done.output
    assert Bundle.load(tmp_path / "made").manifest.provenance["dino"] == provenance


def test_a_scale_of_one_number_is_read_as_open_clip_reads_it(tmp_path):
    state = random_state(build_model("clip", "micro"), 7)
    torch.save({**state, "logit_scale": state["logit_scale"][None]}, tmp_path / "w.pt")
    module, _ = load_model("clip", ModelChoice(model="micro"), str(tmp_path / "w.pt"))
    assert module.logit_scale == state["logit_scale"]


def test_parts_that_a_model_does_without_are_left_out_and_told(dino_state):
    """Of published files that hold more than the model: SAM 2's memory."""
    state = {**dino_state, "memory.a": torch.ones(2), "memory.b": torch.ones(2)}
    fitted = fit(state, build_model("dino", "micro"), Reading(unused=("memory.",)), "the model", "the file")
    assert fitted.state.keys() == dino_state.keys()
    assert fitted.notes == ("left out: memory.a, and 1 more (the model does without)",)


PLAIN = {"config.json": {"vision_config": {"hidden_act": "gelu"}}}
QUICK = {"config.json": {"vision_config": {"hidden_act": "quick_gelu"}}}


@pytest.mark.parametrize(
    ("beside", "quick", "refused"),
    [
        (QUICK, True, False), (QUICK, False, True), (PLAIN, True, True), (PLAIN, False, False),
        ({"open_clip_config.json": {"model_cfg": {"quick_gelu": True}}}, False, True),
        ({"open_clip_config.json": {"model_cfg": {}}, **PLAIN}, True, True),
        ({"config.json": {"hidden_size": 64}}, True, False), ({"config.json": [1]}, True, False),
        ({}, True, False), ({}, False, False),
    ],
)  # fmt: skip
def test_a_clip_of_another_activation_is_refused_where_it_is_known(tmp_path, beside, quick, refused):
    """Each of its tensors would fit."""
    for name, content in beside.items():
        (tmp_path / name).write_text(json.dumps(content))
    module = nn.Sequential(open_clip.transformer.QuickGELU() if quick else nn.GELU())
    with pytest.raises(WeightsError, match="-quickgelu as `model`") if refused else nullcontext():
        check_activation({"visual.conv1.weight"}, tmp_path / "model.safetensors", module)


@pytest.mark.parametrize(("model", "refused"), [("ViT-B-16", True), ("ViT-B-16-quickgelu", False)])
def test_published_weights_of_another_activation_are_refused(monkeypatch, model, refused):
    made = nn.Sequential(nn.GELU() if refused else open_clip.transformer.QuickGELU())
    monkeypatch.setattr(open_clip, "create_model", lambda name, pretrained: made)
    with pytest.raises(WeightsError, match="as open_clip's table says") if refused else nullcontext():
        assert family_of("clip").pretrained(model, "openai") == {}


def test_openais_own_files_are_refused_by_a_model_with_gelu(tmp_path):
    state = random_state(build_model("clip", "micro"), 7)  # with QuickGELU
    sizes = {name: torch.tensor(77) for name in ("input_resolution", "context_length", "vocab_size")}
    torch.save({**state, **sizes}, tmp_path / "w.pt")
    load_model("clip", ModelChoice(model="micro"), str(tmp_path / "w.pt"))
    with pytest.raises(WeightsError, match=r"trained with QuickGELU \(all of OpenAI's own files are\)"):
        check_activation(sizes.keys() | state.keys(), None, nn.GELU())


def test_a_checkpoint_that_does_not_fit_is_refused_with_its_keys(tmp_path, dino_state):
    state = dict(dino_state)
    state["extra.weight"] = state.pop("norm.weight")
    state["norm.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        load_model("dino", MICRO, str(tmp_path / "w.pth"))
    for told in ("1 missing (norm.weight [64])", "1 unexpected (extra.weight [64])", "norm.bias: [3] instead of [64]"):
        assert told in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps(Evil())], ids=["empty", "text", "pickle"])
def test_unsafe_or_broken_files_are_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth"):
        read_checkpoint(path)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="state dict"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("source", "told"), [("random:x", "random:SEED"), ("random:", "random:SEED"), ("nowhere.pt", "no such")]
)
def test_sources_that_mean_nothing(source, told):
    with pytest.raises(WeightsError, match=told):
        load_model("dino", MICRO, source)


def test_pretrained_without_a_tag_is_refused():
    with pytest.raises(WeightsError, match="--dino-weights"):
        load_model("dino", MICRO, "pretrained")


def test_pretrained_that_cannot_be_fetched_says_what_to_do(monkeypatch):
    def refuse(name, tag):
        raise OSError("no network")

    refusing = family_of("sam")._replace(pretrained=refuse)
    monkeypatch.setattr("ovdeploy.export.models.weights.family_of", lambda role: refusing)
    with pytest.raises(WeightsError, match=r"no network.*--sam-weights"):
        load_model("sam", ModelChoice(model="tiny", pretrained="tag"), "pretrained")


@pytest.mark.parametrize("role", ["clip", "dino", "sam"])
def test_an_unknown_model_is_answered_with_the_valid_ones(role):
    with pytest.raises(RecipeError, match=rf"unknown {role} model 'tinyy'. Did you mean 'tiny'\? Valid: "):
        build_model(role, "tinyy")


def test_a_model_cut_short_keeps_its_last_blocks_and_takes_random_weights_only(tmp_path, dino_state):
    choice = ModelChoice(model="micro", weights="random:1", depth=2)
    for role, blocks in (("dino", "blocks"), ("clip", "visual.transformer.resblocks"), ("sam", "image_encoder.blocks")):
        module, _ = load_model(role, choice)
        assert len(module.get_submodule(blocks)) == 2
    sam, _ = load_model("sam", choice)
    assert sam.image_encoder.blocks[-1].window_size == 0, "the affinity is that of a global block"
    save_file(dino_state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="depth=2 cuts 'micro' short"):
        load_model("dino", choice, str(tmp_path / "w.safetensors"))
