"""The PyTorch side of the training-free pipeline, declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....runtime.answers.result import Result
from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle, Manifest
from ....runtime.errors import ExportError, RecipeError
from ....runtime.geometry.dimensions import Dimensions
from ....runtime.pipelines.promptable.stages import DECODER, PROMPT_DECODER
from ....runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from ....runtime.pipelines.training_free.stages import CLIP, DINO, HEAD, LAYERS, SAM
from ....runtime.pipelines.worded.stages import TEXT
from ...models.text_assets import imagenet_templates, write_tokenizer
from ..checks import Check, Limits
from ..embed import Upstream
from ..family import Family, Opener
from ..maker import StageMaker
from ..networks import Networks
from ..promptable import sam_decoder, sam_image, sam_prompt_decoder
from ..promptable.prompts import prove_prompts
from ..promptable.refinement import compare_masks
from ..promptable.sizes import sam_sizes
from ..text_encoder import text_maker
from . import calibrated, clip_image, clip_layers, dino, head, sam_encoder
from .pipeline import Reference
from .tracing import Traced, trace_photo

TOWERS = {"path": clip_image.MAKER, "calibrated": calibrated.MAKER}
"""CLIP's image tower by the methods table's name."""


def _makers(networks: Networks) -> Mapping[str, StageMaker]:
    return {
        TEXT: text_maker(lambda networks: networks.models["clip"]),
        DINO: dino.MAKER,
        CLIP: TOWERS[networks.row.tower],
        SAM: sam_encoder.MAKER if networks.row.affinity else sam_image.MAKER,
        HEAD: head.MAKER,
        DECODER: sam_decoder.MAKER,
        PROMPT_DECODER: sam_prompt_decoder.MAKER,
        LAYERS: clip_layers.MAKER,
    }


def _sizes(networks: Networks) -> Dimensions:
    """Rows and columns of a window's features are the extractor's, or CLIP's patches without one."""
    clip, sam = networks.models["clip"], networks.models.get("sam")
    side = networks.recipe.parameters.crop // clip.visual.patch_size[0]
    return Dimensions(
        clip_patch=clip.visual.patch_size[0],
        feature_grid=networks.modules[DINO].grid if networks.row.proxy else (side, side),
        embedding=clip.visual.output_dim,
        context_length=clip.context_length,
        **(sam_sizes(sam) if sam is not None else {}),
    )


def _check(networks: Networks) -> None:
    """CLIP must be a plain vision transformer, and crop and layers must fit it.

    Raises:
        ExportError: it is another architecture.
        RecipeError: the crop or the layers do not fit.
    """
    parameters, clip = networks.recipe.parameters, networks.models["clip"]
    visual: Upstream = getattr(clip, "visual", None)
    needed = ("conv1", "positional_embedding", "transformer", "ln_post", "proj")
    missing = [name for name in needed if getattr(visual, name, None) is None]
    if missing or getattr(visual, "attn_pool", None) is not None:
        raise ExportError(
            f"clip model {networks.recipe.models['clip'].model!r} is not a plain CLIP vision transformer "
            f"({', '.join(missing) or 'it has a pooling of its own'}); choose a ViT such as ViT-B-16-quickgelu"
        )
    patch, depth = visual.patch_size[0], len(visual.transformer.resblocks)
    if parameters.crop % patch:
        raise RecipeError(f"crop={parameters.crop} must be a multiple of CLIP's patch, {patch}")
    if any(layer >= depth for layer in parameters.similarity_layers):
        raise RecipeError(
            f"similarity_layers={list(parameters.similarity_layers)}: blocks are counted from 1, and the last that can "
            f"be used of this CLIP's {depth} is {depth - 1}"
        )


def _write_text(networks: Networks, path: Path) -> tuple[str, ...]:
    write_tokenizer(path, networks.models["clip"].vocab_size)
    return imagenet_templates()


def _prove(bundle: Bundle, networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Iterator[Check]:
    """Prompts as SamPredictor answers them, then the masks of the whole pipeline, where the bundle holds all of it."""
    if trace.prompts is not None and SAM in bundle.manifest.stages:
        yield from prove_prompts(bundle, open_engine, trace.photo, trace.prompts, limits)
    if bundle.missing_stages():
        return
    sessions = {stage: open_engine(stage) for stage in bundle.recipe.running_stages}
    yield from compare_masks(trace, _segment(bundle.manifest, trace, sessions), limits)


def _masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    result = _segment(Manifest.bare(networks.recipe, networks.dimensions), trace, sessions)
    yield result.mask, trace.mask
    yield result.coarse_mask, trace.coarse


def _segment(manifest: Manifest, trace: Traced, sessions: Mapping[str, Session]) -> Result:
    with TrainingFreeSegmenter(manifest, sessions) as segmenter:
        return segmenter.segment(trace.photo, trace.vocabulary, parameters=trace.overrides)


FAMILY = Family(
    makers=_makers,
    sizes=_sizes,
    reference=Reference,
    trace=trace_photo,
    prove=_prove,
    masks=_masks,
    check=_check,
    write_text=_write_text,
)
