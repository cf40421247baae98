"""Arrays as photos: NumPy's, and those of other libraries that lend themselves to it (PyTorch's tensors, for example).

How the colours of an array are ordered cannot be seen in it: what OpenCV read is BGR, and looks like any other array.
So it is said, by `color`, and never guessed: docs/python.md has what guessing would cost.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from ..errors import ParameterError, PhotoError, one_of

RGB, BGR = "rgb", "bgr"
COLORS = (RGB, BGR)
"""Orders in which an array may hold its colours; transparency comes last in both."""

WANTED = "a path, bytes, a PIL image, or an array [H, W, 3] of uint8 (also [H, W, 4], [H, W, 1] and [H, W])"


@runtime_checkable
class SupportsArray(Protocol):
    """What NumPy can look at, such as a tensor of PyTorch."""

    def __array__(self) -> np.ndarray: ...


@runtime_checkable
class SupportsDLPack(Protocol):
    """What lends its memory by DLPack."""

    def __dlpack__(self) -> Any: ...


def check_color(color: Any) -> None:
    """Refuse an order of colours that there is not.

    Raises:
        ParameterError: names the two that there are.
    """
    if not isinstance(color, str) or color not in COLORS:
        raise ParameterError(one_of("color", color, COLORS))


def as_array(photo: Any) -> np.ndarray:
    """The NumPy array of what is one, or gives one; not copied where that is possible.

    Raises:
        PhotoError: it is something else, or lies on a GPU.
    """
    if isinstance(photo, np.ndarray):
        return photo
    kind = f"{type(photo).__module__}.{type(photo).__qualname__}".removeprefix("builtins.")
    if not isinstance(photo, SupportsArray | SupportsDLPack) or isinstance(photo, type):
        raise PhotoError(f"expected {WANTED}, got {kind}")
    try:
        return np.asarray(photo) if isinstance(photo, SupportsArray) else np.from_dlpack(photo)  # type: ignore[arg-type]
    except Exception as error:  # another library's own: on a GPU, with gradients, of a type that NumPy lacks
        raise PhotoError(f"{kind} gives no NumPy array ({error}); move it to the host, as uint8") from error


def array_hw(array: np.ndarray) -> tuple[int, int]:
    """Height and width of an array that can be a photo.

    Raises:
        PhotoError: it is none; if another layout is likely, that is said.
    """
    shape = array.shape
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in (1, 3, 4) or array.dtype != np.uint8:
        raise PhotoError(f"expected {WANTED}, got {array.dtype} {list(shape)}{_hint(array)}")
    if array.size == 0:
        raise PhotoError(f"the photo has no pixels: its shape is {list(shape)}")
    return shape[0], shape[1]


def _hint(array: np.ndarray) -> str:
    shape = array.shape
    if len(shape) == 4:
        return "; give one photo at a time"
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        return "; colours stand last, so give array.transpose(1, 2, 0), of a tensor tensor.permute(1, 2, 0)"
    if array.dtype != np.uint8:
        return "; scale it to 0 … 255 and give .astype(numpy.uint8)"
    return ""


def rgb_of(array: np.ndarray, color: str) -> np.ndarray:
    """An array that can be a photo, as RGB: grey three times, transparency laid over white, as of files.

    Args:
        array: [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] uint8.
        color: the order of its colours; of grey it means nothing.

    Returns:
        [H, W, 3] uint8 RGB, contiguous, and a copy.
    """
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    ordered = pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if color == BGR else pixels
    if pixels.shape[2] == 3:
        return np.array(ordered, order="C", subok=False)
    return over_white(Image.fromarray(np.ascontiguousarray(ordered)))


def over_white(image: Image.Image) -> np.ndarray:
    """[H, W, 3] uint8 RGB of an image with transparency."""
    rgba = image.convert("RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))
