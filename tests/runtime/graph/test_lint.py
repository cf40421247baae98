from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.graph.lint import RULES, lint_model
from ovdeploy.runtime.graph.passes import improved
from ovdeploy.runtime.graph.tensorrt_support import CONSTANT_INPUTS, SHAPE_INPUTS, SINCE, TYPES, max_opset
from support.bundles import with_graph
from support.graphs import graph
from support.planted import IMAGE, PLANTED, ROW, SIZES

f32 = np.float32


@pytest.mark.parametrize(("rule", "node", "make"), PLANTED, ids=[f"{rule}-{node}" for rule, node, _ in PLANTED])
def test_a_planted_case_is_flagged(rule, node, make):
    found = [finding for finding in lint_model(make(), (11, 4)) if finding.rule == rule]
    assert [finding.node for finding in found if finding.node == node]
    assert all(finding.what and finding.fix and finding.source for finding in found)


def test_every_rule_has_a_planted_case():
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in PLANTED}


@pytest.mark.parametrize(
    ("body", "weights"),
    [
        ("y = LayerNormalization(x, g)", {"g": np.ones(8, f32)}),
        ("n = ReduceL2(x, last) y = Div(x, n)", {"last": np.array([-1])}),
        ("s = Shape(x) y = Expand(one, s)", {"one": f32(1)}),
        ("h = Cast<to=10>(x) p = Pow(h, two) y = Cast<to=1>(p)", {"two": f32(2)}),  # the parser casts its exponent
        ("t = Transpose(x) k = Mul(t, one) q = MatMul(x, k) z = Softmax(q) y = MatMul(z, x)", {"one": f32(1)}),
    ],
)
def test_what_is_fine_is_left_alone(body, weights):
    signature = "(float[4, 8] x) => (float[4, 8] y)"
    assert lint_model(graph(signature, body, **weights), (10, 0)) == []


def test_versions_differ():
    model = graph(ROW, "y = Neg(x)", opset=24)
    assert [f.rule for f in lint_model(model, (10, 14))] == ["opset"] and lint_model(model, (10, 15)) == []
    assert [max_opset(v) for v in ((10, 0), (10, 14), (10, 16), (11, 4))] == [20, 20, 24, 25]
    attention = graph("(float[1, 1, 4, 8] x) => (float[1, 1, 4, 8] y)", "y = Attention(x, x, x)", opset=23)
    assert [f.what for f in lint_model(attention, (10, 13)) if f.rule == "operator"] == [
        "Attention came with TensorRT 10.14, this is for 10.13"
    ]
    assert lint_model(attention, (11, 0)) == []
    cubic = graph(IMAGE, 'y = Resize<mode="cubic">(x, , , sizes)', **SIZES)
    assert [f.rule for f in lint_model(cubic, (10, 16))] == ["resize"] and lint_model(cubic, (11, 4)) == []
    clip = graph("(int32[2] x) => (int32[2] y)", "y = Clip(x)")
    assert [f.rule for f in lint_model(clip, (10, 16))] == ["dtype"] and lint_model(clip, (11, 4)) == []


def test_the_tables_name_operators_that_exist():
    import onnx

    schemas = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert TYPES.keys() <= schemas
    assert SINCE.keys() | CONSTANT_INPUTS.keys() | SHAPE_INPUTS.keys() <= TYPES.keys()


@pytest.mark.parametrize(("rule", "node", "make"), [c for c in PLANTED if c[0] in ("decomposed_norm", "late_scale")])
def test_our_passes_mend_what_our_own_graphs_have(rule, node, make):
    assert lint_model(improved(make()), (11, 4)) == []


def test_the_command_passes_on_our_own_bundle(micro_bundle):
    result = CliRunner().invoke(lint, [str(micro_bundle), "--tensorrt", "10.0", "--tensorrt", "11.4"])
    assert result.exit_code == 0 and result.stdout == "0 findings in 6 graphs, for TensorRT 10.0, 11.4\n"


def test_the_command_says_where_and_what_to_do(micro_bundle, tmp_path):
    model = graph("(float[N] embeddings) => (float[N] logits)", "a = Det(embeddings) logits = Identity(a)")
    folder = with_graph(micro_bundle, tmp_path / "b", "head", model)
    result = CliRunner().invoke(lint, [str(folder), "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1 and not report["passed"] and report["graphs"] == 6
    [finding] = report["findings"]
    assert (finding["stage"], finding["precision"], finding["rule"]) == ("head", "fp32", "operator")
    assert finding["node"] == "Det_a" and finding["tensorrt"] == ["10.16", "11.4"]
    told = CliRunner().invoke(lint, [str(folder)])
    assert told.exit_code == 1 and "head fp32: operator at Det_a: TensorRT's parser has no Det" in told.stdout


@pytest.mark.parametrize("version", ["9.3", "11", "new"])
def test_the_command_refuses_versions_that_it_does_not_know(micro_bundle, version):
    result = CliRunner().invoke(lint, [str(micro_bundle), "--tensorrt", version])
    assert result.exit_code == 2 and "such as 11.4" in result.stderr
