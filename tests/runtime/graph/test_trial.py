"""`ovdeploy lint --parse` and `--build`: NVIDIA's own words in our form."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.cli.lint import lint
from ovdeploy.runtime.graph.model import save_model
from ovdeploy.runtime.graph.trial import try_graph
from support.bundles import with_graph
from support.graphs import contract_of, graph

RTX = LIBRARIES["tensorrt-rtx"]
RESHAPED = "(float[8] x, int32[2] s) => (float[A, B] y)"


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("tensorrt_rtx_bindings")


def tried(model, path, **how):
    save_model(model, path)
    contract = contract_of(model)
    return try_graph(RTX, path, contract, "fp32", build=True, **how)


def test_what_is_fine_is_parsed_and_built(tmp_path):
    events = []
    model = graph("(float[4, 8] x) => (float[4, 8] y)", "y = Neg(x)")
    assert tried(model, tmp_path / "m.onnx", tell=lambda event, **_: events.append(event)) == []
    assert events, "a build tells how far it is"


def test_the_parsers_words_come_with_the_node(tmp_path):
    model = graph("(float[1, 2, 2] x) => (float[1] y)", "y = Det(x)")
    (finding,) = tried(model, tmp_path / "m.onnx")
    assert (finding.rule, finding.node) == ("parser", "Det_y") and "(Det)" in finding.what
    assert finding.source == f"TensorRT-RTX {RTX.load().__version__}" and finding.fix


def test_the_builders_words_are_told_where_the_parser_is_content(tmp_path):
    model = graph(RESHAPED, "t = Cast<to=7>(s) y = Reshape(x, t)")
    save_model(model, tmp_path / "m.onnx")
    contract = contract_of(graph("(float[8] x, int32[2] s) => (float[8] y)", "y = Identity(x)"))
    assert try_graph(RTX, tmp_path / "m.onnx", contract, "fp32", build=False) == []
    (finding,) = try_graph(RTX, tmp_path / "m.onnx", contract, "fp32", build=True)
    assert finding.rule == "builder" and "s gives a shape as values" in finding.what


@pytest.fixture
def broken(micro_bundle, tmp_path):
    """The bundle with a head that the parser refuses, and its first stage as it was."""
    model = graph("(float[N, 2, 2] embeddings) => (float[N] logits)", "logits = Det(embeddings)")
    return with_graph(micro_bundle, tmp_path / "b", "head", model, keep=("dino", "head"))


def test_the_command_tells_of_both_kinds_of_findings(broken):
    result = CliRunner().invoke(lint, [str(broken), "--parse", "--json"])
    found = json.loads(result.stdout)["findings"]
    assert result.exit_code == 1 and {(each["rule"], each["node"]) for each in found} >= {
        ("operator", "Det_logits"),
        ("parser", "Det_logits"),
    }
    result = CliRunner().invoke(lint, [str(broken), "--build"])
    assert "head fp32: parser at Det_logits: " in result.stdout and "(TensorRT-RTX 1." in result.stdout
    assert result.stdout.splitlines()[-1].startswith("parsed and built by TensorRT-RTX 1.")


def test_without_the_library_the_command_says_what_installs_it(micro_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    result = CliRunner().invoke(lint, [str(micro_bundle), "--parse"])
    assert result.exit_code == 1 and "pip install 'ovdeploy[tensorrt-rtx]'" in result.stderr
