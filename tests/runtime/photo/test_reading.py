import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide

from ovdeploy.runtime.errors import PhotoError
from ovdeploy.runtime.geometry.dimensions import Dimensions, SamDimensions
from ovdeploy.runtime.photo.reading import as_photo, load_photo
from ovdeploy.runtime.pipelines.promptable.sam_encoder import sam_image
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.pipelines.training_free.windows import cut_windows
from ovdeploy.runtime.recipe.parameters import Parameters

Image.init()
FORMATS = [kind for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "AVIF") if kind in Image.SAVE]
ORIENTATION = 274


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def saved(path, image, **options):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()


def png_header(width, height):
    """The beginning of an 8-bit RGB PNG of that size, without any pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def grey(*values):
    return np.array([values], np.uint8)[..., None].repeat(3, axis=2)


PALETTE = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
PALETTE.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (noise(1, 1, 3), {}, noise(1, 1, 3)),
        (np.uint8([[0, 9, 255]]), {}, grey(0, 9, 255)),
        (np.array([[False, True]]), {}, grey(0, 255)),
        (np.uint16([[0, 255, 256, 40_000, 65_535]]), {}, grey(0, 0, 1, 156, 255)),
        (PALETTE, {}, [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]),
        (PALETTE, {"transparency": 1}, [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]),
        (PALETTE, {"transparency": b"\0\xff\xff"}, [[[255, 255, 255], [0, 255, 0], [0, 0, 255]]]),
        (np.uint8([[10, 20]]), {"transparency": 10}, grey(255, 20)),
        (grey(10, 20), {"transparency": (10, 10, 10)}, grey(255, 20)),
        (np.uint8([[[10, 0], [20, 255]]]), {}, grey(255, 20)),  # grey and alpha
    ],
)
def test_photos_of_every_kind_become_rgb(tmp_path, image, options, expected):
    for name in ("a.png",) if options else ("a.png", "a.tif"):  # TIFF has no transparent colour
        read = load_photo(saved(tmp_path / name, image, **options))
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, expected)


def test_transparency_is_laid_over_white(tmp_path):
    rgba = noise(8, 9, 4)
    rgba[:2, :, 3] = [[0], [255]]
    read, alpha = load_photo(saved(tmp_path / "a.png", rgba)), rgba[..., 3:] / 255
    assert (read[0] == 255).all()
    np.testing.assert_array_equal(read[1], rgba[1, :, :3])
    np.testing.assert_allclose(read, rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1)  # Pillow blends in integers


def test_a_cmyk_jpeg_becomes_rgb(tmp_path):
    read = load_photo(saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (200, 40, 0, 50)), quality=100))
    inks = np.broadcast_to([200, 40, 0], (16, 16, 3))
    np.testing.assert_allclose(read, (255 - inks) * (255 - 50) / 255, atol=3)  # JPEG at its best is a step or two off


STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright),  # shown after a quarter turn clockwise, so stored a quarter turn back
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_photos_are_turned_upright(tmp_path, orientation, dtype):
    upright = noise(5, 7, 1, dtype=dtype)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(STORED[orientation](upright)[..., 0])
    read = load_photo(saved(tmp_path / "a.png", stored, exif=exif))
    np.testing.assert_array_equal(read, (upright >> 8 * (upright.itemsize - 1)).repeat(3, axis=-1))


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_photos_of_all_formats_are_turned_once(tmp_path, orientation, file_format):
    """Some of Pillow's readers turn photos themselves, and some do not."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8], upright[:8, 24:] = 255, (255, 0, 0)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / f"a.{file_format.lower()}"
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(path, exif=exif)
    with Image.open(path) as image:
        for read in (load_photo(path), load_photo(image)):
            assert np.abs(read.astype(int) - upright).mean() < 12, "but for what the format loses"


TAGS = {
    "well-formed": (282, 3, b"H\0\0\0"),
    "text as resolution": (282, 2, b"72\0\0"),
    "text as width": (256, 2, b"ab\0\0"),
    "negative resolution": (282, 6, b"\xff\0\0\0"),
    "negative depth": (258, 8, b"\xff\xff\0\0"),
}


@pytest.mark.parametrize(("tag", "kind", "value"), TAGS.values(), ids=TAGS.keys())
def test_a_malformed_exif_tag_does_not_spoil_the_photo(tmp_path, tag, kind, value):
    count = 4 if kind == 2 else 1
    entries = struct.pack("<HHI4s", tag, kind, count, value) + struct.pack("<HHIHH", ORIENTATION, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    plain, turned = (saved(tmp_path / f"{len(e)}.jpg", noise(16, 32, 3), exif=e) for e in (b"", exif))
    np.testing.assert_array_equal(load_photo(turned), np.rot90(load_photo(plain), -1))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_truncated_photo_is_refused(tmp_path, file_format, share):
    data, path = encoded(noise(64, 64, 3), file_format), tmp_path / "a.img"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhotoError, match=r"a\.img"):
        load_photo(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow remarks on what it can still read
@pytest.mark.parametrize("file_format", FORMATS)
def test_damage_anywhere_is_told_as_such_or_harmless(tmp_path, file_format):
    rng = np.random.default_rng(0)
    data, path = encoded(noise(16, 16, 3), file_format), tmp_path / "a.img"
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 400), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert load_photo(path, max_pixels=10_000).shape[2] == 3
        except PhotoError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jpg", None, "no such photo"),
        (".", None, "no photos in this folder"),  # a folder
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"this is no photo, whatever its name says", "not an image"),
        ("nothing.png", png_header(20, 20), "damaged"),
        ("float.tif", encoded(np.ones((4, 5), np.float32), "TIFF"), "floating-point"),
    ],
)
def test_what_is_no_photo_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PhotoError, match=rf"{path}.*({message})"):
        as_photo(str(path))


@pytest.mark.parametrize("hw", [(400, 251), (12_000, 12_000), (20_000, 20_000)])  # Pillow's own limit lies between
def test_a_huge_photo_is_refused_before_it_is_decoded(tmp_path, hw):
    path = tmp_path / "a.png"
    path.write_bytes(png_header(hw[1], hw[0]))
    with pytest.raises(PhotoError, match=f"{hw[1]}×{hw[0]} .*megapixels.*max_pixels"):
        load_photo(path, max_pixels=100_000)


@pytest.mark.parametrize("pillows_limit", [600, 250])  # Pillow refuses more than twice as many
def test_the_limit_of_pixels_is_ours_and_counts_exactly(tmp_path, monkeypatch, pillows_limit):
    image = noise(20, 30, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    for photo in (image, saved(tmp_path / "a.png", image)):
        np.testing.assert_array_equal(as_photo(photo, max_pixels=600), image)
        with pytest.raises(PhotoError, match="max_pixels"):
            as_photo(photo, max_pixels=599)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((0, 5, 3), np.uint8), r"no pixels.*\[0, 5, 3\]"),
        (np.zeros((5, 5, 2), np.uint8), r"uint8 \[5, 5, 2\]"),
        (np.zeros((3, 5, 5), np.uint8), r"uint8 \[3, 5, 5\].*permute"),
        (np.zeros((5, 5)), r"float64 \[5, 5\].*astype"),
        (np.zeros((0, 5), np.uint8), r"no pixels.*\[0, 5\]"),
        (np.uint8(7), r"uint8 \[\]"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"uint8 \[1, 5, 5, 3\]"),
        (np.zeros((5, 5, 3), np.float32), r"float32 \[5, 5, 3\]"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_array_of_rgb_is_refused(photo, message):
    with pytest.raises(PhotoError, match=message):
        as_photo(photo)


def test_a_view_becomes_a_contiguous_photo():
    view = noise(8, 9, 3)[::-2, ::2, ::-1]
    assert as_photo(view).flags.c_contiguous
    np.testing.assert_array_equal(as_photo(view), view)


def plan_of(hw, method="trident"):
    sizes = Dimensions(clip_patch=16, feature_grid=(6, 6), embedding=8, context_length=77, sam_side=256, sam_grid=16)
    return plan_photo(hw, Parameters(short_side=100, crop=96, stride=48, max_long_side=600), METHODS[method], sizes)


@pytest.mark.parametrize("method", ["trident", "proxyclip"])
@pytest.mark.parametrize("hw", [(1, 1), (1, 4000), (4000, 1), (40, 30), (100, 100), (150, 203)])
def test_windows_are_cut_from_the_resized_and_aligned_photo(hw, method):
    photo, plan = noise(*hw, 3), plan_of(hw, method)
    resized = torch.from_numpy(cv2.resize(photo, plan.resized_hw[::-1], interpolation=cv2.INTER_LINEAR))
    planes = resized.permute(2, 0, 1)[None] / 255
    aligned = F.interpolate(planes, plan.aligned_hw, mode="bilinear", align_corners=False)[0].numpy()
    windows = cut_windows(photo, plan, 96)
    assert windows.dtype == np.float32
    assert 0 <= windows.min() <= windows.max() <= 1
    expected = [aligned[:, y : y + 96, x : x + 96] for y in plan.row_starts for x in plan.column_starts]
    # pixel positions up to 600 are known to 2⁻²⁴ · 600 in float32, and neighbours differ by up to 1
    np.testing.assert_allclose(windows, expected, atol=5e-5)


@pytest.mark.parametrize("hw", [(1, 1), (1, 4000), (4000, 1), (64, 96), (150, 203)])
def test_sams_image_is_its_own_transform_at_the_top_left(hw):
    photo, frame = noise(*hw, 3), plan_of(hw).sam
    sizes = SamDimensions(sam_side=256, sam_grid=16, sam_padding=(123.675, 116.28, 103.53))
    image = sam_image(photo, frame, sizes)
    padded = cv2.resize(photo, frame.padded_hw[::-1], interpolation=cv2.INTER_LINEAR)
    h, w = frame.valid_hw
    assert image.shape == (1, 3, 256, 256)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image[0, :, :h, :w], ResizeLongestSide(256).apply_image(padded).transpose(2, 0, 1))
    for margin in (image[0, :, h:], image[0, :, :, w:]):
        assert (margin == np.float32([123.675, 116.28, 103.53])[:, None, None]).all()


def test_reading_a_photo_imports_the_modules_of_formats_that_are_read_and_no_others():
    """Pillow has some 45, and importing all of them took longer than reading a photo."""
    code = (
        "import sys\nfrom ovdeploy.runtime.photo.decoding import PLUGINS\n"
        "from ovdeploy.runtime.photo.reading import demo_photo, load_photo\n"
        "load_photo(demo_photo())\nprint(*{name for name in sys.modules if name.endswith('ImagePlugin')} - "
        "{f'PIL.{module}' for module in PLUGINS.values()})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_an_open_bundle_has_imported_what_reads_photos(micro_bundle):
    """So that the first photo takes no longer for it than the second."""
    code = (
        "import sys\nfrom ovdeploy.runtime import Segmenter, load_photo\n"
        "from ovdeploy.runtime.photo.reading import demo_photo\n"
        f"with Segmenter.load({str(micro_bundle)!r}):\n    before = set(sys.modules)\n    load_photo(demo_photo())\n"
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    new = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert [name for name in new if name.startswith("PIL.")] == []
