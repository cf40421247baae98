"""Photos of more than 8 bits: never black in silence, whatever their container, their colours and the bits they use."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ovdeploy.runtime import OvdeployWarning, PhotoError, load_photo

DEPTHS = (8, 10, 12, 14, 16)


def png(path, values):
    order = {2: lambda v: v, 3: lambda v: v[..., [2, 1, 0, *range(3, v.shape[-1])]]}[values.ndim]
    assert cv2.imwrite(str(path), order(values))


def tiff(path, values, **options):
    tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack", **options)


WRITERS = {
    "png": png,
    "tif": tiff,
    "big-endian.tif": lambda path, values: tiff(path, values, byteorder=">"),
    "zlib.tif": lambda path, values: tiff(path, values, compression="zlib"),
}


def read(path):
    """A photo, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        photo = load_photo(path)
    return photo, [str(warning.message) for warning in caught if warning.category is OvdeployWarning]


@given(
    kind=st.sampled_from(sorted(WRITERS)),
    channels=st.sampled_from([0, 3, 4]),
    bits=st.sampled_from(DEPTHS),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_photo_is_read_at_the_depth_that_it_uses(tmp_path, kind, channels, bits, seed):
    """What is equal in 8 bits is equal when it is stored with more: the values are those of the upper 8 of its bits."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << bits, (5, 7, channels) if channels else (5, 7), np.uint16)
    values[0, 0] = (1 << bits) - 1
    if channels == 4:
        values[..., 3] = (1 << (bits if seed % 2 else 16)) - 1  # opaque, at its own depth or at the file's
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, values)
    photo, told = read(path)
    colours = values[..., :3] if channels else values[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(photo, colours >> (bits - 8))
    assert len(told) == (bits < 16)
    assert all(f"uses {bits}" in message and "save it with 8 bits" in message for message in told)


def test_a_black_photo_is_black_without_a_warning(tmp_path):
    png(tmp_path / "a.png", np.zeros((4, 5), np.uint16))
    photo, told = read(tmp_path / "a.png")
    assert not photo.any() and told == []


def test_a_depth_that_the_file_declares_is_taken_without_a_warning(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes())
    photo, told = read(tmp_path / "a.pgm")
    assert photo[0, :, 0].tolist() == [0, 128, 255] and told == []
    (tmp_path / "dark.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([0, 4095], ">u2").tobytes())
    photo, told = read(tmp_path / "dark.pgm")
    assert photo[0, :, 0].tolist() == [0, 15] and told == [], "it says that white is 65535"


def test_integers_of_32_bits_are_read_where_16_bits_hold_them(tmp_path):
    for dtype in (np.int32, np.uint32):
        tiff(tmp_path / "a.tif", np.array([[0, 2048, 4095]], dtype))
        photo, told = read(tmp_path / "a.tif")
        assert photo[0, :, 0].tolist() == [0, 128, 255] and len(told) == 1


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.array([[0, 70_000]], np.int32), {}, r"integers from 0 to 70000 have no known range.*save 8 bits"),
        (np.array([[-1, 255]], np.int32), {}, r"integers from -1 to 255"),
        (np.array([[0.0, 1.0]], np.float32), {}, r"no fixed range.*times 255"),
        (np.full((3, 4, 5), 4095, np.uint16), {"planarconfig": "separate"}, r"planes of their own.*save 8 bits"),
    ],
)
def test_values_without_a_known_range_are_refused(tmp_path, values, options, message):
    tiff(tmp_path / "a.tif", values, **options)
    with pytest.raises(PhotoError, match=message):
        load_photo(tmp_path / "a.tif")


def test_dark_deep_grey_with_transparency_is_refused_and_bright_one_is_read(tmp_path):
    """Pillow reads the upper bytes of it alone; what is dark cannot be told from what is black."""
    for value, refused in ((4095, True), (40_000, False)):
        values = np.full((4, 5, 2), 65_535, np.uint16)
        values[..., 0] = value
        path = tmp_path / f"{value}.png"
        path.write_bytes(grey_and_alpha(values))
        if refused:
            with pytest.raises(PhotoError, match=r"transparency.*save 8 bits"):
                load_photo(path)
        else:
            assert (load_photo(path) == value >> 8).all()


def grey_and_alpha(values: np.ndarray) -> bytes:
    """[H, W, 2] uint16 as a PNG, which neither Pillow nor OpenCV writes."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 4, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_deep_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.array([[0, 4095]], np.uint16)).save(tmp_path / "a.png", exif=exif)
    assert load_photo(tmp_path / "a.png")[:, 0, 0].tolist() == [0, 255]
