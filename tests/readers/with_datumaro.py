"""datumaro, with which CVAT converts, reads COCO and writes CVAT's form. `python with_datumaro.py FOLDER`."""

import logging
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset

logging.disable(logging.WARNING)  # CVAT's form has no room for scores
folder = Path(sys.argv[1])
truth = np.load(folder / "truth.npz")
coco = Dataset.import_from(str(folder / "coco"), "coco_instances")
names = [label.name for label in coco.categories()[AnnotationType.label]]
found = 0
for item in coco:
    mask = truth[f"{item.id}.png"]
    read = np.zeros(mask.shape, int)
    for annotation in item.annotations:
        if annotation.type == AnnotationType.mask:
            read[np.asarray(annotation.image).astype(bool)] = ["", "cup", "table top", "naïve café"].index(
                names[annotation.label]
            )
            found += 1
    np.testing.assert_array_equal(read, mask)
assert found > 10, found
coco.export(str(folder / "cvat"), "cvat")
written = list((folder / "cvat").rglob("*.xml"))
assert written and written[0].read_text().count("<mask") + written[0].read_text().count("<polygon") > 0
print(f"datumaro {version('datumaro')}: {found} instances of COCO, the masks again; exported to CVAT's form")
