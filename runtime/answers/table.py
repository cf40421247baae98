"""Instances as a table of Arrow, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import needing
from .instance import Instance, Subject
from .rle import compressed

SCHEMA = "ovdeploy/table/1"


def table(subject: Subject, instances: Sequence[Instance]) -> Any:
    """A `pyarrow.Table` of instances; tables of many photos can be concatenated.

    Args:
        subject: what the instances are of.
        instances: they may overlap.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    with needing("pyarrow", "table", "Result.to_table"):
        import pyarrow as pa
    height, width = subject.hw
    rows = len(instances)
    boxes = {f"{axis}{end}": pa.int32() for end in (0, 1) for axis in "xy"}
    columns = {
        "path": (pa.string(), [subject.path] * rows),
        "bundle": (pa.string(), [subject.bundle] * rows),
        "height": (pa.int32(), [height] * rows),
        "width": (pa.int32(), [width] * rows),
        "id": (pa.int32(), [each.id for each in instances]),
        "class_index": (pa.int32(), [each.class_index for each in instances]),
        "class_name": (pa.string(), [each.class_name for each in instances]),
        **{name: (kind, [each.box_xyxy[at] for each in instances]) for at, (name, kind) in enumerate(boxes.items())},
        "area": (pa.int64(), [each.area for each in instances]),
        "score": (pa.float64(), [each.score for each in instances]),
        "counts": (pa.string(), compressed([each.mask for each in instances])),
    }
    schema = pa.schema([(name, kind) for name, (kind, _) in columns.items()], metadata={"schema": SCHEMA})
    return pa.table({name: values for name, (_, values) in columns.items()}, schema=schema)


def write_table(found: Any, path: Any) -> None:
    """Write a table as Parquet, to an open path."""
    with needing("pyarrow", "table", "a Parquet file"):
        from pyarrow import parquet
    parquet.write_table(found, path)
