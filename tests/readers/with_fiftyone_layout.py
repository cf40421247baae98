"""FiftyOne's documented layout, read by its reader's steps. `python with_fiftyone_layout.py FOLDER`.

FiftyOne itself needs a database server. Its COCODetectionDataset is `data/` and `labels.json`; of each annotation it
decodes the run lengths by pycocotools and cuts the mask to the box (fiftyone.utils.coco, 1.22.1).
"""

import json
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

folder = Path(sys.argv[1])
truth = np.load(folder / "truth.npz")
told = json.loads((folder / "fiftyone" / "labels.json").read_text())
classes = {entry["id"]: entry["name"] for entry in told["categories"]}
for image in told["images"]:
    assert (folder / "fiftyone" / "data" / image["file_name"]).is_file()
    read = np.zeros((image["height"], image["width"]), int)
    for entry in told["annotations"]:
        if entry["image_id"] == image["id"]:
            x, y, width, height = entry["bbox"]
            mask = coco.decode(entry["segmentation"]).astype(bool)[y : y + height, x : x + width]
            assert mask.sum() == entry["area"] and not entry["iscrowd"]
            number = ["", "cup", "table top", "naïve café"].index(classes[entry["category_id"]])
            read[y : y + height, x : x + width][mask] = number
    np.testing.assert_array_equal(read, truth[image["file_name"]])
print(f"FiftyOne's layout: {len(told['annotations'])} instances, the masks again")
