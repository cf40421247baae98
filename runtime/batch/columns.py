"""The columns that a photo's row can have beside those that every row has: what is asked for is computed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..answers.result import Result
from ..answers.rle import compressed
from ..answers.shares import class_shares
from ..errors import ParameterError, one_of
from ..pictures.overlay import small_indices

BYTE = 256
"""Classes that fit into a grey picture of 8 bits."""


class Column(NamedTuple):
    """One column."""

    value: Callable[[Result], Any]
    """Of a result, in plain values."""
    kind: Callable[[Any], Any]
    """Its type, given the module pyarrow."""
    holds: str
    """What is in it, for people."""


def _mask(result: Result) -> bytes:
    indices = small_indices(result.mask, len(result.names))
    image = Image.fromarray(indices.astype(np.uint8) if len(result.names) <= BYTE else indices)
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _classes(result: Result) -> list[dict[str, Any]]:
    return [each for each in class_shares(result.mask, result.scores, result.names) if each["pixels"]]


def _instances(result: Result) -> list[dict[str, Any]]:
    found = result.instances()
    texts = compressed([each.mask for each in found])
    return [
        {
            "class_index": each.class_index,
            "class_name": each.class_name,
            **dict(zip(("x0", "y0", "x1", "y1"), each.box_xyxy, strict=True)),
            "area": each.area,
            "score": each.score,
            "counts": text,
        }
        for each, text in zip(found, texts, strict=True)
    ]


def _kind_of_classes(pa: Any) -> Any:
    fields = {"index": pa.int32(), "name": pa.string(), "pixels": pa.int64(), "share": pa.float64(),
              "mean_score": pa.float64()}  # fmt: skip
    return pa.list_(pa.struct(list(fields.items())))


def _kind_of_instances(pa: Any) -> Any:
    box = [(name, pa.int32()) for name in ("x0", "y0", "x1", "y1")]
    head = [("class_index", pa.int32()), ("class_name", pa.string())]
    return pa.list_(pa.struct([*head, *box, ("area", pa.int64()), ("score", pa.float64()), ("counts", pa.string())]))


COLUMNS: dict[str, Column] = {
    "mask": Column(
        _mask, lambda pa: pa.binary(), "the label map as a grey PNG: 8 bits a pixel, 16 from 257 classes on"
    ),
    "classes": Column(_classes, _kind_of_classes, "the classes that occur: pixels, share and mean score"),
    "instances": Column(_instances, _kind_of_instances, "single things: class, box, area, score, COCO's run lengths"),
}
"""By the name that users ask for."""

USUAL = ("mask", "classes")
"""Those that a table has unless others are asked for."""


def check_columns(names: Sequence[str]) -> tuple[str, ...]:
    """The names of columns, each once.

    Raises:
        ParameterError: there is no such column.
    """
    for name in names:
        if name not in COLUMNS:
            raise ParameterError(one_of("column", name, COLUMNS))
    return tuple(dict.fromkeys(names))
