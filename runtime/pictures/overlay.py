"""Pictures of a mask, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

import cv2
import numpy as np
from PIL import Image

from ..errors import ParameterError, VocabularyError, shown
from ..geometry.limits import CLASSES
from .colours import colours_of, palette
from .legend import Entry, add_legend

STRIP = 1 << 20
"""Pixels that are blended at once."""

SAMPLED = 1 << 18
"""Pixels, about, from which a class's colour in a picture is taken."""

LIGHT = np.round(np.arange(256) * 0.4 + 255 * 0.6).astype(np.uint8)
"""By what a pixel was: its value on a line between classes."""

LISTED = 256
"""Classes that a legend lists; it says how many more there are."""


def draw_overlay(
    photo: np.ndarray, mask: np.ndarray, names: Sequence[str], *, opacity: float, legend: bool
) -> Image.Image:
    """The photo with every class in its colour and a light line between classes.

    Args:
        photo: [H, W, 3] uint8 RGB.
        mask: [H, W] class index.
        names: the classes' names.
        opacity: of the colours, 0 to 1.
        legend: whether the classes that occur are listed below, the largest first, each in the colour that it has in
            the picture on average.
    """
    colours = colours_of(names)
    labels = small_indices(mask, len(names))
    drawn = _blended(photo, mask, colours, opacity)
    counts = np.bincount(mask.reshape(-1), minlength=len(names))
    seen = _seen(drawn, mask, counts, colours) if legend else colours  # before the light lines, which are no class's
    _outline(drawn, labels)
    image = Image.fromarray(drawn)
    return _with_legend(image, counts, names, seen) if legend else image


def draw_instances(
    photo: np.ndarray, masks: Iterable[np.ndarray], *, opacity: float, numbers: Sequence[int] | None = None
) -> Image.Image:
    """The photo with things that may overlap, each in its colour, and a light line between them.

    Args:
        photo: [H, W, 3] uint8 RGB.
        masks: [H, W] bool each; a later one lies above those before.
        opacity: of the colours, 0 to 1.
        numbers: of the things, from 1, which tell their colours; None counts them.
    """
    labels, known = np.zeros(photo.shape[:2], np.uint16), 0
    for number, mask in zip(count(1) if numbers is None else numbers, masks, strict=False):
        labels[mask] = colour = (number - 1) % CLASSES + 1  # past so many, colours come again
        known = max(known, colour)
    colours = np.concatenate([np.zeros((1, 3), np.uint8), palette(known).reshape(-1, 3)])
    drawn = _blended(photo, labels, colours, opacity)
    nothing = labels == 0
    drawn[nothing] = photo[nothing]
    _outline(drawn, labels)
    return Image.fromarray(drawn)


def _blended(photo: np.ndarray, mask: np.ndarray, colours: np.ndarray, opacity: float) -> np.ndarray:
    """[H, W, 3] uint8: the photo's light and dark under the classes' colours.

    Its own colours fade as theirs come, and are gone at half of the opacity: blue sky under red would be a violet that
    is in no legend.

    Raises:
        ParameterError: the opacity is not between 0 and 1.
    """
    if not 0 <= opacity <= 1:
        raise ParameterError(f"opacity={shown(opacity)}: expected a number from 0 to 1")
    drawn = np.empty_like(photo)
    step, fading = max(1, STRIP // photo.shape[1]), min(1.0, 2 * opacity)
    for start in range(0, len(photo), step):  # the whole of a large photo would take gigabytes
        rows = slice(start, start + step)
        grey = cv2.cvtColor(cv2.cvtColor(photo[rows], cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        faded = cv2.addWeighted(photo[rows], 1 - fading, grey, fading, 0)
        drawn[rows] = cv2.addWeighted(faded, 1 - opacity, colours[mask[rows]], opacity, 0)
    return drawn


def _seen(drawn: np.ndarray, mask: np.ndarray, counts: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """[count, 3] uint8: the colours that classes have in a picture on average; those that do not occur keep theirs.

    Some pixels of a large picture will do, unless a class has none of them.
    """
    step = max(1, int((mask.size / SAMPLED) ** 0.5))
    taken = np.bincount(mask[::step, ::step].reshape(-1), minlength=len(counts))
    if ((taken == 0) & (counts > 0)).any():
        step, taken = 1, counts
    labels, pixels = mask[::step, ::step].reshape(-1), drawn[::step, ::step].reshape(-1, 3)
    sums = [np.bincount(labels, weights=pixels[:, channel], minlength=len(counts)) for channel in range(3)]
    means = np.stack(sums, axis=1) / np.maximum(taken, 1)[:, None]
    return np.where(taken[:, None] > 0, np.round(means), colours).astype(np.uint8)


def _outline(drawn: np.ndarray, labels: np.ndarray) -> None:
    """Draw light lines where labels meet: [H, W, 3] uint8, changed in place, by [H, W]."""
    kernel = np.ones((3, 3), np.uint8)
    edges = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    drawn[edges] = LIGHT[drawn[edges]]


def small_indices(mask: np.ndarray, classes: int) -> np.ndarray:
    """A mask as 16-bit numbers, for those who take no others.

    Args:
        mask: [H, W] class index.
        classes: how many there are.

    Raises:
        VocabularyError: there are more than fit.
    """
    if classes > CLASSES:
        raise VocabularyError(f"{classes:,} classes do not fit into 16-bit indices; the limit is {CLASSES:,}")
    return mask.astype(np.uint16)


def _with_legend(image: Image.Image, counts: np.ndarray, names: Sequence[str], colours: np.ndarray) -> Image.Image:
    present = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    entries = [Entry(names[i], colours[i], f"{100 * counts[i] / counts.sum():.1f} %") for i in present[:LISTED]]
    if len(present) > LISTED:
        entries.append(Entry(f"and {len(present) - LISTED} more", np.full(3, 255, np.uint8)))
    return add_legend(image, entries, max(11, min(28, image.width // 40)))
