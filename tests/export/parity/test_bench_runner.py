"""`ovdeploy bench --against torch`: the reference in a process of its own, beside the engines."""

import json

from click.testing import CliRunner

from ovdeploy.runtime.cli import main


def test_engines_and_torch_are_measured_side_by_side(micro_bundle):
    options = ["--against", "torch", "--runner", "onnxruntime", "--rounds", "1", "--size", "203x150", "--json", "-"]
    refine = ["--set", "iou_threshold=0.0", "--threads", "1"]
    result = CliRunner().invoke(main, ["bench", str(micro_bundle), *options, *refine])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    torch, engines = found["runners"]
    assert found["reference"] == torch["label"] == "torch" and engines["label"] == "onnxruntime fp32"
    assert engines["agreement"] >= 0.999, "the recipe's tolerance for labels"
    assert engines["regions"] == torch["regions"] > 0
    stages = {"dino", "clip_image", "sam_encoder", "head", "sam_decoder"}
    assert stages <= set(torch["steps"]) and stages <= set(engines["steps"])
    assert engines["steps"]["dino"]["ratio"] > 0
    assert {peak["label"] for peak in found["peaks"]} >= {"numpy fp32", "torch fp32"}


def test_other_weights_are_refused(micro_bundle):
    options = ["--against", "torch", "--weights", "clip=random:77", "--rounds", "1"]
    result = CliRunner().invoke(main, ["bench", str(micro_bundle), *options])
    assert result.exit_code == 1 and "SHA-256 differs" in result.stderr
