"""Small graphs, written as text."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ovdeploy.runtime.graph.model import prepared
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec

KINDS = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64", onnx.TensorProto.INT32: "int32"}


def graph(signature: str, body: str, opset: int = 20, **weights: np.ndarray) -> onnx.ModelProto:
    """A model from ONNX's text format; weights are given as arrays."""
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]> g {signature} {{ {body} }}'
    )
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    if "com.microsoft" not in body:
        del model.opset_import[1:]
    return prepared(model)


def contract_of(model: onnx.ModelProto) -> StageContract:
    """The contract that fits a model."""

    def spec(value: onnx.ValueInfoProto) -> TensorSpec:
        kind = value.type.tensor_type
        shape = tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim)
        return TensorSpec(name=value.name, dtype=KINDS[kind.elem_type], shape=shape, layout="", range="")

    return StageContract(
        stage="head", inputs=tuple(map(spec, model.graph.input)), outputs=tuple(map(spec, model.graph.output))
    )
