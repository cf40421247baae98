"""EfficientViT-SAM's image encoder: convolutions, and in the last stage attention that is linear in the tokens.

Zhang et al., EfficientViT-SAM: Accelerated Segment Anything Model Without Performance Loss, 2024; Cai et al.,
EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction, ICCV 2023. The names are those of
`efficientvit_sam_l0.pt`. All norms have an epsilon of 1e-6, as the authors' zoo sets it: with PyTorch's own, 1e-5, a
checkpoint loads without a word and gives other features.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from torch import nn

EPS = 1e-6
"""Of every norm."""

TINY = 1e-15
"""The least that the linear attention divides by. Half precision has no such number."""


class EfficientViTSizes(NamedTuple):
    """Sizes of an image encoder; those of L0 by default."""

    side: int = 512
    """Side of the image, in pixels; each of five stages halves it."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    depths: tuple[int, ...] = (1, 1, 1, 4, 4)
    """Blocks of a stage beside that which halves the grid."""
    head: int = 32
    """Width of a head of attention."""
    neck: int = 256
    """Width of the neck."""
    neck_depth: int = 4
    grid: int = 64
    """Features along a side."""
    channels: int = 256


def convolution(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, norm: bool = True, act: bool = True
) -> nn.Sequential:
    """A convolution with a norm, or else with a bias, and GELU, by tanh as the authors have it."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=not norm)
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
    if norm:
        parts["norm"] = nn.BatchNorm2d(outputs, eps=EPS)
    if act:
        parts["act"] = nn.GELU(approximate="tanh")
    return nn.Sequential(parts)


def listed(*parts: nn.Module) -> nn.Sequential:
    """Modules in turn, under the name that the authors give a list of them."""
    return nn.Sequential(OrderedDict(op_list=nn.Sequential(*parts)))


class Residual(nn.Module):
    """x + main(x)."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape → the same."""
        return x + self.main(x)


def residual_pair(width: int) -> nn.Module:
    """Two convolutions of 3 × 3 and a residual."""
    pair: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=convolution(width, width, 3), conv2=convolution(width, width, 3, act=False)
    )
    return Residual(nn.Sequential(pair))


def fused(inputs: int, outputs: int, expansion: int, stride: int = 1) -> nn.Module:
    """3 × 3 to a larger width, and back by 1 × 1."""
    wide = inputs * expansion
    spatial = convolution(inputs, wide, 3, stride=stride)
    return nn.Sequential(OrderedDict(spatial_conv=spatial, point_conv=convolution(wide, outputs, act=False)))


def inverted(inputs: int, outputs: int, expansion: int, stride: int = 1) -> nn.Module:
    """1 × 1 to a larger width, 3 × 3 depthwise, and back by 1 × 1; the norm at the end is the only one."""
    wide = inputs * expansion
    return nn.Sequential(
        OrderedDict(
            inverted_conv=convolution(inputs, wide, norm=False),
            depth_conv=convolution(wide, wide, 3, stride=stride, groups=wide, norm=False),
            point_conv=convolution(wide, outputs, act=False),
        )
    )


class LinearAttention(nn.Module):
    """Attention with ReLU in the softmax's place: keys and values are multiplied first, so it is linear in the tokens.

    Half of the heads see queries, keys and values as they are, half see them gathered from 5 × 5 around.
    """

    def __init__(self, width: int, head: int, around: int = 5) -> None:
        super().__init__()
        self.head, heads, all_three = head, width // head, 3 * (width // head * head)
        self.qkv = nn.Sequential(OrderedDict(conv=nn.Conv2d(width, all_three, 1, bias=False)))
        gathered = nn.Conv2d(all_three, all_three, around, padding=around // 2, groups=all_three, bias=False)
        mixed = nn.Conv2d(all_three, all_three, 1, groups=3 * heads, bias=False)
        self.aggreg = nn.ModuleList([nn.Sequential(gathered, mixed)])
        self.proj = convolution(2 * heads * head, width, act=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, h, w] → the same."""
        near = self.qkv(x)
        both = torch.cat([near, self.aggreg[0](near)], dim=1)
        queries, keys, values = both.flatten(2).unflatten(1, (-1, 3, self.head)).unbind(2)  # [1, heads, d, N]
        keys = F.relu(keys).transpose(2, 3)
        sums = keys.sum(dim=2, keepdim=True)  # [1, heads, 1, d]
        queries = F.relu(queries)
        shares = (sums @ queries).clamp(min=TINY)  # none is negative; an addition so small would be dropped at export
        attended = (values @ keys) @ queries / shares
        return self.proj(attended.flatten(1, 2).unflatten(2, x.shape[2:]))


def attending(width: int, head: int, expansion: int) -> nn.Module:
    """Linear attention and an inverted bottleneck, each with a residual."""
    local = Residual(inverted(width, width, expansion))
    return nn.Sequential(
        OrderedDict(context_module=Residual(LinearAttention(width, head)), local_module=local)
    )  # fmt: skip


class Cubic(nn.Module):
    """A square enlarged by cubic interpolation: a matrix for each axis, since TensorRT has no such resize."""

    matrix: torch.Tensor

    def __init__(self, side: int, larger: int) -> None:
        super().__init__()
        unit = torch.eye(side)[None, None]
        rows = F.interpolate(unit, (larger, side), mode="bicubic", align_corners=False)[0, 0]
        self.register_buffer("matrix", rows, persistent=False)  # [larger, side]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, C, side, side] → [1, C, larger, larger]."""
        return self.matrix @ x @ self.matrix.T


class Neck(nn.Module):
    """The last three stages at one size and width, added up, then blocks on the sum."""

    def __init__(self, sizes: EfficientViTSizes) -> None:
        super().__init__()
        stages = [(sizes.widths[index], sizes.side >> (index + 1)) for index in (4, 3, 2)]
        self.input_ops = nn.ModuleList(
            [
                listed(convolution(width, sizes.neck, act=False), *([Cubic(side, sizes.grid)] * (side != sizes.grid)))
                for width, side in stages
            ]
        )
        self.middle = listed(*(Residual(fused(sizes.neck, sizes.neck, 1)) for _ in range(sizes.neck_depth)))
        self.output_ops = nn.ModuleList([listed(convolution(sizes.neck, sizes.channels, norm=False, act=False))])

    def forward(self, stages: list[torch.Tensor]) -> torch.Tensor:
        """The outputs of all stages → [1, C, g, g]."""
        joined = [take(stage) for take, stage in zip(self.input_ops, stages[:-4:-1], strict=True)]
        features: torch.Tensor = self.output_ops[0](self.middle(joined[0] + joined[1] + joined[2]))
        return features


class EfficientViT(nn.Module):
    """EfficientViT-SAM's image encoder."""

    def __init__(self, sizes: EfficientViTSizes = EfficientViTSizes()) -> None:  # noqa: B008 (it cannot be changed)
        super().__init__()
        self.img_size = sizes.side
        self.backbone = nn.ModuleDict({"stages": nn.ModuleList(_stages(sizes))})
        self.neck = Neck(sizes)
        self.norm = LayerNorm2d(sizes.channels, eps=EPS)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """A normalised image [1, 3, S, S] to features [1, 256, g, g]."""
        outputs = [image]
        for stage in self.backbone["stages"]:  # type: ignore[attr-defined]  # a list of modules
            outputs.append(stage(outputs[-1]))
        features: torch.Tensor = self.norm(self.neck(outputs))
        return features


def _stages(sizes: EfficientViTSizes) -> list[nn.Module]:
    """Five stages, each a step to half the grid and some blocks."""
    widths, head = sizes.widths, sizes.head
    steps = (
        convolution(3, widths[0], 3, stride=2),
        _step(fused(widths[0], widths[1], 16, 2)),
        _step(fused(widths[1], widths[2], 16, 2)),
        _step(inverted(widths[2], widths[3], 16, 2)),
        _step(inverted(widths[3], widths[4], 24, 2)),
    )
    blocks = (
        residual_pair,
        lambda width: Residual(fused(width, width, 4)),
        lambda width: Residual(fused(width, width, 4)),
        lambda width: Residual(inverted(width, width, 4)),
        lambda width: attending(width, head, 6),
    )
    made = zip(steps, blocks, widths, sizes.depths, strict=True)
    return [listed(step, *(block(width) for _ in range(depth))) for step, block, width, depth in made]


def _step(main: nn.Module) -> nn.Module:
    """A block without residual, under the name of one that has it."""
    return nn.Sequential(OrderedDict(main=main))
