"""Parameters of the dense pipeline."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...geometry.limits import LONGEST_SIDE, SHORT_SIDE
from ...recipe.parameters import Batch, Fraction, Pixels, RefinementParameters, Window


class DenseParameters(RefinementParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes are in pixels, probabilities in [0, 1]. Defaults are those of CAT-Seg's evaluation."""

    short_side: Annotated[int, msgspec.Meta(ge=0, le=SHORT_SIDE)] = 640
    """The photo's short side is first resized to this, smoothly (0: the photo stays as it is) …"""
    max_long_side: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SIDE)] = 2560
    """… unless its long side would pass this."""
    max_pixels: Pixels = 100_000_000
    """A photo with more pixels is refused."""
    side: Window = 640
    """Side of the square that the photo is then stretched over, and crops are cut from."""
    crop: Window = 384
    """Side of a crop. One more is the whole photo, at this size."""
    stride: Window = 256
    """Step between crops."""
    crop_batch: Batch = 5
    """Crops per call of the `clip_dense` engine. Does not change the result."""
    pooling: Annotated[int, msgspec.Meta(ge=1, le=24)] = 1
    """How many times coarser the map is on which classes see each other. Baked."""
    first_synonym: bool = True
    """Whether of a class's synonyms the first alone is asked about, as in CAT-Seg's evaluation; if not, each is asked
    about, and the class gets the best answer."""
    probability_threshold: Fraction = 0.0
    """Pixels whose largest probability is below this become background (class 0)."""

    def __post_init__(self) -> None:
        """Refuse sizes that contradict each other (msgspec tells it of the parameters' place)."""
        if self.crop > self.side or self.stride > self.crop:
            raise ValueError(
                f"expected stride ≤ crop ≤ side, so that crops lie in the square and leave no gap; got "
                f"stride={self.stride}, crop={self.crop}, side={self.side}"
            )
