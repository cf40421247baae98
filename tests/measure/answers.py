"""What each form of a photo's answer costs: CPU seconds on a drawn mask with as many instances as are asked for.

    python tests/measure/answers.py [--megapixels 12] [--instances 200] [--rounds 5]

Prints the median and the least of the rounds, and how large what came is. One thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.answers import result_of


def drawn(megapixels: float, instances: int) -> np.ndarray:
    """[H, W] uint16: wavy cells of a grid, neighbours of other classes; each is one component, with a hole or two."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    width = round(height * 4 / 3)
    rows = max(1, round((instances * 3 / 4) ** 0.5))
    columns = -(-instances // rows)
    y, x = np.indices((height, width), np.float32)
    cell_y = ((y + 40 * np.sin(x / 90)) / height * rows).clip(0, rows - 1).astype(int)
    cell_x = ((x + 40 * np.sin(y / 70)) / width * columns).clip(0, columns - 1).astype(int)
    mask = (cell_y % 3 * 3 + cell_x % 3 + 1).astype(np.uint16)
    cells = cell_y * columns + cell_x
    mask[cells >= instances] = 0
    for index in range(instances):
        row, column = divmod(index, columns)
        middle = (round((column + 0.5) * width / columns), round((row + 0.5) * height / rows))
        cv2.ellipse(mask, middle, (width // columns // 6, height // rows // 5), index * 20.0, 0, 360, 0, -1)
    return mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    mask = drawn(given.megapixels, given.instances)
    result = result_of(mask, 10, background=True)
    found = result.instances(min_area=100)
    print(f"{mask.shape[1]}×{mask.shape[0]}, {len(found)} instances")
    forms: dict[str, Callable[[], object]] = {
        "instances()": result.instances,
        "to_coco()": result.to_coco,
        "to_panoptic()": result.to_panoptic,
        "to_polygons()": result.to_polygons,
        "to_polygons(tolerance=1)": lambda: result.to_polygons(tolerance=1),
        "to_polygons(tolerance=3)": lambda: result.to_polygons(tolerance=3),
        "to_geojson()": result.to_geojson,
        "to_labelme()": result.to_labelme,
        "to_yolo()": result.to_yolo,
        "to_dict()": result.to_dict,
        "overlay()": result.overlay,
    }
    for name, form in forms.items():
        seconds = []
        for _ in range(given.rounds):
            start = time.process_time()
            made = form()
            seconds.append(time.process_time() - start)
        size = f"{len(msgspec.json.encode(made)) / 1e6:8.2f} MB" if isinstance(made, dict | str) else ""
        print(f"{name:26} {statistics.median(seconds) * 1000:7.0f} ms, least {min(seconds) * 1000:6.0f} ms  {size}")


if __name__ == "__main__":
    main()
