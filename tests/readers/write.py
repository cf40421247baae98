"""Writes the answers that other tools' readers are tried on, laid out as each documents: `python write.py FOLDER`.

Two photos of smooth shapes with holes, necks and specks, of three classes and a background; the masks are the truth.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from ovdeploy.runtime.answers import join_coco, save_as, yolo_data
from support.answers import result_of

NAMES = ("background", "cup", "table top", "naïve café")
SIZES = {"one.png": (120, 161), "two.png": (90, 64)}


def drawn(hw: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.random((hw[0] // 12 + 2, hw[1] // 12 + 2)).astype(np.float32)
    field = cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC)
    mask = np.clip(field * 4, 0, 3).astype(np.uint16)
    mask[rng.random(hw) < 0.003] = 1
    return mask


def write_json(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(document))


def main(folder: Path) -> None:
    photos = folder / "photos"
    photos.mkdir(parents=True)
    results = {}
    for seed, (name, hw) in enumerate(SIZES.items()):
        result = result_of(drawn(hw, seed), 4, names=NAMES, background=True, path=str(photos / name), bundle="ab12")
        Image.fromarray(result.photo).save(photos / name)
        save_as(result, ["mask", "coco", "coco-polygons", "panoptic", "labelme", "yolo"], folder / "each" / name[:-4])
        results[name] = result
    np.savez(folder / "truth.npz", **{name: result.mask for name, result in results.items()})
    joined = join_coco(result.to_coco() for result in results.values())
    polygons = join_coco(result.to_coco(polygons=True, tolerance=1) for result in results.values())
    write_json(folder / "coco" / "annotations" / "instances_default.json", joined)
    shutil.copytree(photos, folder / "coco" / "images" / "default")
    write_json(folder / "coco-polygons.json", polygons)
    write_json(folder / "fiftyone" / "labels.json", joined)
    shutil.copytree(photos, folder / "fiftyone" / "data")
    shutil.copytree(photos, folder / "yolo" / "images")
    (folder / "yolo" / "labels").mkdir()
    for name in SIZES:
        shutil.copy(folder / "each" / f"{name[:-4]}.txt", folder / "yolo" / "labels")
    (folder / "yolo" / "data.yaml").write_text(yolo_data(NAMES, background=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
