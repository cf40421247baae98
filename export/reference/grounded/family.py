"""The PyTorch side of the grounded pipeline, declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.answers.result import Result
from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle, Manifest
from ....runtime.geometry.overlap import mask_iou
from ....runtime.pipelines.grounded.models import row_of
from ....runtime.pipelines.grounded.segmenter import GroundedSegmenter
from ....runtime.pipelines.grounded.sizes import GroundedDimensions
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ..checks import Check, Limits, labels_check
from ..family import Family, Opener
from ..maker import StageMaker
from ..networks import Networks
from ..promptable import sam_image, sam_prompt_decoder
from ..promptable.prompts import prove_prompts
from ..promptable.sizes import sam_sizes
from .kinds import Kind
from .reference import GroundedReference, trace_photo
from .registry import KINDS


def _kind(networks: Networks) -> Kind:
    return KINDS[row_of(networks.recipe).kind]


def _makers(networks: Networks) -> Mapping[str, StageMaker]:
    own = _kind(networks).makers(networks)
    return {**own, ENCODER: sam_image.MAKER, PROMPT_DECODER: sam_prompt_decoder.MAKER}


def _sizes(networks: Networks) -> GroundedDimensions:
    return GroundedDimensions(**sam_sizes(networks.models["sam"]), **_kind(networks).sizes(networks))


def _write_text(networks: Networks, path: Path) -> tuple[str, ...]:
    return _kind(networks).write_text(networks, path)


def _embed_word(networks: Networks, bundle: Bundle, word: str, templates: Sequence[str]) -> np.ndarray:
    return _kind(networks).embed_word(networks, bundle, word, templates)


def _prove(bundle: Bundle, networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Iterator[Check]:
    """The labels and the things of the whole pipeline, and prompts, where the bundle holds all of it."""
    if bundle.missing_stages():
        return
    result = _segment(bundle.manifest, trace, {stage: open_engine(stage) for stage in bundle.recipe.running_stages})
    yield labels_check(result, trace, limits)
    yield from things_check(result, trace, limits)
    yield from prove_prompts(bundle, open_engine, trace.photo, trace.prompts, limits)


def things_check(result: Result, trace: Any, limits: Limits) -> Iterator[Check]:
    """Every thing of the reference against the engines' of the same class that covers most of it, as a set."""
    came = [(each.class_index, each.mask.decode()) for each in result.instances()]
    wanted = [(int(number), mask) for number, mask in zip(trace.found.classes, trace.masks, strict=True) if mask.any()]
    if not wanted:
        yield Check("pipeline", "no thing", {"came": float(len(came))}, "none comes of the engines either", not came)
        return
    shares = [max((mask_iou(mask, other) for k, other in came if k == number), default=0.0) for number, mask in wanted]
    same = min(len(came), len(wanted)) / max(len(came), len(wanted))
    share = float(np.mean(shares)) * same
    told = f"mean IoU × share of the count ≥ {limits.labels:g}"
    yield Check("pipeline", f"{len(wanted)} things", {"agreement": share}, told, share >= limits.labels)


def _masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield _segment(Manifest.bare(networks.recipe, networks.dimensions), trace, sessions).mask, trace.mask


def _segment(manifest: Manifest, trace: Any, sessions: Mapping[str, Session]) -> Result:
    with GroundedSegmenter(manifest, sessions) as segmenter:
        return segmenter.segment(trace.photo, trace.vocabulary)


FAMILY = Family(
    makers=_makers,
    sizes=_sizes,
    reference=GroundedReference,
    trace=trace_photo,
    prove=_prove,
    masks=_masks,
    embed_word=_embed_word,
    write_text=_write_text,
)
