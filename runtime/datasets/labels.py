"""Label maps: pixels' values from an image file, and the classes that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..boundary.reading import is_there, opened
from ..errors import DatasetError
from ..geometry.sizes import HW
from .sample import IGNORED
from .spec import LabelFiles, parse_values

INDEX_MODES = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes whose pixels are single numbers. (A palette is for looking at; the indices count.)"""

UNKNOWN = IGNORED - 1
"""Marks, in a table, values that a label map must not hold."""

VALUES = 1 << 16


def label_table(files: LabelFiles, classes: tuple[str, ...]) -> np.ndarray:
    """The meaning of every value.

    mmsegmentation's `reduce_zero_label` is the case `values = "1-…"` with 0 ignored.

    Args:
        files: the form of the label maps.
        classes: the dataset's classes.

    Returns:
        [65536] uint16: the class index, `IGNORED`, or `UNKNOWN`.
    """
    others = None if files.others is None else classes.index(files.others)
    table = np.full(VALUES, UNKNOWN if others is None else others, np.uint16)
    table[parse_values(files.ignored)] = IGNORED
    table[parse_values(files.values)] = [index for index in range(len(classes)) if index != others]
    return table


def read_values(path: Path, max_pixels: int) -> np.ndarray:
    """The values of a label map's pixels, as they are in the file.

    Returns:
        [H, W] uint16.

    Raises:
        DatasetError: missing, damaged, too large, or an image whose pixels are no single numbers.
    """
    if not is_there(path):
        raise DatasetError(f"{path}: there is no such label map")
    try:
        with opened(path, DatasetError, "the label map") as file, Image.open(file) as image:
            if image.mode not in INDEX_MODES:
                raise DatasetError(
                    f"{path}: a label map has one number a pixel, and this image is {image.mode}; "
                    f"convert the colours to class indices"
                )
            if image.width * image.height > max_pixels:
                raise DatasetError(f"{path}: {image.width}×{image.height} pixels pass the limit of {max_pixels}")
            values = np.asarray(image)
    except DatasetError:
        raise
    except UnidentifiedImageError as error:
        raise DatasetError(f"{path}: not an image") from error
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise DatasetError(f"{path}: the label map is damaged or truncated ({error})") from error
    if values.size and not 0 <= int(values.min()) <= int(values.max()) < VALUES:
        raise DatasetError(f"{path}: values from {values.min()} to {values.max()} are no labels")
    return values.astype(np.uint16)


def read_labels(path: Path, table: np.ndarray, photo_hw: HW, max_pixels: int = 100_000_000) -> np.ndarray:
    """A label map in the dataset's class indices.

    Args:
        path: of the image file.
        table: from `label_table`.
        photo_hw: the size that it must have.
        max_pixels: larger ones are refused.

    Returns:
        [H, W] uint16 class index, or `IGNORED`.

    Raises:
        DatasetError: the file cannot be used, is of another size than the photo, or holds a value without a meaning.
    """
    values = read_values(path, max_pixels)
    if values.shape != tuple(photo_hw):
        raise DatasetError(
            f"{path}: the label map is {values.shape[1]}×{values.shape[0]} and the photo {photo_hw[1]}×{photo_hw[0]}"
        )
    labels: np.ndarray = table[values]
    if (labels == UNKNOWN).any():
        unknown = np.unique(values[labels == UNKNOWN])[:5].tolist()
        raise DatasetError(
            f"{path}: the values {', '.join(map(str, unknown))} are no labels of this dataset; was it converted?"
        )
    return labels
