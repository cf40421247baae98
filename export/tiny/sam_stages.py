"""What is trained when: SAM's encoder and its decoder, together or apart."""

from __future__ import annotations

import math
from typing import NamedTuple


class Stage(NamedTuple):
    """What is trained until a step."""

    until: float
    images: int
    """Of a batch."""
    prompts: int
    """Of an image, as the pipeline makes them; 0 trains the encoder alone."""
    interactive: int = 0
    """Those of them that are asked again as a user would."""
    even: bool = False
    """Whether the tokens that are compared are as many of every name, so that stuff does not outvote things."""
    pace: float = 1.0
    """Factor of the learning rate."""
    frozen: bool = False
    """Whether the encoder stays as it is: then its features are computed once, and only for the first FEW scenes."""


STAGES = (
    Stage(150, images=3, prompts=0),
    Stage(400, images=2, prompts=6, interactive=2),
    Stage(480, images=3, prompts=0, even=True),
    Stage(700, images=2, prompts=6, interactive=2, pace=2.5, frozen=True),
    Stage(math.inf, images=1, prompts=8, interactive=2, even=True, pace=1.25),
)
RENEWED = (480, 1000)
"""Steps at which the decoder begins anew: before, it has only learnt to copy its mask prompt."""
EASED = 60
"""Steps in which the pace rises again then."""
LOOK = 3.0
"""Gain of the decoder's cross-attention at its start (see `_look_where_prompted`)."""
FEW = 400
"""Scenes whose features are kept."""


def stage_of(step: int) -> Stage:
    """The stage that a step belongs to."""
    return next(stage for stage in STAGES if step < stage.until)
