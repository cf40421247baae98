"""Checkpoints with transformers' names: the same tensors give what transformers computed with them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from ovdeploy.export.models.checkpoints.clip_names import CLIP_NAMINGS
from ovdeploy.export.models.checkpoints.dino_names import DINO_NAMINGS
from ovdeploy.export.models.checkpoints.naming import _matches, _pattern
from ovdeploy.export.models.checkpoints.sam_names import SAM_NAMINGS
from ovdeploy.export.models.families import build_model
from ovdeploy.runtime.errors import WeightsError
from support.checkpoints import filled, small_model
from support.namings import FROZEN, POINTS, frozen, image, sampled, state_of, tokens

NAMINGS = (*CLIP_NAMINGS, *DINO_NAMINGS, *SAM_NAMINGS)
NAMED = ("clip", "dinov2", "dinov2_classifier", "dinov2_registers", "dinov3", "sam", "vit")
LIVE = [name for name in NAMED if frozen(name)["live"].keys() != frozen(name)["tensors"].keys()]
"""Those whose names in memory, since version 5, are others than in the file."""

TARGETS = {"clip": "clip", "sam": "sam", "vit": "dino"}
"""The small model that each is loaded into; others have their own name."""

READ_AS = {
    "clip": "CLIPModel", "vit": "ViTModel", "dinov2": "Dinov2Model", "dinov2_classifier": "Dinov2Model",
    "dinov2_registers": "Dinov2WithRegistersModel", "dinov3": "DINOv3ViTModel", "sam": "SamModel",
}  # fmt: skip


def outputs(name, module, side):
    photo = image(side)
    if name == "clip":
        return {"image": module.encode_image(photo), "text": module.encode_text(tokens())}
    if name == "sam":
        features = module.image_encoder(photo)
        points = torch.tensor([POINTS])
        sparse, dense = module.prompt_encoder((points, torch.ones(1, len(POINTS))), None, None)
        masks, iou = module.mask_decoder(
            features, module.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True
        )
        return {"features": features, "masks": masks, "iou": iou}
    return {"features": module.forward_features(photo)}


def test_every_frozen_model_is_tried():
    assert tuple(sorted(path.stem for path in FROZEN.glob("*.json"))) == NAMED


@torch.no_grad()
@pytest.mark.parametrize(("name", "live"), [*((name, False) for name in NAMED), *((name, True) for name in LIVE)])
def test_a_file_of_transformers_computes_what_transformers_computed(name, live, tmp_path):
    facts = frozen(name)
    state = state_of(facts["tensors"])
    if live:  # torch.save(model.state_dict()), of version 5
        state = {key: state[origin].clone() for key, origin in facts["live"].items()}
    save_file(state, tmp_path / "model.safetensors")
    module, notes = filled(TARGETS.get(name, name), tmp_path / "model.safetensors")
    assert any(READ_AS[name] in note for note in notes)
    for key, output in outputs(name, module, facts["side"]).items():
        # float32, summed in another order; SAM's decoder enlarges what its layer norms see by some hundred times
        atol = 2e-3 if name == "sam" else 1e-4
        np.testing.assert_allclose(sampled(output), facts["outputs"][key], rtol=1e-4, atol=atol, err_msg=key)


@pytest.mark.parametrize("name", NAMED)
def test_every_tensor_of_a_file_is_asked_for(name):
    """One of each kind in turn is missing: that is told by the file's own name, or a row leaves it out anyway."""
    target, state = TARGETS.get(name, name), state_of(frozen(name)["tensors"])
    for key in {re.sub(r"\.\d+\.", ".N.", key): key for key in state}.values():
        fewer = {other: value for other, value in state.items() if other != key}
        if key.startswith("classifier") or key.removeprefix("dinov2.") in left_out(name, state):
            filled(target, fewer)
            continue
        with pytest.raises(WeightsError) as caught:
            filled(target, fewer)
        told = "reg_token" if key == "embeddings.register_tokens" else key.removeprefix("dinov2.")
        assert told in str(caught.value)


def left_out(name, state):
    naming = next(each for each in NAMINGS if each.name == f"transformers' {READ_AS[name]}")
    plain = [key.removeprefix("dinov2.") for key in state]
    return {key for key in plain for row, ours in _matches(key, naming) if ours is None}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_that_is_not_known_is_refused(name):
    state = state_of(frozen(name)["tensors"])
    state["adapter.lora_A.weight"] = torch.ones(4, 2)
    with pytest.raises(WeightsError, match=r"1 unexpected \(adapter\.lora_A\.weight \[4, 2\]\)"):
        filled(TARGETS.get(name, name), state)


def test_copies_of_a_tensor_must_be_equal():
    facts = frozen("sam")
    saved = state_of(facts["tensors"])
    state = {key: saved[origin] for key, origin in facts["live"].items()}
    copy = "prompt_encoder.shared_embedding.positional_embedding"
    state[copy] = state[copy] + 1
    with pytest.raises(WeightsError, match="are copies of one tensor, and they differ"):
        filled("sam", state)


def test_biases_that_the_model_has_no_place_for_are_refused_unless_they_are_zero():
    state = state_of(frozen("dinov3")["tensors"])
    state["layer.1.attention.v_proj.bias"][3] = 0.1
    with pytest.raises(WeightsError, match=r"layer\.1\.attention\.v_proj\.bias is not zero, and timm's DINOv3"):
        filled("dinov3", state)


@torch.no_grad()
@pytest.mark.parametrize("name", ["dinov2", "dinov2_registers", "dinov3"])
def test_metas_names_are_read_as_timm_reads_them(name):
    """timm's own filter is the other side; Meta's names are those in its code, from which it was written."""
    own = {key: list(value.shape) for key, value in small_model(name).state_dict().items()}
    meta = state_of(metas(name, own))
    module, notes = filled(name, meta)
    library = timm.models.eva if name == "dinov3" else timm.models.vision_transformer
    expected = library.checkpoint_filter_fn(dict(meta), small_model(name))
    assert expected.keys() == module.state_dict().keys()
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)
    assert any("mask_token (only pre-training uses it)" in note for note in notes)


def metas(name, own):
    """Names and shapes of Meta's files, from those of timm's model."""
    renamed = {key.replace("gamma_", "ls_").replace("ls_1", "ls1.gamma").replace("ls_2", "ls2.gamma"): shape
               for key, shape in own.items()}  # fmt: skip
    if "reg_token" in renamed:
        renamed["storage_tokens" if name == "dinov3" else "register_tokens"] = renamed.pop("reg_token")
    if name == "dinov3":
        renamed["rope_embed.periods"] = [16]
    if name == "dinov2_registers":
        renamed["pos_embed"] = [1, renamed["pos_embed"][1] + 1, 64]
    return {**renamed, "mask_token": [1, 64]}


@pytest.mark.parametrize("shape", [(), (2,), (0,), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", [*NAMED, "metas dinov3"])
def test_a_tensor_of_whatever_shape_is_refused_by_an_error_of_ours(name, shape):
    """One after the other: what is stacked, cut or transposed on the way as well."""
    if name == "metas dinov3":
        own = {key: list(value.shape) for key, value in small_model("dinov3").state_dict().items()}
        name, state = "dinov3", state_of(metas("dinov3", own))
    else:
        state = state_of(frozen(name)["tensors"])
    refused = 0
    for key in list(state):
        try:
            filled(TARGETS.get(name, name), {**state, key: torch.zeros(shape)})
        except WeightsError:
            refused += 1
    assert refused > 0.8 * len(state), "what is left out may have any shape, and nothing else"


def test_dinov3s_masked_biases_are_left_out_where_they_are_zero():
    own = {key: list(value.shape) for key, value in small_model("dinov3").state_dict().items()}
    meta = state_of(metas("dinov3", own))
    for block in range(2):
        meta[f"blocks.{block}.attn.qkv.bias"] = torch.cat([torch.zeros(64), torch.ones(64), torch.zeros(64)])
        meta[f"blocks.{block}.attn.qkv.bias_mask"] = torch.ones(192)
    filled("dinov3", meta)
    meta["blocks.1.attn.qkv.bias"][0] = 0.5
    with pytest.raises(WeightsError, match=r"blocks\.1\.attn\.qkv\.bias is not zero"):
        filled("dinov3", meta)


def test_every_naming_says_where_its_names_are_written():
    assert all(naming.source and naming.marks for naming in NAMINGS)
    assert len({naming.name for naming in NAMINGS}) == len(NAMINGS)
    assert all(row.why or row.zero for naming in NAMINGS for row in naming.rows if row.ours is None)


def test_every_row_is_of_use():
    """Each row of transformers' namings matches a name of a frozen file, or one of those of version 5 in memory."""
    names = {
        key.removeprefix("dinov2.") for name in NAMED for part in ("tensors", "live") for key in frozen(name)[part]
    }
    older = {"embeddings.position_ids", "shared_embedding.positional_embedding", "embeddings.mask_token"}
    for naming in NAMINGS:
        for row in naming.rows:
            if "transformers" in naming.name and not any(row.theirs.endswith(each) for each in older):
                assert any(_pattern(row.theirs).fullmatch(name) for name in names), (naming.name, row.theirs)


def test_the_models_of_the_tests_are_of_the_published_classes():
    for small, published in (
        ("dinov2", "vit_small_patch14_dinov2.lvd142m"),
        ("dinov2_registers", "vit_small_patch14_reg4_dinov2.lvd142m"),
        ("dinov3", "vit_small_patch16_dinov3.lvd1689m"),
    ):
        with torch.device("meta"):
            big = build_model("dino", published)
        ours = {key.replace(".11.", ".1.") for key in big.state_dict() if ".11." in key or ".blocks" not in f".{key}"}
        assert ours <= set(small_model(small).state_dict())
