"""Label Studio's SDK reads COCO with polygons. `python with_label_studio.py FOLDER`."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

folder = Path(sys.argv[1])
given = json.loads((folder / "coco-polygons.json").read_text())
convert_coco_to_ls(str(folder / "coco-polygons.json"), str(folder / "label-studio.json"))
tasks = json.loads((folder / "label-studio.json").read_text())
found = [entry for task in tasks for entry in task["annotations"][0]["result"] if entry["type"] == "polygonlabels"]
assert len(tasks) == 2
assert len(found) == sum(len(told["segmentation"]) for told in given["annotations"]) > 10
assert {entry["value"]["polygonlabels"][0] for entry in found} == {"cup", "table top", "naïve café"}
assert all(0 <= value <= 100 for entry in found for point in entry["value"]["points"] for value in point)
print(f"label-studio-sdk {version('label-studio-sdk')}: {len(found)} polygons in {len(tasks)} tasks")
