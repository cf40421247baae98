"""Lint against the truth: what NVIDIA's own parser and builder (TensorRT-RTX, without a GPU) say of the same graphs."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.backends.tensorrt.parsing import parse_graph
from ovdeploy.runtime.graph.lint import RULES, lint_model
from ovdeploy.runtime.graph.tensorrt_support import TYPES
from support.operators import corpus
from support.planted import PLANTED

pytest.importorskip("tensorrt_rtx_bindings")

RTX = LIBRARIES["tensorrt-rtx"]

REFUSED, NOT_BUILT = "refused", "parsed, not built"
ABOUT_VERSIONS = (
    "built: the parser asks for no opset; which TensorRT knows which is documentation (10.0: 20, 10.15: 24)"
)
IN_FP32 = "built, but wrong: the parser makes DOUBLE FP32 without a word"
SLOW_INT64 = "built, but slower: TensorRT computes INT64 as it stands since 10.0, in no fast kernel"
WRONG_IN_FP16 = "built, but wrong in FP16: squares overflow outside a LayerNormalization (NVIDIA/TensorRT issue 2781)"
NOT_FUSED = "built, but slower: attention fuses only if it is scaled before the first product"
NEAREST = (
    "built: this parser reads `linear` as it is meant, others up to 11.1 as nearest (NVIDIA/TensorRT issue 4646), and "
    "in deformable attention it is wrong on GPUs (issue 4813): shown there, not on a CPU"
)

TRUTH = {
    ("opset", ""): ABOUT_VERSIONS,
    ("operator", "MatMulInteger_y"): REFUSED,
    ("operator", "Det_y"): REFUSED,
    ("operator", "BiasGelu_y"): REFUSED,
    ("dtype", "Add_y"): IN_FP32,
    ("dtype", "Relu_y"): REFUSED,
    ("resize", "Resize_y"): REFUSED,
    ("grid_sample", "GridSample_y"): NEAREST,
    ("constant_axes", "ReduceSum_y"): REFUSED,
    ("data_dependent_shape", "NonZero_i"): REFUSED,
    ("data_dependent_shape", "Reshape_y"): NOT_BUILT,
    ("int64_data", "Mul_y"): SLOW_INT64,
    ("int64_data", ""): SLOW_INT64,
    ("decomposed_norm", "Div_y"): WRONG_IN_FP16,
    ("late_scale", "Div_d"): NOT_FUSED,
    ("mixed_types", "Add_y"): REFUSED,
    ("mixed_types", "MatMul_y"): REFUSED,
}
"""What comes of every planted graph."""


def verdict(model: onnx.ModelProto, folder: Path) -> str:
    """`refused`, `parsed, not built` or `built`."""
    onnx.save(model, folder / "model.onnx")
    parsed = parse_graph(RTX, folder / "model.onnx")
    if parsed.errors is not None:
        return REFUSED
    config = parsed.builder.create_builder_config()
    profile = parsed.builder.create_optimization_profile()
    inputs = [parsed.network.get_input(index) for index in range(parsed.network.num_inputs)]
    for tensor in inputs:
        if tensor.is_shape_tensor:
            values = [1] * max(1, tensor.shape[0])
            profile.set_shape_input(tensor.name, values, values, values)
        elif -1 in tuple(tensor.shape):
            smallest, largest = ([size if size > 0 else most for size in tensor.shape] for most in (1, 8))
            profile.set_shape(tensor.name, smallest, largest, largest)
    config.add_optimization_profile(profile)
    return "built" if parsed.builder.build_serialized_network(parsed.network, config) is not None else NOT_BUILT


@pytest.mark.parametrize(("rule", "node", "make"), PLANTED, ids=[f"{rule}-{node}" for rule, node, _ in PLANTED])
def test_what_nvidia_says_of_every_rules_graph(rule, node, make, tmp_path):
    assert TRUTH[rule, node].partition(":")[0].partition(",")[0] == verdict(make(), tmp_path).partition(",")[0]


def test_the_table_speaks_of_every_rule():
    assert {rule for rule, _ in TRUTH} == {rule.name for rule in RULES} and len(TRUTH) <= len(PLANTED)


NOT_REFUSED = {"double": IN_FP32, "int8": "parsed, and not built: Einsum"}
"""Types that lint tells of though the parser takes them, with the reason."""


def test_what_the_parser_refuses_lint_finds_and_what_lint_refuses_it_does_not_take(tmp_path):
    """Every operator that the tables name and some that they do not, on every type that ONNX allows: 600 graphs."""
    missed, wronged, seen = [], [], 0
    for operator, kind, model in corpus():
        onnx.save(model, tmp_path / "model.onnx")
        refused = parse_graph(RTX, tmp_path / "model.onnx").errors is not None
        found = {finding.rule for finding in lint_model(model, (11, 4))}
        seen += 1
        if refused and not found:
            missed.append(f"{operator} of {kind}")
        if not refused and found & {"dtype", "operator"} and kind not in NOT_REFUSED:
            wronged.append(f"{operator} of {kind}")
        if kind == "int8" and not refused and found & {"dtype"}:
            assert operator == "Einsum" and verdict(model, tmp_path) == NOT_BUILT
    assert seen > 500 and not missed and not wronged


def test_the_table_of_operators_is_the_parsers():
    trt = RTX.load()
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(1)
    parser = trt.OnnxParser(network, logger)
    plain = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    has = {name for name in plain if parser.supports_operator(name)}
    assert set(TYPES) - has == {"DeformConv"}, "a plugin of TensorRT's, which TensorRT-RTX has not"
    assert has - set(TYPES) == {"CausalConvWithState", "LinearAttention", "Scatter"}, "too new, and too old"
