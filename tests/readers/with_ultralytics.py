"""Ultralytics finds photos and labels by our data.yaml, and draws the masks again. `python with_ultralytics.py FOLDER`.

Read by what its training reads with; nothing is trained, and nothing fetched.
"""

import os
import sys
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1]).resolve()
os.environ |= {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true"}
import ultralytics  # noqa: E402 (it reads the environment)
from ultralytics.data.utils import check_det_dataset, polygons2masks_overlap, verify_image_label  # noqa: E402

truth = np.load(folder / "truth.npz")
data = check_det_dataset(str(folder / "yolo" / "data.yaml"), autodownload=False)
assert list(data["names"].values()) == ["cup", "table top", "naïve café"]
for photo in truth:
    image = Path(data["train"]) / photo
    label = folder / "yolo" / "labels" / f"{image.stem}.txt"
    came = verify_image_label((str(image), str(label), "", False, data["nc"], 0, 0, False))
    rows, hw, segments, message, corrupt = came[1], came[2], came[3], came[9], came[8]
    assert not corrupt and hw == truth[photo].shape, message
    pixels = [segment * (hw[1], hw[0]) for segment in segments]
    drawn, order = polygons2masks_overlap(hw, pixels, downsample_ratio=1)
    classes = np.concatenate([[0], rows[order, 0] + 1]).astype(int)
    same = (classes[drawn] == truth[photo]).mean()
    assert same > 0.999, f"{photo}: {same:.4f} of pixels again"
    print(f"ultralytics {ultralytics.__version__}: {photo}: {len(rows)} lines, {same:.2%} of pixels as in the mask")
