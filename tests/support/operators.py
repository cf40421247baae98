"""The smallest graph of every operator that the parser's tables name, for every element type that ONNX allows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from support.graphs import graph

TYPES = ("float", "float16", "bfloat16", "double", "int8", "uint8", "int32", "int64", "bool")
CONSTANTS = {
    "axes": np.array([1]), "one": np.array([1]), "two": np.array(2), "shape": np.array([2, 4, 4]),
    "starts": np.array([0]), "ends": np.array([1]), "pads": np.array([0, 0, 0, 1, 1, 1]), "axis": np.array(1),
    "repeats": np.array([1, 2, 1]), "sizes": np.array([1, 2, 8, 8]), "parts": np.array([2, 2]),
    "rows": np.array([[[0, 1]]]), "index": np.array([0, 1]), "lengths": np.array([4, 4]), "scale": np.float32(0.1),
    "zero": np.int8(0),
}  # fmt: skip

SQUARE = "[2, 4, 4]"
IMAGE = "[1, 2, 4, 4]"

UNARY = [
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Transpose",
    "Trilu",
    "EyeLike",
    "MeanVarianceNormalization",
    "Dropout",
    "NonZero",
]
BINARY = [
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "MatMul",
    "Max",
    "Mean",
    "Min",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Xor",
    "Concat",
]
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]

BODIES: dict[str, tuple[str, str]] = {
    **{name: (SQUARE, f"y = {name}(x)") for name in UNARY},
    **{name: (SQUARE, f"y = {name}(x, x)") for name in BINARY},
    **{f"Reduce{name}": (SQUARE, f"y = Reduce{name}(x, axes)") for name in REDUCTIONS},
    "EyeLike": ("[4, 4]", "y = EyeLike(x)"), "Concat": (SQUARE, "y = Concat<axis = 1>(x, x)"),
    "ArgMax": (SQUARE, "y = ArgMax<axis = 1>(x)"), "ArgMin": (SQUARE, "y = ArgMin<axis = 1>(x)"),
    "Cast": (SQUARE, "y = Cast<to = 1>(x)"), "CumSum": (SQUARE, "y = CumSum(x, axis)"),
    "DepthToSpace": ("[1, 4, 2, 2]", "y = DepthToSpace<blocksize = 2>(x)"),
    "SpaceToDepth": (IMAGE, "y = SpaceToDepth<blocksize = 2>(x)"),
    "Einsum": (SQUARE, 'y = Einsum<equation = "bij,bjk->bik">(x, x)'), "Expand": (SQUARE, "y = Expand(x, shape)"),
    "Gather": (SQUARE, "y = Gather(x, index)"), "GatherElements": (SQUARE, "y = GatherElements<axis = 2>(x, rows)"),
    "GatherND": (SQUARE, "y = GatherND(x, index)"), "Gemm": ("[4, 4]", "y = Gemm(x, x)"),
    "LayerNormalization": ("[4]", "y = LayerNormalization(x, x)"), "Mod": (SQUARE, "y = Mod(x, x)"),
    "Pad": (SQUARE, "y = Pad(x, pads)"), "Reshape": (SQUARE, "y = Reshape(x, shape)"),
    "Resize": (IMAGE, "y = Resize(x, , , sizes)"), "Slice": (SQUARE, "y = Slice(x, starts, ends, axes)"),
    "Split": (SQUARE, "y, z = Split<axis = 1>(x, parts)"), "Squeeze": ("[2, 1, 4]", "y = Squeeze(x, axes)"),
    "Unsqueeze": (SQUARE, "y = Unsqueeze(x, axes)"), "Tile": (SQUARE, "y = Tile(x, repeats)"),
    "TopK": (SQUARE, "y, z = TopK<axis = 1>(x, one)"), "Where": (SQUARE, "c = Equal(x, x) y = Where(c, x, x)"),
    "Conv": (IMAGE, "y = Conv(x, x)"), "AveragePool": (IMAGE, "y = AveragePool<kernel_shape = [2, 2]>(x)"),
    "MaxPool": (IMAGE, "y = MaxPool<kernel_shape = [2, 2]>(x)"),
    "GlobalAveragePool": (IMAGE, "y = GlobalAveragePool(x)"),
    "GlobalMaxPool": (IMAGE, "y = GlobalMaxPool(x)"), "ScatterND": (SQUARE, "u = Squeeze(x) y = Identity(u)"),
    "ReverseSequence": (SQUARE, "y = ReverseSequence<batch_axis = 0, time_axis = 1>(x, lengths)"),
    "QuantizeLinear": (SQUARE, "y = QuantizeLinear(x, scale, zero)"), "Det": (SQUARE, "y = Det(x)"),
    "BitwiseAnd": (SQUARE, "y = BitwiseAnd(x, x)"), "Unique": (SQUARE, "y = Unique(x)"),
    "RMSNormalization": ("[4]", "y = RMSNormalization(x, x)"), "Swish": (SQUARE, "y = Swish(x)"),
}  # fmt: skip
"""The shape of x, and a body, by operator."""

OPSETS = {"RMSNormalization": 23, "Swish": 24}


def smallest(operator: str, kind: str) -> onnx.ModelProto | None:
    """The graph of an operator on a type; None where ONNX does not allow it."""
    shape, body = BODIES[operator]
    opset = OPSETS.get(operator, 20)
    if not allowed(operator, kind, opset):
        return None
    read = {word.strip("(),") for word in body.replace("(", " ").split()}
    weights = {name: array for name, array in CONSTANTS.items() if name in read}
    model = graph(f"({kind}{shape} x) => ({kind} y)", body, opset, **weights)
    del model.graph.output[:]  # with a type of its own, inference would be held to it
    inferred = onnx.shape_inference.infer_shapes(model)
    (result,) = [value for value in inferred.graph.value_info if value.name == "y"]
    model.graph.output.append(result)
    return model


def allowed(operator: str, kind: str, opset: int) -> bool:
    """Whether ONNX lets an operator's first input (of Where, the second) be of a type."""
    schema = onnx.defs.get_schema(operator, opset)
    formal = schema.inputs[1 if operator == "Where" else 0]
    constraints = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
    return f"tensor({kind})" in constraints.get(formal.type_str, [formal.type_str])


def corpus() -> Iterator[tuple[str, str, onnx.ModelProto]]:
    """Every operator on every type that ONNX allows."""
    for operator in BODIES:
        for kind in TYPES:
            model = smallest(operator, kind)
            if model is not None:
                yield operator, kind, model
