"""The parameters of a method: their defaults stand in the recipe, users override them at `load` and at `segment`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np

from ..boundary.arguments import WIDEST
from ..errors import ParameterError, one_of, shown
from ..geometry.limits import BATCH, BLOCKS, LARGEST, LONGEST_SIDE, SHORT_SIDE, WINDOW

Pixels = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIDE**2)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=BATCH)]
Window = Annotated[int, msgspec.Meta(ge=1, le=WINDOW)]
Block = Annotated[int, msgspec.Meta(ge=1, le=BLOCKS)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=LARGEST)]
AboveZero = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]
Score = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]


class RefinementParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of refinement, which pipelines share whose masks SAM's decoder can refine."""

    refine: bool = True
    """Whether SAM's decoder refines the coarse mask."""
    split_regions: bool = True
    """Whether a class's pixels are split into connected regions, each with its own prompts; if not, they are one."""
    prompts: Annotated[tuple[Literal["point", "box", "mask"], ...], msgspec.Meta(min_length=1)] = (
        "point",
        "box",
        "mask",
    )
    """The prompts of a region that SAM's decoder gets. Baked."""
    region_threshold: Fraction = 0.2
    """τ_c: less certain pixels belong to no region; mask prompts keep what is above it."""
    min_area: NotNegative = 225
    """A_min: smaller regions are not refined, in pixels at half resolution."""
    iou_threshold: Score = 0.8
    """τ_iou: a refined region is used if SAM's own IoU estimate is above this."""
    mask_prompt_scale: NotNegative = 0.005
    """α: mask prompts are probabilities times this."""
    prompt_batch: Batch = 16
    """Regions per call of the `sam_decoder` engine. Does not change the result."""

    @property
    def as_published(self) -> bool:
        """Whether prompts and merging are those of Trident's published code; only where it is a parameter."""
        return False


class Parameters(RefinementParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every parameter of every method. Sizes are in pixels, probabilities and scores in [0, 1]."""

    short_side: Annotated[int, msgspec.Meta(ge=1, le=SHORT_SIDE)] = 448
    """The photo's short side is resized to this …"""
    max_long_side: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIDE)] = 2048
    """… unless its long side would pass this."""
    max_pixels: Pixels = 100_000_000
    """A photo with more pixels is refused."""
    crop: Window = 336
    """Side of a window. Baked."""
    stride: Window = 224
    """Step between windows."""
    window_batch: Batch = 8
    """Windows per call of the `dino` and `clip_image` engines. Does not change the result."""
    similarity_beta: NotNegative = 1.2
    """β: similarities below β times their mean are masked out. Baked."""
    similarity_gamma: AboveZero = 3.0
    """γ: inverse temperature of the similarity's softmax. Baked."""
    similarity_layers: Annotated[tuple[Block, ...], msgspec.Meta(max_length=BLOCKS)] = ()
    """S2CLIP: the CLIP blocks, counted from 1, whose similarity is used; none means the middle ones. Baked."""
    similarity_eta: Fraction = 0.5
    """S2CLIP: η, how much of the shallower blocks' similarity each deeper block keeps. Baked."""
    dino_share: Fraction = 0.5
    """S2CLIP: a, the share of DINO's similarity; the rest is the CLIP blocks'. Baked."""
    affinity_kind: Literal["affinity", "attention", "cosine"] = "affinity"
    """The matrix that aggregates features: SAM's attention where values are alike, the attention alone, or the likeness
    of SAM's features alone (Trident, Table 3). Baked."""
    sam_halves: bool = False
    """Whether the photo's left and right halves get an affinity each (Trident on Cityscapes)."""
    affinity_factor: NotNegative = 1.2
    """f: SAM's attention is kept where values are more alike than f times their mean. 0 keeps nearly all."""
    keep_negative: bool = True
    """Whether a negative threshold θ stands; if not it becomes 0.6."""
    logit_scale: AboveZero = 40.0
    """Logits are multiplied by this before the softmax over queries."""
    probability_threshold: Fraction = 0.0
    """Pixels whose largest probability is below this become background (class 0)."""
    as_published: bool = True
    """Reproduce the three departures of Trident's published code from its paper and SAM (as-published.md). Baked."""


Values = TypeVar("Values", bound=msgspec.Struct)


def with_overrides(
    parameters: Values, overrides: Mapping[str, Any] | None, baked: Mapping[str, str] = MappingProxyType({})
) -> Values:
    """`parameters` with some values replaced.

    Args:
        parameters: what holds now.
        overrides: values by name; None means none.
        baked: parameters that an export fixes, and why.

    Raises:
        ParameterError: a name is unknown, a value has the wrong type or is out of range, or the parameter is baked
            into the engines with another value.
    """
    if not overrides:
        return parameters
    values = msgspec.structs.asdict(parameters)
    for name, value in overrides.items():
        if name not in values:
            raise ParameterError(one_of("parameter", name, values))
        if name not in baked:
            values[name] = _plain(name, value)
        elif not _same(value, values[name]):
            raise ParameterError(
                f"{name}={shown(value)} cannot be set here: {baked[name]} (this bundle has {values[name]!r}). "
                f"Set it in the recipe's [parameters] and run export-engines again."
            )
    try:
        return msgspec.convert(values, type(parameters))
    except msgspec.ValidationError as error:
        raise ParameterError(f"a parameter has a value that it cannot take: {error}") from error


def _plain(name: str, value: Any) -> Any:
    """A value as a file could hold it: a number, text, or a list of such.

    Raises:
        ParameterError: it is something else, a number of more than 64 bits, or text that is no Unicode.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in (list, tuple):
        return type(value)(_plain(name, each) for each in value) if _is_flat(value) else _refuse(name, value)
    if value is None or type(value) in (bool, float):
        return value
    fits_int = type(value) is int and value.bit_length() <= WIDEST
    fits_text = type(value) is str and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return value if fits_int or fits_text else _refuse(name, value)


def _is_flat(values: list[Any] | tuple[Any, ...]) -> bool:
    return not any(isinstance(value, list | tuple) for value in values)


def _refuse(name: str, value: Any) -> Any:
    raise ParameterError(
        f"{name}={shown(value)}: expected a number, True or False, text, or a list of numbers or texts"
    )


def _same(value: Any, baked: Any) -> bool:
    """Whether a value is the baked one; numbers to the precision of the engines."""
    plain = value.item() if isinstance(value, np.generic) else value
    parts = plain if type(plain) in (list, tuple) else (plain,)
    if any(type(part) not in (bool, int, float, str) for part in parts):
        return False
    if isinstance(baked, (tuple, str)):
        return (tuple(plain) if isinstance(plain, list) else plain) == baked
    if type(plain) not in (bool, int, float) or not abs(plain) <= LARGEST:
        return False  # NumPy takes no integers of any length
    return bool(np.float32(plain) == np.float32(baked))
