"""The PyTorch side of a pipeline: what makes its stages, and what proves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...runtime.backends.base import Session
from ...runtime.bundle.bundle import Bundle
from ...runtime.errors import ExportError, one_of
from .checks import Check, Limits
from .maker import StageMaker
from .trace import Trace
from .words import clip_embedding

if TYPE_CHECKING:
    from .networks import Networks

REFERENCES = "ovdeploy.references"
"""Entry-point group of families, each under its pipeline's name."""

Opener = Callable[[str], Session]
"""Opens the engine of a stage."""


class Reference(Protocol):
    """A pipeline in PyTorch, as `evaluate` and `bench` run it beside the engines."""

    def segment(self, photo: Any, vocabulary: Any, *, parameters: Mapping[str, Any] | None = None) -> Any:
        """A photo's trace, with `mask`, `coarse`, `timings`, `settings` and `regions`."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The PyTorch side of a pipeline."""

    makers: Callable[[Networks], Mapping[str, StageMaker]]
    """The maker of each stage that a recipe may have."""
    sizes: Callable[[Networks], Any]
    """The pipeline's `sizes`, from the models."""
    reference: Callable[[Networks], Reference]
    """The pipeline in PyTorch."""
    trace: Callable[[Networks, Any, Bundle | None], Trace]
    """The reference on a photo, every stage that ran recorded in its engine's own layout.

    Takes the networks, a photo, and the bundle whose tokenizer is checked (None: a fresh one).
    """
    prove: Callable[[Bundle, Networks, Trace, Opener, Limits], Iterator[Check]]
    """Compares what the stages make together with the trace."""
    masks: Callable[[Networks, Trace, Mapping[str, Session]], Iterator[tuple[np.ndarray, np.ndarray]]]
    """Label maps [H, W] that sessions make of a trace's photo, and the trace's own."""
    check: Callable[[Networks], None] = lambda networks: None
    """Refuses models that the stages cannot wrap."""
    embed_word: Callable[[Networks, Bundle, str, Sequence[str]], np.ndarray] = clip_embedding
    """A name's embedding, [E] float32, by PyTorch's text encoder and the bundle's tokenizer; takes templates last."""
    write_text: Callable[[Networks, Path], tuple[str, ...]] | None = None
    """Writes `tokenizer.json` and gives the prompt templates; None of a pipeline that takes no words."""


@cache
def family_of(pipeline: str) -> Family:
    """The PyTorch side of a pipeline.

    Raises:
        ExportError: no package brings one.
    """
    known = {point.name: point for point in entry_points(group=REFERENCES)}
    if pipeline not in known:
        raise ExportError(f"{one_of('pipeline with a PyTorch reference', pipeline, known)}")
    family: Family = known[pipeline].load()
    return family
