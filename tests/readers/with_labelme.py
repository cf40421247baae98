"""LabelMe opens our files by its own reader. `python with_labelme.py FOLDER`.

LabelMe looks for the photo beside the file, and for the file under the photo's name.
"""

import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from labelme._label_file import LabelFile
from labelme.utils import shape_to_mask

folder = Path(sys.argv[1])
truth, place = np.load(folder / "truth.npz"), folder / "labelme"
place.mkdir(exist_ok=True)
names = ["background", "cup", "table top", "naïve café"]
for photo in truth:
    shutil.copy(folder / "photos" / photo, place)
    path = place / f"{Path(photo).stem}.json"
    shutil.copy(folder / "each" / f"{Path(photo).stem}.labelme.json", path)
    read = LabelFile(str(path))
    assert read.image_path == photo and read.image_data
    mask = np.zeros(truth[photo].shape, int)
    for shape in read.shapes:
        assert shape["shape_type"] == "polygon"
        inside = shape_to_mask(mask.shape, shape["points"], "polygon")
        mask[inside] = names.index(shape["label"])
    # LabelMe draws a polygon's border too, one pixel more to the right and below: compared is what is not at a border
    near = np.stack([np.roll(truth[photo], (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    inside = (near == truth[photo]).all(axis=0)
    same = (mask == truth[photo])[inside].mean()
    assert same == 1 and inside.sum() > 500, f"{photo}: {same:.3f} of pixels again"
    print(f"labelme {version('labelme')}: {photo}: {len(read.shapes)} shapes, {inside.sum()} pixels within them again")
