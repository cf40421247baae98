"""The PyTorch side of the prompting pipeline, declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ....runtime.backends.base import Session
from ....runtime.bundle.bundle import Bundle
from ....runtime.geometry.dimensions import SamDimensions
from ....runtime.pipelines.promptable.interactive import Prompter
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ..checks import Check, Limits
from ..family import Family, Opener
from ..networks import Networks
from ..promptable import sam_image, sam_prompt_decoder
from ..promptable.prompts import prove_prompts
from ..promptable.sizes import sam_sizes
from .reference import PromptReference, masks_of, trace_photo


def _prove(bundle: Bundle, networks: Networks, trace: Any, open_engine: Opener, limits: Limits) -> Iterator[Check]:
    """Prompts of all kinds as SamPredictor answers them, where the bundle holds both stages."""
    if not bundle.missing_stages():
        yield from prove_prompts(bundle, open_engine, trace.photo, trace.prompts, limits)


def _masks(networks: Networks, trace: Any, sessions: Mapping[str, Session]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All masks of all prompts."""
    prompter = Prompter(networks.dimensions, sessions[ENCODER], sessions[PROMPT_DECODER], networks.recipe.parameters)
    encoded, prompts = prompter.encode(trace.photo), list(trace.prompts.prompts.values())
    came = {many: encoded.predict_many(prompts, multimask=many) for many in (False, True)}
    names = {name: index for index, name in enumerate(trace.prompts.prompts)}
    ours = {(name, many): came[many][names[name]] for name, many in trace.prompts.answers}
    yield masks_of(ours), masks_of(trace.prompts.answers)


FAMILY = Family(
    makers=lambda networks: {ENCODER: sam_image.MAKER, PROMPT_DECODER: sam_prompt_decoder.MAKER},
    sizes=lambda networks: SamDimensions(**sam_sizes(networks.models["sam"])),
    reference=PromptReference,
    trace=trace_photo,
    prove=_prove,
    masks=_masks,
)
