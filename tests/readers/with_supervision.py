"""supervision reads COCO and YOLO, and takes our detections; pyarrow takes our table.

`python with_supervision.py FOLDER`. Every mask comes back pixel by pixel.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import supervision
from pyarrow import parquet

from ovdeploy.runtime import Rle
from ovdeploy.runtime.answers import save_as
from support.answers import result_of

CLASSES = ["cup", "table top", "naïve café"]
folder = Path(sys.argv[1])
truth = np.load(folder / "truth.npz")


def check(name, found, masks):
    """The masks of detections, laid over each other, are the truth."""
    read = np.zeros(truth[name].shape, int)
    for mask, number in zip(masks, found, strict=True):
        read[mask] = number
    np.testing.assert_array_equal(read, truth[name])


coco = supervision.DetectionDataset.from_coco(
    str(folder / "coco/images/default"), str(folder / "coco/annotations/instances_default.json"), force_masks=True
)
yolo = supervision.DetectionDataset.from_yolo(
    str(folder / "yolo/images"), str(folder / "yolo/labels"), str(folder / "yolo/data.yaml"), force_masks=True
)
for form, dataset in {"coco": coco, "yolo": yolo}.items():
    assert dataset.classes == CLASSES, dataset.classes
    assert len(dataset) == 2
    for path, _, found in dataset:
        check(Path(path).name, found.class_id + 1, np.asarray(found.mask))
        print(f"supervision {supervision.__version__}: {form}, {Path(path).name}: {len(found)} masks again")

for name in truth:
    result = result_of(truth[name], 4, names=("background", *CLASSES), background=True, path=name, bundle="ab12")
    found = result.to_detections()
    check(name, found.class_id, found.mask)
    np.testing.assert_array_equal(found.xyxy, supervision.mask_to_xyxy(found.mask))
    assert list(found.data["class_name"]) == [result.names[index] for index in found.class_id]
    boxes = supervision.BoxAnnotator().annotate(result.photo.copy(), found[found.confidence > 0.4])
    assert boxes.shape == result.photo.shape and not len(result.to_detections(min_area=10**6))

    (path,) = save_as(result, ["table"], folder / name)
    table = parquet.read_table(path)
    assert table.equals(result.to_table()) and table.schema.metadata[b"schema"] == b"ovdeploy/table/1"
    rows = table.to_pylist()
    masks = [Rle.from_coco({"size": [row["height"], row["width"]], "counts": row["counts"]}).decode() for row in rows]
    check(name, [row["class_index"] for row in rows], masks)
    assert all(row["x1"] - row["x0"] + 1 <= row["width"] and row["path"] == name for row in rows)
    assert pa.concat_tables([table, table]).num_rows == 2 * len(rows)
    print(f"detections and a table of {name} (pyarrow {pa.__version__}): {len(rows)} masks again")
