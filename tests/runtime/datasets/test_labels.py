"""Label maps: what is read from an image file, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime import DatasetError
from ovdeploy.runtime.datasets import IGNORED, LabelFiles
from ovdeploy.runtime.datasets.labels import UNKNOWN, label_table, read_labels, read_values

TABLE = label_table(LabelFiles(path="{}.png", values="0-2", ignored="255"), ("sky", "cup", "table"))


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_table_says_what_every_value_stands_for():
    table = label_table(LabelFiles(path="{}.png", values="7, 3-4", ignored="0, 255"), ("sky", "cup", "table"))
    expected = {0: IGNORED, 255: IGNORED, 7: 0, 3: 1, 4: 2}
    assert table.tolist() == [expected.get(value, UNKNOWN) for value in range(1 << 16)]


def test_others_become_the_class_that_takes_them():
    table = label_table(LabelFiles(path="{}.png", values="5, 9", others="cup"), ("sky", "cup", "table"))
    assert (table[5], table[9]) == (0, 2)
    assert (np.delete(table, [5, 9]) == 1).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_values_are_read_as_they_are(tmp_path, dtype):
    pixels = np.array([[0, 1], [2, 250]], dtype)
    values = read_values(save(tmp_path / "a.tiff", pixels), 100)
    assert values.tolist() == pixels.tolist() and values.dtype == np.uint16


def test_a_palettes_colours_do_not_matter(tmp_path):
    image = Image.fromarray(np.array([[0, 2], [255, 1]], np.uint8), mode="P")
    image.putpalette(bytes(range(256)) * 3)
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", TABLE, (2, 2)).tolist() == [[0, 2], [IGNORED, 1]]


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.zeros((2, 2, 3), np.uint8), "this image is RGB"),
        (np.zeros((2, 3), np.uint8), "3×2 and the photo 2×2"),
        (np.array([[0, 3], [9, 9]], np.uint8), "the values 3, 9 are no labels"),
        (np.array([[0, -1], [0, 0]], np.int32), "from -1 to 0 are no labels"),
        (np.zeros((40, 40), np.uint8), "1600|40×40 pixels pass the limit of 100"),
    ],
)
def test_what_is_no_label_map_of_the_photo_is_refused(tmp_path, pixels, told):
    with pytest.raises(DatasetError, match=told):
        read_labels(save(tmp_path / "a.tiff", pixels), TABLE, (2, 2), max_pixels=100)


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png: there is no such label map"):
        read_values(tmp_path / "gone.png", 100)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DatasetError, match="not an image"):
        read_values(tmp_path / "text.png", 100)
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)).read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="damaged or truncated"):
        read_values(tmp_path / "torn.png", 10_000)
