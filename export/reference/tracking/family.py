"""The PyTorch side of the tracking pipeline, declared."""

from __future__ import annotations

from ....runtime.errors import ExportError
from ....runtime.pipelines.promptable.stages import ENCODER, PROMPT_DECODER
from ....runtime.pipelines.tracking.sizes import TrackingDimensions
from ....runtime.pipelines.tracking.stages import MEMORY_ATTENTION, MEMORY_ENCODER, TRACK_DECODER
from ..family import Family
from ..networks import Networks
from ..promptable import sam_image, sam_prompt_decoder
from ..promptable.sizes import sam_sizes
from . import decoder, memory
from .reference import TrackReference, masks, prove, trace_photo


def _sizes(networks: Networks) -> TrackingDimensions:
    sam = networks.models["sam"]
    kernel = sam.mask_downsample
    return TrackingDimensions(
        **sam_sizes(sam), mask_kernel=tuple(kernel.weight.detach().flatten().tolist()), mask_bias=kernel.bias.item()
    )


def _check(networks: Networks) -> None:
    """Refuse a model without a memory.

    Raises:
        ExportError: it has none.
    """
    if not hasattr(networks.models["sam"], "memory_attention"):
        raise ExportError(f"sam model {networks.recipe.models['sam'].model!r} has no memory to track with")


FAMILY = Family(
    makers=lambda networks: {
        ENCODER: sam_image.MAKER,
        MEMORY_ATTENTION: memory.ATTENTION_MAKER,
        TRACK_DECODER: decoder.MAKER,
        MEMORY_ENCODER: memory.ENCODER_MAKER,
        PROMPT_DECODER: sam_prompt_decoder.MAKER,
    },
    sizes=_sizes,
    reference=TrackReference,
    trace=trace_photo,
    prove=prove,
    masks=masks,
    check=_check,
)
