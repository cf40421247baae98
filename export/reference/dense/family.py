"""The PyTorch side of the dense pipeline, declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.answers.result import Result
from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle, Manifest
from ....runtime.errors import RecipeError
from ....runtime.pipelines.dense.segmenter import DenseSegmenter
from ....runtime.pipelines.dense.sizes import DenseDimensions
from ....runtime.pipelines.dense.stages import HEAD, ROLE, TOWER
from ....runtime.pipelines.worded.stages import TEXT
from ...models.text_assets import write_tokenizer
from ..checks import Check, Limits, agreement
from ..family import Family, Opener
from ..maker import StageMaker
from ..networks import Networks
from ..text_encoder import text_maker
from . import aggregate, clip_dense
from .reference import DenseReference, trace_photo


def _makers(networks: Networks) -> Mapping[str, StageMaker]:
    text = text_maker(lambda networks: networks.models[ROLE].clip)
    return {TEXT: text, TOWER: clip_dense.MAKER, HEAD: aggregate.MAKER}


def _sizes(networks: Networks) -> DenseDimensions:
    model = networks.models[ROLE]
    return DenseDimensions(
        crop_side=model.side,
        grid=model.sizes.grid,
        embedding=model.sizes.embedding,
        context_length=model.clip.context_length,
        most_words=model.sizes.most,
    )


def _check(networks: Networks) -> None:
    """Pooling must fit the grid.

    Raises:
        RecipeError: it does not.
    """
    pooling, grid = networks.recipe.parameters.pooling, networks.models[ROLE].sizes.grid
    if grid % pooling:
        raise RecipeError(f"pooling={pooling} must divide the grid of this model, {grid}")


def _write_text(networks: Networks, path: Path) -> tuple[str, ...]:
    model = networks.models[ROLE]
    write_tokenizer(path, model.clip.vocab_size)
    return (model.template,)


def _prove(bundle: Bundle, networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Iterator[Check]:
    """The labels of the whole pipeline, where the bundle holds all of it."""
    if bundle.missing_stages():
        return
    result = _segment(bundle.manifest, trace, {stage: open_engine(stage) for stage in bundle.recipe.running_stages})
    check = agreement("labels", result.mask, trace.mask, limits)
    yield check._replace(torch_ms=sum(trace.timings.values()), engine_ms=result.timings["total"])


def _masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield _segment(Manifest.bare(networks.recipe, networks.dimensions), trace, sessions).mask, trace.mask


def _segment(manifest: Manifest, trace: Any, sessions: Mapping[str, Session]) -> Result:
    with DenseSegmenter(manifest, sessions) as segmenter:
        return segmenter.segment(trace.photo, trace.vocabulary)


FAMILY = Family(
    makers=_makers,
    sizes=_sizes,
    reference=DenseReference,
    trace=trace_photo,
    prove=_prove,
    masks=_masks,
    check=_check,
    write_text=_write_text,
)
