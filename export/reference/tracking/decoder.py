"""`sam_track_decoder`: SAM 2's decoder for objects whose features came through a memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ....runtime.pipelines.tracking.stages import GIVEN_EMPTY, NO_POINT
from ....runtime.stage.contract import TensorSpec
from ...models.promptable.memory.video import NOTHING
from ..embed import Upstream
from ..maker import StageMaker, tensor
from ..promptable.sam_prompt_decoder import SamPromptDecoder
from ..promptable.tensors import taken

if TYPE_CHECKING:
    from ..networks import Networks


class TrackDecoder(SamPromptDecoder):
    """Prompts of objects, or none, to masks, pointers and whether the objects are there.

    Padding, labelled -1, is left out of every attention as in `sam_prompt_decoder`. A point labelled -2 says nothing,
    and counts: SAM 2 has one where nobody prompts.
    """

    def __init__(self, sam: Upstream) -> None:
        super().__init__(sam)
        self.no_memory, self.no_pointer = sam.no_mem_embed, sam.no_obj_ptr
        self.project = sam.obj_ptr_proj

    def forward(  # type: ignore[override]  # another stage, with more inputs and outputs
        self,
        sam_features: torch.Tensor,
        points: torch.Tensor,
        labels: torch.Tensor,
        mask_prompts: torch.Tensor,
        has_mask: torch.Tensor,
        given: torch.Tensor,
        *high_res: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """One call.

        Args:
            sam_features: [O, C, g, g], behind the memory, or of a frame that reads none.
            points: [O, N, 2], x y in SAM's pixels.
            labels: [O, N] int32: as `sam_prompt_decoder`'s, and -2 for a point that says nothing.
            mask_prompts: [O, 1, 4g, 4g] logits.
            has_mask: [O] bool.
            given: [O] int32: 0 where a mask is asked for, 1 where it was given and only the pointer is, 2 where the
                given mask is empty. What a frame without memory adds to its features is taken off where it is not 0.
            *high_res: the frame's finer features.

        Returns:
            low-resolution logits [O, 4, 4g, 4g], IoU estimates [O, 4], pointers [O, 4, C], the logit that the object is
            there [O, 1].
        """
        told = (given > 0).float()[:, None, None, None]
        features = sam_features - told * self.no_memory.view(1, -1, 1, 1)
        tokens, counts = self._tokens(points, labels)
        kept = torch.cat([torch.ones_like(counts[:, :1]).expand(-1, self._own), counts], dim=1)
        self.bias.value = torch.where(kept, 0.0, -1e4)[:, None, None]
        dense = torch.where(
            has_mask[:, None, None, None],
            self.prompts.mask_downscaling(mask_prompts),
            self.prompts.no_mask_embed.weight[:, :, None, None],
        )
        answer = self.decoder.tell((features, *high_res), self.grid_positions, tokens, dense)
        masks, iou, score, read = answer
        self.bias.value = None
        there = score > 0
        pointed = there & (given != GIVEN_EMPTY)[:, None]
        pointers = torch.where(pointed[..., None], self.project(read), self.no_pointer)
        return torch.where(there[..., None, None], masks, NOTHING), iou, pointers, score

    @property
    def _own(self) -> int:
        return self.manner.own_tokens + int(self.decoder.num_mask_tokens)

    def _tokens(self, points: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [O, N + 1, C], the last one "not a point"; and which of them count, [O, N + 1] bool."""
        height, width = self.prompts.input_image_size
        scaled = (points + 0.5) / points.new_tensor([width, height])  # at pixel centres
        kinds = torch.cat([embedding.weight for embedding in self.prompts.point_embeddings])  # [4, C]
        placed = self.prompts.pe_layer._pe_encoding(scaled) + F.embedding(labels.clamp(min=0).long(), kinds)
        none = self.prompts.not_a_point_embed.weight
        tokens = torch.where((labels == NO_POINT)[..., None], none, placed)
        last = none.expand(points.shape[0], 1, -1)
        counts = labels != -1
        return torch.cat([tokens, last], dim=1), torch.cat([counts, torch.ones_like(counts[:, :1])], dim=1)


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    side, mask = networks.dimensions.frame_side, networks.dimensions.mask_side
    first, *finer = taken(networks)
    labels = "1 foreground, 0 background, 2 and 3 a box's corners, -1 padding, -2 nothing said"
    return (
        tensor("sam_features", ("R", *first.shape[1:]), "object, channel, y, x"),
        tensor("points", ("R", "N", 2), "object, point, x y in SAM's pixels", f"0 to {side}"),
        tensor("labels", ("R", "N"), "object, point", labels, "int32"),
        tensor("mask_prompts", ("R", 1, mask, mask), "object, mask, y, x", "logits"),
        tensor("has_mask", ("R",), "object", "true or false", "bool"),
        tensor("given", ("R",), "object", "0 asked, 1 a mask was given, 2 an empty one was", "int32"),
        *finer,
    )


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    mask, sam = networks.dimensions.mask_side, networks.models["sam"]
    return (
        tensor("low_res_logits", ("R", 4, mask, mask), "object, mask (the single one first), y, x"),
        tensor("iou", ("R", 4), "object, mask", "about 0 to 1"),
        tensor("pointers", ("R", 4, sam.prompt_encoder.embed_dim), "object, mask, channel"),
        tensor("object_score", ("R", 1), "object, one", "above 0 where it is there"),
    )


def _module(networks: Networks) -> nn.Module:
    return TrackDecoder(networks.models["sam"])


MAKER = StageMaker(module=_module, inputs=_inputs, outputs=_outputs)
