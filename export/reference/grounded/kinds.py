"""What a kind of detectors brings to the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ....runtime.bundle.bundle import Bundle
from ....runtime.words.vocabulary import Vocabulary
from ..maker import StageMaker
from ..networks import Networks
from ..trace import Trace


class Found(NamedTuple):
    """Boxes of a detector."""

    boxes: torch.Tensor
    """[N, 4] x₀ y₀ x₁ y₁ in photo pixels."""
    classes: torch.Tensor
    """[N] int64."""
    scores: torch.Tensor
    """[N]."""


class Kind(NamedTuple):
    """A kind of detectors, in PyTorch."""

    makers: Callable[[Networks], Mapping[str, StageMaker]]
    """The makers of its stages."""
    sizes: Callable[[Networks], Mapping[str, Any]]
    """The fields of `GroundedDimensions` beside SAM's."""
    write_text: Callable[[Networks, Path], tuple[str, ...]]
    """As `Family.write_text`."""
    embed_word: Callable[[Networks, Bundle, str, Sequence[str]], np.ndarray]
    """As `Family.embed_word`."""
    vocabulary: Callable[[Networks, Trace], Vocabulary]
    """Classes that the boxes of a trace's photo fall into, whatever the weights mean."""
    detect: Callable[[Networks, Trace, Vocabulary], Found]
    """The boxes above the thresholds; records its stages in the trace."""
    text: Callable[[Networks, Trace, Bundle | None], None]
    """Records the stage of texts in a trace; the bundle's tokenizer is checked with it."""
