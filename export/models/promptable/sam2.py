"""SAM 2's image side around an image encoder: a neck of three sizes, and SAM's decoder with high-resolution features.

Prompt encoder, transformer and the decoder's frame are segment_anything's own; what SAM 2 changes is here. The names
are those of the published checkpoints, which hold the memory for videos too: `MEMORY` names it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.mask_decoder import MLP
from torch import nn

from .hiera import Hiera, HieraSizes
from .sam import SMALLEST, DecoderSizes

RELEASE = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/{}.pt"

MEMORY = (
    "memory_attention.",
    "memory_encoder.",
    "spatial_perceiver.",
    "mask_downsample.",
    "obj_ptr_proj.",
    "obj_ptr_tpos_proj.",
    "maskmem_tpos_enc",
    "no_mem_pos_enc",
    "no_obj_ptr",
    "no_obj_embed_spatial",
)
"""Beginnings of the names of tensors that only videos need. A checkpoint may hold them; the image side leaves them."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels from 0 to 1."""


class Neck(nn.Module):
    """Every stage at one width; a sixteenth gets the coarsest stage's, enlarged, added."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_named(nn.Conv2d(width, channels, 1)) for width in widths[::-1])

    def forward(self, stages: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Stages at S/4, S/8, S/16 and S/32 → [1, C, S/4, S/4], [1, C, S/8, S/8], [1, C, S/16, S/16]."""
        coarsest, coarse, *fine = (conv(stage) for conv, stage in zip(self.convs, stages[::-1], strict=True))
        coarse = coarse + F.interpolate(coarsest, scale_factor=2.0, mode="nearest")
        return (*fine[::-1], coarse)


def _named(conv: nn.Conv2d) -> nn.Sequential:
    """A convolution under the name that the authors give it."""
    return nn.Sequential(OrderedDict(conv=conv))


class Sam2Encoder(nn.Module):
    """An image encoder and its neck.

    Attributes:
        img_size: side of the image, in pixels.
    """

    def __init__(self, trunk: nn.Module, side: int, channels: int) -> None:
        super().__init__()
        self.img_size = side
        self.trunk = trunk
        self.neck = Neck(trunk.widths, channels)  # type: ignore[arg-type]  # our own encoders' have them

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A normalised image [1, 3, S, S] → features [1, C, s, s] of s = S/4, S/8 and S/16."""
        maps: tuple[torch.Tensor, ...] = self.neck(self.trunk(image))
        return maps


class Sam2PromptEncoder(PromptEncoder):
    """SAM's prompt encoder, for which a box is two points."""

    def _embed_points(self, points: torch.Tensor, labels: torch.Tensor, pad: bool) -> torch.Tensor:
        """Points [R, N, 2], x y in the square's pixels, labelled -1 to 3 [R, N] → tokens [R, N, C], one more padded."""
        tokens = super()._embed_points(points, labels, pad)
        for corner in (2, 3):
            tokens[:, : labels.shape[1]][labels == corner] += self.point_embeddings[corner].weight
        return tokens


class Layers(nn.Module):
    """Two layers with ReLU between; segment_anything has them under other names."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, width)])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[R, N, C] → the same."""
        return self.layers[1](self.layers[0](tokens).relu())


class Sam2MaskDecoder(MaskDecoder):
    """SAM's mask decoder with high-resolution features, and a token that tells whether there is an object."""

    def __init__(self, sizes: DecoderSizes) -> None:
        width = sizes.channels
        transformer = TwoWayTransformer(depth=2, embedding_dim=width, num_heads=sizes.heads, mlp_dim=sizes.mlp)
        for layer in transformer.layers:
            layer.mlp = Layers(width, sizes.mlp)
        super().__init__(transformer_dim=width, transformer=transformer, iou_head_hidden_dim=sizes.iou)
        self.iou_prediction_head.sigmoid_output = True
        self.obj_score_token = nn.Embedding(1, width)
        self.pred_obj_score_head = MLP(width, width, 1, 3)
        self.conv_s0 = nn.Conv2d(width, width // 8, 1)
        self.conv_s1 = nn.Conv2d(width, width // 4, 1)

    def answer(
        self,
        features: Sequence[torch.Tensor],
        positions: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Prompts to all masks.

        Args:
            features: [1, C, g, g]; and of high resolution, [1, C/8, 4g, 4g] and [1, C/4, 2g, 2g].
            positions: [1, C, g, g], of the image.
            sparse: [R, N, C], the prompts' tokens.
            dense: [R, C, g, g], of the masks that were given.

        Returns:
            low-resolution logits [R, 4, 4g, 4g], IoU estimates [R, 4], and the logit that there is an object, [R, 1].
        """
        image, *finer = features
        # repeated, not broadcast: OpenVINO 2026.4 fuses the sum into the convolution behind `dense`, and fails at R > 1
        repeated = torch.repeat_interleave(image, sparse.shape[0], dim=0)
        masks, iou, score, _ = self.tell((repeated, *finer), positions, sparse, dense)
        return masks, iou, score

    def tell(
        self,
        features: Sequence[torch.Tensor],
        positions: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `answer`, with the masks' tokens [R, 4, C] beside; the features on the grid have a row for each prompt."""
        image, fine, middle = features
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        places = torch.repeat_interleave(positions, sparse.shape[0], dim=0)
        answers, seen_after = self.transformer(image + dense, places, tokens)
        grown = seen_after.transpose(1, 2).unflatten(2, image.shape[2:])
        first, norm, act, second, act_again = self.output_upscaling
        grown = act(norm(first(grown) + middle))
        grown = act_again(second(grown) + fine)
        of_masks = answers[:, 2 : 2 + self.num_mask_tokens]
        made = [mlp(token) for mlp, token in zip(self.output_hypernetworks_mlps, of_masks.unbind(1), strict=True)]
        masks = (torch.stack(made, dim=1) @ grown.flatten(2)).unflatten(2, grown.shape[2:])
        return masks, self.iou_prediction_head(answers[:, 1]), self.pred_obj_score_head(answers[:, 0]), of_masks


class Sam2(nn.Module):
    """SAM 2's image side: what its predictor for images needs.

    Attributes:
        stretch: the photo fills the square, each side resized by itself.
        logit_limit: its predictor tells low-resolution logits within ± this.
        mask_threshold: logits above it are of the mask.
    """

    stretch = True
    logit_limit = 32.0
    mask_threshold = 0.0
    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(self, trunk: nn.Module, sizes: DecoderSizes = DecoderSizes()) -> None:  # noqa: B008
        super().__init__()
        grid, square = (sizes.grid, sizes.grid), (sizes.frame, sizes.frame)
        self.image_encoder = Sam2Encoder(trunk, sizes.frame, sizes.channels)
        self.sam_prompt_encoder = Sam2PromptEncoder(sizes.channels, grid, square, mask_in_chans=16)
        self.sam_mask_decoder = Sam2MaskDecoder(sizes)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, sizes.channels))
        for name, values in (("pixel_mean", MEAN), ("pixel_std", STD)):
            self.register_buffer(name, 255 * torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def prompt_encoder(self) -> Sam2PromptEncoder:
        """The prompt encoder, by the name that it has in SAM."""
        return self.sam_prompt_encoder

    @property
    def mask_decoder(self) -> Sam2MaskDecoder:
        """The mask decoder, likewise."""
        return self.sam_mask_decoder

    @property
    def high_res_channels(self) -> tuple[int, int]:
        """Channels of the features at four and at two times the grid."""
        return self.sam_mask_decoder.conv_s0.out_channels, self.sam_mask_decoder.conv_s1.out_channels


SIZES = {
    "tiny": HieraSizes(),
    "small": HieraSizes(depths=(1, 2, 11, 2), everywhere=(7, 10, 13)),
    "base_plus": HieraSizes(width=112, heads=2, depths=(2, 3, 16, 3), everywhere=(12, 16, 20), background=14),
    "large": HieraSizes(width=144, heads=2, depths=(2, 6, 36, 4), everywhere=(23, 33, 43), windows=(8, 4, 16, 8)),
}
"""By the name of the published checkpoint."""

MICRO = HieraSizes(side=256, width=16, depths=(1, 2, 2, 1), everywhere=(4,), windows=(8, 4, 6, 3))
"""For tests: every kind of window, some of which reach over the grid."""


def build_sam2(sizes: HieraSizes) -> nn.Module:
    """SAM 2.1's image side as published."""
    return Sam2(Hiera(sizes))


def build_micro() -> nn.Module:
    """Its architecture at its smallest."""
    return Sam2(Hiera(MICRO), SMALLEST)
