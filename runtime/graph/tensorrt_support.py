"""Operators, element types and opsets that TensorRT's ONNX parser takes. Data, with their source.

The table is that of onnx-tensorrt's docs/operators.md for TensorRT 10.15, the newest that could be read; 11 is taken to
accept what 10.15 does. Operators that came later than 10.0 have the version that brought them (its docs/Changelog.md).
Where NVIDIA's own parser and builder say otherwise, they are right: those of TensorRT-RTX 1.7, which are of the main
line, were asked about every operator on every type (`tests/runtime/graph/test_lint_truth.py`).
"""

from __future__ import annotations

from .model import words

SOURCE = "onnx-tensorrt docs/operators.md for TensorRT 10.15, docs/Changelog.md; the parser of TensorRT-RTX 1.7.1"

Version = tuple[int, int]

FLOATS = "float16 bfloat16 float32"

_TYPES = {
    FLOATS: "Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos "
    "Cosh CumSum Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool "
    "GroupNormalization GRU HardSigmoid HardSwish Hardmax InstanceNormalization IsInf LRN LSTM LayerNormalization "
    "LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu QuantizeLinear "
    "RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize "
    "RotaryEmbedding Round Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu "
    "Swish Upsample",
    f"{FLOATS} int8 float8e4m3fn": "Attention",
    "float16 float32": "BlackmanWindow DeformConv GridSample HammingWindow HannWindow Mish NonMaxSuppression NonZero "
    "RoiAlign",
    "float32": "STFT",
    f"{FLOATS} int32 int64": "Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less "
    "LessOrEqual Max Mean Min Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu ScatterElements ScatterND Shrink Sign SpaceToDepth "
    "Sub Sum TopK",
    f"{FLOATS} int8 int32 int64": "Gelu",
    f"{FLOATS} int32": "TensorScatter",
    f"{FLOATS} int32 int64 bool": "Concat Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop "
    "OneHot Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where",
    f"{FLOATS} int32 int64 uint8 bool": "Cast CastLike",
    f"{FLOATS} float8e4m3fn float4e2m1 int4 int8 int32 int64 bool": "Constant ConstantOfShape",
    "int8 float8e4m3fn float4e2m1 int4": "DequantizeLinear",
    "bool": "And Not Or Xor",
}

TYPES: dict[str, frozenset[str]] = {
    operator: words(types) for types, operators in _TYPES.items() for operator in words(operators)
}
"""Element types of an operator's first input, by ONNX's names in lower case, as documented; others are refused."""

GRID_RENAMED = 20
"""The opset from which on GridSample says `linear` and `cubic` for `bilinear` and `bicubic`."""

PROBED: Version = (11, 4)
"""The version that TensorRT-RTX 1.7's parser is of: from it on what it takes counts, and what it refuses in any."""

_TAKEN = {
    "int8": "Abs Add ArgMax ArgMin Cast Clip Concat DepthToSpace Div Equal Expand EyeLike Flatten Gather "
    "GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Max MaxPool Min Mul Neg Pad ReduceMax "
    "ReduceMin Relu Reshape Resize ReverseSequence ScatterND Shape Shrink Sign Size Slice SpaceToDepth Split Squeeze "
    "Sub Tile TopK Transpose Trilu Unsqueeze Where",
    "int32 int64": "Clip CumSum",
    "bool": "Equal Pad",
    "uint8": "Equal Identity Shape Size",
}
_REFUSED = {
    "int32": "ReduceL2 ReduceLogSum ReduceLogSumExp Relu",
    FLOATS: "MeanVarianceNormalization Mod",
}
TAKEN, REFUSED = (
    {name: frozenset().union(*(words(kinds) for kinds, names in table.items() if name in words(names)))
     for names in table.values() for name in words(names)}
    for table in (_TAKEN, _REFUSED)
)  # fmt: skip
"""Types that the parser takes beyond the documentation, and those that it refuses in spite of it, by operator."""

SINCE: dict[str, Version] = {
    "Attention": (10, 14), "DeformConv": (10, 1), "RMSNormalization": (10, 15), "RotaryEmbedding": (10, 15),
    "STFT": (10, 5), "TensorScatter": (10, 15), "BlackmanWindow": (10, 4), "HammingWindow": (10, 4),
    "HannWindow": (10, 4), "Swish": (11, 4),
}  # fmt: skip
"""The version that brought an operator, where it is not older than 10.0."""

MAX_OPSET: dict[Version, int] = {(10, 0): 20, (10, 15): 24, (11, 0): 25}
"""The largest opset by the version from which on it is documented. (The parser itself takes any, as far as it knows the
operators.)"""

CONSTANT_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        words(
            "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
            "ReduceSumSquare"
        ),
        (1,),
    ),
    "CumSum": (1,),
    "OneHot": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}
"""Inputs that must be constants: axes, and the depth of OneHot."""

DATA_DEPENDENT = words("Compress NonMaxSuppression NonZero Unique")
"""Operators whose result's size depends on values."""

RESIZE_FRAMES = words("align_corners asymmetric half_pixel pytorch_half_pixel tf_half_pixel_for_nn")
"""Coordinate transformations of Resize."""

SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,), "Expand": (1,), "Pad": (1,), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (2, 3),
    "Slice": (1, 2, 4), "Split": (1,), "Tile": (1,), "TopK": (1,),
}  # fmt: skip
"""Inputs that decide the size of the result."""


def types_of(operator: str, version: Version) -> frozenset[str]:
    """Element types that an operator's first input may have; none if the parser has no such operator."""
    documented = TYPES.get(operator, frozenset())
    taken = TAKEN.get(operator, frozenset()) if version >= PROBED else frozenset()
    return (documented | taken) - REFUSED.get(operator, frozenset())


def resize_modes(version: Version) -> tuple[str, ...]:
    """Modes of Resize: cubic is in the parser that was asked, and not in the documentation."""
    return ("nearest", "linear", "cubic") if version >= PROBED else ("nearest", "linear")


def max_opset(version: Version) -> int:
    """The largest opset that a version's parser reads."""
    return max((opset for since, opset in MAX_OPSET.items() if since <= version), default=MAX_OPSET[10, 0])
