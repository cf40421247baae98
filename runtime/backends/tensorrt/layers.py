"""Layers of a plan as TensorRT tells of them, in the words of versions 10 and 11.

Both give {"Layers": [...]} with, beside it, "Bindings" (10) or "I/O Tensors" (11). A layer is its name alone unless the
plan was built with detailed verbosity; a tensor's type stands in "Format/Datatype" (10) or "DataType" (11).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NamedTuple

UNKNOWN = "unknown"

PRECISIONS = (
    ("bf16", r"bf16|bfloat16"),
    ("fp8", r"fp8"),
    ("fp4", r"fp4"),
    ("uint8", r"uint8"),
    ("int8", r"int8"),
    ("int4", r"int4"),
    ("int64", r"int64"),
    ("int32", r"int32"),
    ("bool", r"bool"),
    ("fp16", r"fp16|half|float16"),
    ("fp32", r"fp32|float"),
)
"""Our name of a precision, and what stands for it in a tensor's type or format; the first that is found counts."""


class Layer(NamedTuple):
    """One layer of a plan."""

    name: str
    kind: str
    precision: str
    """Of its first output."""


def parse_layers(text: str) -> list[Layer]:
    """The layers that the engine inspector or `trtexec --exportLayerInfo` told.

    Raises:
        ValueError: not such a text.
    """
    told = parse_json(text)
    if not isinstance(told, dict) or not isinstance(told.get("Layers"), list):
        raise ValueError("no list of layers in it")
    return [_layer(entry) for entry in told["Layers"]]


def layers_by_precision(text: str) -> dict[str, int]:
    """How many layers give what precision.

    Raises:
        ValueError: not what the engine inspector tells.
    """
    return dict(Counter(layer.precision for layer in parse_layers(text)).most_common())


def parse_json(text: str) -> Any:
    """JSON as TensorRT's tools write it: control characters and lone backslashes in names, nan for a number.

    Where it is no JSON, its writer does not escape backslashes, so that `\\n` is two letters of a name.

    Raises:
        ValueError: not even that.
    """
    try:
        return json.loads(text, strict=False)
    except json.JSONDecodeError:
        pass
    numbers = re.sub(r"(:\s*)-?(nan|inf)(?=\s*[,}\]])", r"\1NaN", text, flags=re.IGNORECASE)
    return json.loads(re.sub(r'\\(?!["\\])', r"\\\\", numbers), strict=False)


def _layer(entry: Any) -> Layer:
    if not isinstance(entry, dict):
        return Layer(str(entry), UNKNOWN, UNKNOWN)
    outputs = entry.get("Outputs") or []
    precision = _precision(outputs[0]) if outputs else UNKNOWN
    return Layer(str(entry.get("Name", "")), str(entry.get("LayerType", UNKNOWN)), precision)


def _precision(tensor: Any) -> str:
    if not isinstance(tensor, dict):
        return UNKNOWN
    keys = {key.lower(): str(value) for key, value in tensor.items()}
    named = (precision_named(keys.get(key, "")) for key in ("datatype", "format/datatype", "format"))
    return next((name for name in named if name != UNKNOWN), UNKNOWN)


def precision_named(text: str) -> str:
    """Our name of the precision that a TensorRT type or format speaks of."""
    found = (name for name, pattern in PRECISIONS if re.search(pattern, text, re.IGNORECASE))
    return next(found, UNKNOWN)
