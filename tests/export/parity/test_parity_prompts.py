"""The interactive stage: its graph, and its answers against segment_anything's SamPredictor."""

from __future__ import annotations

import json
import shutil

import msgspec
import numpy as np
import onnx
import pytest
import torch
from segment_anything import SamPredictor

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.cli.parity import parity
from ovdeploy.export.parity.check import engine_opener
from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.reference.promptable.prompts import prompt_gaps, trace_prompts
from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.pipelines.training_free.pipeline import PIPELINE
from ovdeploy.runtime.recipe.recipe import ModelChoice
from support.parity import run, scale_layer
from support.samples import draw_photo

LOGITS = {"rtol": 1e-4, "atol": 2e-4}  # float32, another order of summation, where terms of size 10 cancel
STAGE = "sam_prompt_decoder"


def test_the_graph_has_no_data_dependent_shapes_and_no_control_flow(complete_bundle):
    model = onnx.load(Bundle.load(complete_bundle).engine_path(STAGE, "fp32"))
    assert not {node.op_type for node in model.graph.node} & {"NonZero", "Loop", "If", "Scan"}
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 20)}


@pytest.mark.parametrize("hw", [(300, 400), (97, 512), (211, 64)])
def test_engines_from_the_photo_on_answer_as_sam_predictor(complete_bundle, micro_networks, hw):
    photo = draw_photo(hw)
    trace = trace_prompts(micro_networks, photo)
    bundle = Bundle.load(complete_bundle)
    gaps = list(prompt_gaps(bundle, engine_opener(bundle, "auto", "fp32"), photo, trace))
    assert [gap.name for gap in gaps] == list(trace.prompts) and len(gaps) == 8
    for gap in gaps:
        assert gap.agreement >= 0.9995 and gap.iou <= 1e-3, gap  # the promise to users; measured: 0.99999 and 1e-6


@torch.no_grad()
@pytest.mark.parametrize("explicit", [0, 1, 3], ids=["no pad", "SAM's own pad", "several pads"])
def test_the_module_is_sam_whatever_the_padding(micro_networks, explicit):
    """SAM's ONNX users pass the "not a point" themselves; batches pass more of them. Both must change nothing."""
    predictor = SamPredictor(micro_networks.models["sam"])
    predictor.set_image(draw_photo((300, 512)))
    points, labels = torch.tensor([[[100.0, 200.0], [300.0, 40.0]]]), torch.tensor([[1, 0]])
    expected = [predictor.predict_torch(points, labels, multimask_output=many)[1:] for many in (False, True)]
    padded = torch.cat([points, torch.zeros(1, explicit, 2)], dim=1)
    marked = torch.cat([labels, -torch.ones(1, explicit, dtype=torch.long)], dim=1).int()
    blank = torch.zeros(1, 1, 128, 128)
    low_res, iou = micro_networks.modules[STAGE](predictor.features, padded, marked, blank, torch.tensor([False]))
    torch.testing.assert_close(low_res, torch.cat([logits for _, logits in expected], dim=1), **LOGITS)
    torch.testing.assert_close(iou, torch.cat([iou for iou, _ in expected], dim=1), **LOGITS)


def test_it_is_never_as_published(micro_networks):
    """The recipe says `as_published`, and the mask prompt is still normalised over channels."""
    assert micro_networks.recipe.parameters.as_published
    own = micro_networks.models["sam"].prompt_encoder.mask_downscaling
    assert micro_networks.modules[STAGE].prompts.mask_downscaling is own


def test_sam_itself_is_left_as_it_was(micro_networks):
    """The masked attentions go into a copy: SamPredictor on the same model must stay the truth."""
    layers = micro_networks.models["sam"].mask_decoder.transformer.layers
    assert micro_networks.modules[STAGE].decoder is not micro_networks.models["sam"].mask_decoder
    assert all(type(layer.self_attn).__module__.startswith("segment_anything") for layer in layers)


def test_parity_checks_the_stage_and_every_kind_of_prompt(complete_bundle):
    result = run(parity, complete_bundle, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"], result.stdout
    prompts = [check for check in report["checks"] if check["stage"] == "prompt"]
    assert len(prompts) == 8 and all(check["measures"]["agreement"] >= 0.9995 for check in prompts)
    assert {c["what"] for c in report["checks"] if c["stage"] == STAGE} == {"low_res_logits", "iou"}
    assert {c["stage"] for c in report["checks"]} >= {use.name for use in PIPELINE.stages if use.purpose}, (
        "no optional stage goes unchecked"
    )


def test_a_layer_scaled_by_one_percent_fails(complete_bundle, tmp_path):
    folder = shutil.copytree(complete_bundle, tmp_path / "b")
    scale_layer(folder, STAGE, 0.5)
    result = run(parity, folder)
    assert result.exit_code == 1 and f"FAIL {STAGE}" in result.stdout


@pytest.mark.slow
def test_full_size_sam_answers_as_sam_predictor(tmp_path):
    """SAM ViT-B with seeded weights, in a method with the affinity; CLIP and DINO stay tiny, since none is asked."""
    tiny = load_recipe("micro")
    models = tiny.models | {"sam": ModelChoice(model="vit_b", weights="random:3")}
    recipe = msgspec.structs.replace(tiny, models=models)
    networks = Networks.load(recipe)
    build_bundle(networks, tmp_path / "b", stages=["sam_encoder", STAGE])
    photo = draw_photo((400, 601))
    trace = trace_prompts(networks, photo)
    bundle = Bundle.load(tmp_path / "b")
    gaps = list(prompt_gaps(bundle, engine_opener(bundle, "auto", "fp32"), photo, trace))
    assert len(gaps) == 8
    for gap in gaps:
        assert gap.agreement >= 0.9995 and gap.iou <= 1e-3, gap
    areas = [answer.masks.mean() for answer in trace.answers.values()]
    assert np.ptp(areas) > 0.01, "masks that are all alike would show nothing"
