"""All that is taken for a photo: content of files, PIL images, arrays of several libraries and layouts."""

import io

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from ovdeploy.runtime.errors import ParameterError, PhotoError
from ovdeploy.runtime.photo.reading import as_photo, load_photo, take
from support.samples import draw_photo


def written(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=file_format, **options)  # and its position is at the end
    return buffer


@pytest.mark.parametrize(
    "kind", [io.BytesIO.getvalue, lambda b: bytearray(b.getvalue()), io.BytesIO.getbuffer, lambda b: b]
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_files_content_is_read_as_the_file_is(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    buffer = written(draw_photo((40, 52)), "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(load_photo(kind(buffer)), load_photo(tmp_path / "a.jpg"))


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16"])
def test_a_pil_image_is_read_as_the_file_is(tmp_path, mode, loaded):
    base = Image.fromarray(draw_photo((40, 52)))
    deep = Image.fromarray(np.asarray(base)[..., 0].astype(np.uint16) << 8)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    (deep if mode == "I;16" else base.convert(mode)).save(path, exif=exif)
    with Image.open(path) as image:
        if loaded:
            image.load()
        np.testing.assert_array_equal(load_photo(image), load_photo(path))


def test_deep_grey_in_a_pil_image_is_scaled():
    dark = Image.fromarray(np.full((4, 5), 1000, np.uint16))
    with pytest.warns(UserWarning, match="uses 10"):
        assert (load_photo(dark) == 1000 >> 2).all()
    with pytest.raises(PhotoError, match="floating-point"):
        load_photo(Image.fromarray(np.ones((4, 5), np.float32)))


@pytest.mark.parametrize(
    ("vile", "told"),
    [
        (b"", "the photo: the file is empty"),
        (b"this is text", "the photo: not an image"),
        (written(draw_photo((40, 52))).getvalue()[:300], "the photo: the photo is damaged"),
        (io.BytesIO(), "empty"),
        (Image.new("RGB", (0, 4)), "no pixels"),
        ([[1, 2], [3, 4]], "expected a path, bytes, a PIL image, or an array .* got list"),
        (np.ndarray, "got type"),
        (torch.zeros(3, 40, 52, dtype=torch.uint8), "permute"),
        (torch.zeros(40, 52, 3), r"float32 \[40, 52, 3\]; scale it"),
        (torch.zeros(1, 40, 52, 3, dtype=torch.uint8), "one photo at a time"),
        (torch.zeros(40, 52, 3, requires_grad=True), "gives no NumPy array .*move it to the host"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8, device="meta"), "gives no NumPy array"),
    ],
)
def test_what_is_no_photo_is_told(vile, told):
    with pytest.raises(PhotoError, match=told):
        load_photo(vile)
    assert isinstance(take(vile), PhotoError)


def test_the_limit_counts_for_all_kinds():
    image = draw_photo((20, 30))
    for photo in (image, Image.fromarray(image), written(image), torch.from_numpy(image), image[..., 0]):
        assert as_photo(photo, 600).shape == (20, 30, 3)
        with pytest.raises(PhotoError, match="max_pixels"):
            as_photo(photo, 599)


def test_other_libraries_lend_their_arrays():
    image = draw_photo((20, 30))

    class Lent:
        def __dlpack__(self, **how):
            return image.__dlpack__(**how)

        def __dlpack_device__(self):
            return image.__dlpack_device__()

    for photo in (torch.from_numpy(image), torch.from_numpy(image.transpose(2, 0, 1).copy()).permute(1, 2, 0), Lent()):
        read = load_photo(photo)
        np.testing.assert_array_equal(read, image)
        assert not np.shares_memory(read, image)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_grey_and_transparent_arrays_are_read_as_files_are(tmp_path, color):
    rgba = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    array = rgba if color == "rgb" else cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)
    np.testing.assert_array_equal(load_photo(array, color=color), load_photo(tmp_path / "rgba.png"))
    Image.fromarray(rgba[..., 0]).save(tmp_path / "grey.png")
    for grey in (rgba[..., 0], rgba[..., :1]):
        np.testing.assert_array_equal(load_photo(grey, color=color), load_photo(tmp_path / "grey.png"))


def test_what_opencv_read_is_bgr(tmp_path):
    Image.fromarray(draw_photo((20, 30))).save(tmp_path / "a.png")
    array = cv2.imread(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(load_photo(array, color="bgr"), load_photo(tmp_path / "a.png"))
    assert (load_photo(array) != load_photo(tmp_path / "a.png")).any()


@pytest.mark.parametrize("color", ["BGR", "", None, 3, ["rgb"]])
def test_an_order_of_colours_that_there_is_not_is_refused(color, segmenter, vocabulary, tmp_path):
    Image.fromarray(draw_photo((20, 30))).save(tmp_path / "a.png")
    for ask in (
        lambda: load_photo(tmp_path / "a.png", color=color),
        lambda: segmenter.segment(tmp_path / "a.png", vocabulary, color=color),
        lambda: segmenter.segment_many([tmp_path / "a.png"], vocabulary, color=color),
    ):
        with pytest.raises(ParameterError, match="Valid: bgr, rgb"):
            ask()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([(), (1,), (3,), (4,)]), st.sampled_from(["rgb", "bgr"]), st.booleans(), st.booleans())
def test_every_array_is_copied_and_contiguous(channels, color, fortran, turned):
    array = np.random.default_rng(0).integers(0, 256, (5, 7, *channels), np.uint8)
    given_array = (np.asfortranarray(array) if fortran else array)[:: -1 if turned else 1]
    read = as_photo(given_array, color=color)
    assert read.shape == (5, 7, 3) and read.flags.c_contiguous and read.flags.writeable
    assert not np.shares_memory(read, given_array)


def test_a_segmenter_takes_all_kinds_alike(segmenter, vocabulary):
    image = draw_photo((40, 52))
    expected = segmenter.segment(image, vocabulary)
    kinds = [Image.fromarray(image), written(image), written(image).getvalue(), torch.from_numpy(image)]
    for each in [*(segmenter.segment(kind, vocabulary) for kind in kinds), *segmenter.segment_many(kinds, vocabulary)]:
        assert each.mask.tobytes() == expected.mask.tobytes()
        np.testing.assert_array_equal(each.photo, image)
    turned = image[..., ::-1]
    for each in (segmenter.segment(turned, vocabulary, color="bgr"),
                 *segmenter.segment_many([turned, image], vocabulary, color="bgr")):  # fmt: skip
        assert each.photo.tobytes() in (image.tobytes(), turned.tobytes())
    assert segmenter.segment(turned, vocabulary, color="bgr").mask.tobytes() == expected.mask.tobytes()
