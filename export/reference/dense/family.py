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
from ....runtime.pipelines.dense.models import AGGREGATE, ESCNET, ROLE
from ....runtime.pipelines.dense.segmenter import DenseSegmenter
from ....runtime.pipelines.dense.sizes import DenseDimensions
from ....runtime.pipelines.dense.stages import ESCNET_BLOCKS, TOWER
from ....runtime.pipelines.promptable.stages import DECODER, ENCODER
from ....runtime.pipelines.worded.stages import TEXT
from ...models.text_assets import write_tokenizer
from ..checks import Check, Limits, labels_check
from ..family import Family, Opener
from ..maker import StageMaker
from ..networks import Networks
from ..promptable import sam_decoder, sam_image
from ..promptable.refinement import compare_masks
from ..promptable.sizes import sam_sizes
from ..text_encoder import text_maker
from . import aggregate, clip_dense, escnet
from .choices import CLOSE, choose
from .reference import DenseReference, trace_photo


def _makers(networks: Networks) -> Mapping[str, StageMaker]:
    text = text_maker(lambda networks: networks.models[ROLE].clip)
    heads = {AGGREGATE: aggregate.MAKER, ESCNET: escnet.MAKER, ESCNET_BLOCKS: escnet.BLOCKS_MAKER}
    of_sam = {ENCODER: sam_image.MAKER, DECODER: sam_decoder.MAKER}
    return {TEXT: text, TOWER: clip_dense.MAKER, **heads, **of_sam}


def _sizes(networks: Networks) -> DenseDimensions:
    model, sam = networks.models[ROLE], networks.models.get("sam")
    return DenseDimensions(
        crop_side=model.side,
        grid=model.sizes.grid,
        embedding=model.sizes.embedding,
        context_length=model.clip.context_length,
        most_words=model.sizes.most,
        **(sam_sizes(sam) if sam is not None else {}),
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
    """Choices of blocks on given prompts, and the labels of the whole pipeline, if the bundle holds what they need."""
    if ESCNET_BLOCKS in bundle.manifest.stages:
        yield _check_choices(networks, trace, open_engine, limits)
    if bundle.missing_stages():
        return
    result = _segment(bundle.manifest, trace, {stage: open_engine(stage) for stage in bundle.recipe.running_stages})
    if trace.settings.refine:
        yield from compare_masks(trace, result, limits)
    else:
        yield labels_check(result, trace, limits)


def _check_choices(networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Check:
    """Points and labels are equal wherever the choice was not close.

    Close is what rounding may change: in float32 `CLOSE`; in other precisions twice what the word's map is wrong by.
    """
    sizes = networks.models[ROLE].sizes.prompts
    feeds, expected = trace.case(ESCNET_BLOCKS)
    with open_engine(ESCNET_BLOCKS) as session:
        came = session.run(feeds)
    margins = np.array([[choose(each, sizes).margin for each in word] for word in expected["maps"]])  # [T, L]
    wrong = 2 * np.abs(came["maps"] - expected["maps"]).max(axis=(2, 3))
    clear = margins > (CLOSE if limits.exact else wrong)
    used = expected["labels"] > 0
    same = (came["labels"] == expected["labels"]) & ((came["points"] == expected["points"]).all(axis=3) | ~used)
    equal = same.all(axis=2)
    measures = {
        "agreement": float(equal[clear].mean()) if clear.any() else 0.0,
        "of_all": float(equal.mean()),
        "clear": float(clear.mean()),
        "margin": float(margins.min()),
    }
    told = f"all equal whose margin is over {f'{CLOSE:g}' if limits.exact else 'twice the error of their maps'}"
    return Check("pipeline", "prompts", measures, told, bool(clear.any() and equal[clear].all()))


def _masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield _segment(Manifest.bare(networks.recipe, networks.dimensions), trace, sessions).mask, trace.mask


def _segment(manifest: Manifest, trace: Any, sessions: Mapping[str, Session]) -> Result:
    with DenseSegmenter(manifest, sessions) as segmenter:
        return segmenter.segment(trace.photo, trace.vocabulary, parameters=trace.overrides)


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
