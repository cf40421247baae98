"""SAM 2 and EdgeTAM for videos: image side and memory, under the names of the published checkpoints.

Each step is a method that is differentiable and takes all objects of a frame at once, so that training and engines
share it. The order of the steps is the tracker's (`runtime.pipelines.tracking`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling.mask_decoder import MLP
from torch import nn

from ..hiera import Hiera, HieraSizes
from ..repvit import RepViT, RepViTSizes
from ..sam import SMALLEST, DecoderSizes
from ..sam2 import MICRO, Sam2
from .attention import MemoryAttention, rows_of
from .encoder import MemoryEncoder
from .perceiver import Perceiver
from .positions import SineTimes, sine_places
from .sizes import MemorySizes

SCALE, BIAS = 20.0, -10.0
"""From a mask's probability to what its memory is made of."""

NOTHING = -1024.0
"""The logits of the mask of an object that is not there."""


class Answer(NamedTuple):
    """What the decoder says of the objects of a frame."""

    logits: torch.Tensor
    """[O, 4, 4g, 4g], the single mask first; `NOTHING` where there is no object."""
    iou: torch.Tensor
    """[O, 4]."""
    pointers: torch.Tensor
    """[O, 4, C]; that of no object, where there is none."""
    score: torch.Tensor
    """[O, 1], the logit that there is an object."""


class VideoSam2(Sam2):
    """SAM 2 with its memory."""

    image_places: torch.Tensor
    memory_places: torch.Tensor

    def __init__(
        self,
        trunk: nn.Module,
        sizes: DecoderSizes = DecoderSizes(),  # noqa: B008
        memory: MemorySizes = MemorySizes(),  # noqa: B008
    ) -> None:
        super().__init__(trunk, sizes)
        width, channels = memory.width, memory.channels
        self.memory_sizes = memory
        self.memory_attention = MemoryAttention(memory)
        self.memory_encoder = MemoryEncoder(channels, width)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(memory.frames, 1, 1, width))
        self.no_mem_pos_enc = nn.Parameter(torch.zeros(1, 1, channels))
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, channels))
        self.mask_downsample = nn.Conv2d(1, 1, 4, stride=4)
        self.obj_ptr_proj = MLP(channels, channels, channels, 3)
        if memory.timed_pointers:
            self.obj_ptr_tpos_proj = nn.Linear(channels, width)
        if memory.occlusion:
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, width))
        if memory.latents:
            self.spatial_perceiver = Perceiver(memory)
        self.times = SineTimes(channels)
        self.register_buffer("image_places", sine_places(channels, memory.grid), persistent=False)
        self.register_buffer("memory_places", memory_places(memory), persistent=False)

    def encode(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A photo [1, 3, S, S] RGB in [0, 255] → its bare features [1, C, g, g], and those at four and two times."""
        fine, middle, coarse = self.image_encoder((pixels - self.pixel_mean) / self.pixel_std)
        decoder = self.sam_mask_decoder
        return coarse, decoder.conv_s0(fine), decoder.conv_s1(middle)

    def unremembered(self, features: torch.Tensor) -> torch.Tensor:
        """Bare features [1, C, g, g] → those of a frame that reads no memory."""
        return features + self.no_mem_embed.view(1, -1, 1, 1)

    def recall(
        self,
        features: torch.Tensor,
        memory: torch.Tensor,
        ages: torch.Tensor,
        pointers: torch.Tensor,
        distances: torch.Tensor,
    ) -> torch.Tensor:
        """The features of a frame as each object's memory makes them.

        Args:
            features: [1, C, g, g], bare.
            memory: [O, M, T, D].
            ages: [M] int32, 0 of frames that were prompted.
            pointers: [O, P, C]; none on a frame that no prompt was given before.
            distances: [P] float32, in frames by 15 (or by one less than the video has, where it has fewer than 16).

        Returns:
            [O, C, g, g].
        """
        tokens = (features + 0.1 * self.image_places).flatten(2).transpose(1, 2)
        where = self.memory_places[:, None]  # [1, 1, T, D]
        when = rows_of(self.maskmem_tpos_enc.flatten(1), ages)[None, :, None]  # [1, M, 1, D]
        width = self.memory_sizes.width
        cut = self.memory_sizes.channels // width
        read = pointers.unflatten(2, (cut, width)).flatten(1, 2)
        told = self._when(distances)[:, None].expand(-1, cut, -1).flatten(0, 1)[None]
        seen = self.memory_attention(tokens, memory, where + when, read, told)
        out: torch.Tensor = seen.transpose(1, 2).unflatten(2, features.shape[2:])
        return out

    def _when(self, distances: torch.Tensor) -> torch.Tensor:
        """[P] → [P, D]."""
        if self.memory_sizes.timed_pointers:
            projected: torch.Tensor = self.obj_ptr_tpos_proj(self.times(distances))
            return projected
        return distances[:, None] * torch.zeros(1, self.memory_sizes.width)

    def remember(
        self, features: torch.Tensor, logits: torch.Tensor, binarise: torch.Tensor, score: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What a frame leaves behind of each object.

        Args:
            features: [1, C, g, g], bare.
            logits: [O, 1, h, w], the object's mask; it is resized to the image's size.
            binarise: [O] bool, whether only its sign counts, as on frames that were prompted.
            score: [O, 1], the logit that the object is there; read only where memories tell of occlusion.

        Returns:
            [O, T, D] float32: of each cell of the grid, or fewer (EdgeTAM). The loop rounds it to bfloat16.
        """
        side = self.image_encoder.img_size
        large = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        mask = torch.where(binarise[:, None, None, None], (large > 0).float(), large.sigmoid())
        memory = self.memory_encoder(features, mask * SCALE + BIAS)
        if self.memory_sizes.latents:
            read: torch.Tensor = self.spatial_perceiver(memory)
            return read
        memory = memory.flatten(2).transpose(1, 2)
        if self.memory_sizes.occlusion and score is not None:
            memory = memory + (score <= 0).float()[:, :, None] * self.no_obj_embed_spatial
        return memory

    def decode(
        self,
        features: torch.Tensor,
        high_res: Sequence[torch.Tensor],
        positions: torch.Tensor,
        sparse: torch.Tensor,
        dense: torch.Tensor,
    ) -> Answer:
        """The decoder on all objects of a frame.

        Args:
            features: [O, C, g, g], each object's own (`recall`, or `unremembered`).
            high_res: [1, C/8, 4g, 4g] and [1, C/4, 2g, 2g].
            positions: [1, C, g, g], the prompt encoder's of the image.
            sparse: [O, N, C], the prompts' tokens; at least two of "not a point" where nothing is said.
            dense: [O, C, g, g], of the masks that were given.
        """
        masks, iou, score, tokens = self.sam_mask_decoder.tell((features, *high_res), positions, sparse, dense)
        there = score > 0
        pointers = torch.where(there[..., None], self.obj_ptr_proj(tokens), self.no_obj_ptr)
        return Answer(torch.where(there[..., None, None], masks, NOTHING), iou, pointers, score)


def memory_places(sizes: MemorySizes) -> torch.Tensor:
    """Where the tokens of a memory lie: [1, T, D], 0 for those that lie nowhere."""
    grid = sine_places(sizes.width, sizes.placed).flatten(2).transpose(1, 2)
    return torch.cat([torch.zeros(1, sizes.latents, sizes.width), grid], dim=1)


def build_video(sizes: HieraSizes, **memory: Any) -> nn.Module:
    """SAM 2 for videos as published; SAM 2.0 has no `timed_pointers` and no `occlusion`."""
    return VideoSam2(Hiera(sizes), memory=MemorySizes(**memory))


OLDER = "https://dl.fbaipublicfiles.com/segment_anything_2/072824/{}.pt"
"""Address of SAM 2.0's published weights."""

OLD: Mapping[str, Any] = {"timed_pointers": False, "occlusion": False}
"""What SAM 2.0 has otherwise than 2.1."""


def build_micro_video() -> nn.Module:
    """The architecture at its smallest, on 256 pixels, for tests."""
    return VideoSam2(Hiera(MICRO), SMALLEST, MemorySizes(channels=64, grid=16, width=16, layers=2, mlp=64))


def build_tiny_video() -> nn.Module:
    """A miniature to be trained, on 128 pixels: a grid of 8 × 8, width 64, memories of 32 channels."""
    trunk = Hiera(HieraSizes(side=128, width=16, depths=(1, 2, 3, 1), everywhere=(4,), windows=(8, 4, 4, 4)))
    decoder = DecoderSizes(frame=128, grid=8, channels=64, heads=4, mlp=128, iou=64)
    return VideoSam2(trunk, decoder, MemorySizes(channels=64, grid=8, width=32, layers=2, mlp=128))


EDGE: Mapping[str, Any] = {**OLD, "layers": 2}
"""What EdgeTAM has otherwise, beside its perceiver."""


def build_edgetam_video() -> nn.Module:
    """EdgeTAM for videos as published."""
    return VideoSam2(RepViT(), memory=MemorySizes(**EDGE, latents=256, windows=16))


def build_micro_edgetam_video() -> nn.Module:
    """Its architecture at its smallest, on 256 pixels, for tests."""
    trunk = RepViT(RepViTSizes(widths=(8, 16, 24, 32), depths=(1, 1, 2, 1)))
    memory = MemorySizes(channels=64, grid=16, width=16, mlp=64, **EDGE, latents=8, windows=4)
    return VideoSam2(trunk, SMALLEST, memory)
