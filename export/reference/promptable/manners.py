"""The mask decoders' manners, as rows: how each is asked in an engine, and which of its masks is the single one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from ..embed import Upstream
from .sam2_predictor import MARGIN, STABLE

Answers = tuple[torch.Tensor, torch.Tensor]
"""Low-resolution logits [R, M, m, m] and IoU estimates [R, M], the single mask first."""

Ask = Callable[[Upstream, Sequence[torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor], Answers]
"""Takes a decoder, the photo's features, positions, sparse tokens and dense prompts."""


class Manner(NamedTuple):
    """One row."""

    own_tokens: int
    """Tokens that stand before those of the masks."""
    pads_boxes: bool
    """Whether "not a point" stands behind boxes too."""
    ask: Ask
    ask_one: Ask
    """The same for the single mask alone, M = 1."""
    lean: Callable[[Upstream], Upstream] = lambda decoder: decoder
    """What `ask_one` is asked of: a decoder that makes no more masks than that takes."""


def _ask_sam(
    decoder: Upstream,
    features: Sequence[torch.Tensor],
    positions: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
) -> Answers:
    masks, iou = decoder.predict_masks(
        image_embeddings=features[0],
        image_pe=positions,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )
    return masks, iou


def _ask_sam_once(decoder: Upstream, *given: object) -> Answers:
    masks, iou = _ask_sam(decoder, *given)  # type: ignore[arg-type]  # as they came
    return masks, iou[:, :1]


def _first_alone(decoder: Upstream) -> Upstream:
    """All tokens still attend; masks are made of the first."""
    lean = copy.copy(decoder)
    lean.num_mask_tokens = 1
    return lean


def _ask_sam2(
    decoder: Upstream,
    features: Sequence[torch.Tensor],
    positions: torch.Tensor,
    sparse: torch.Tensor,
    dense: torch.Tensor,
) -> Answers:
    masks, iou, _ = decoder.answer(features, positions, sparse, dense)
    single, estimate = _stable_or_best(masks, iou)
    return torch.cat([single, masks[:, 1:]], dim=1), torch.cat([estimate, iou[:, 1:]], dim=1)


def _ask_sam2_once(decoder: Upstream, *given: object) -> Answers:
    masks, iou, _ = decoder.answer(*given)
    return _stable_or_best(masks, iou)


def _stable_or_best(masks: torch.Tensor, iou: torch.Tensor) -> Answers:
    """The first mask where it is stable, else the best of the others: [R, 1, m, m], [R, 1].

    Written for engines: areas are shares of the square, since half precision cannot count to its 65,536 pixels (in
    float32 both are exact); and the best is found by comparing one after another.
    """
    inner, outer = ((masks[:, :1] > bound).float().mean(dim=(2, 3)) for bound in (MARGIN, -MARGIN))
    empty = outer <= 0
    share = torch.where(empty, 1.0, inner / torch.where(empty, 1.0, outer))
    stable = share >= STABLE
    best, estimate = masks[:, 1:2], iou[:, 1:2]
    for index in range(2, masks.shape[1]):
        better = iou[:, index : index + 1] > estimate
        best = torch.where(better[..., None, None], masks[:, index : index + 1], best)
        estimate = torch.where(better, iou[:, index : index + 1], estimate)
    chosen = torch.where(stable[..., None, None], masks[:, :1], best)
    return chosen, torch.where(stable, iou[:, :1], estimate)


SAM = Manner(own_tokens=1, pads_boxes=False, ask=_ask_sam, ask_one=_ask_sam_once, lean=_first_alone)
SAM2 = Manner(own_tokens=2, pads_boxes=True, ask=_ask_sam2, ask_one=_ask_sam2_once)

MANNERS = {"Sam2MaskDecoder": SAM2}
"""By the class of the mask decoder; others have SAM's."""


def manner_of(sam: Upstream) -> Manner:
    """How a promptable model's decoder is asked."""
    return MANNERS.get(type(sam.mask_decoder).__name__, SAM)
