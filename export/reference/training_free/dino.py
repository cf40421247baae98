"""`dino`: windows to unit features, which say what belongs together.

DINO is what the methods were made with; DINOv2, DINOv3 and SAM's encoder can take its place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from ....runtime.errors import RecipeError
from ..embed import Normalise, Upstream, resample_positions
from ..maker import StageMaker
from .tensors import PROXY, dino_features, mean_similarity, windows


class VitTokens(nn.Module):
    """Patch tokens of a timm ViT after its final norm, without class and register tokens.

    Positions are learned embeddings, resampled for the crop (DINO, DINOv2), or rotary (DINOv3).
    """

    positions: torch.Tensor
    rotary: torch.Tensor

    def __init__(self, vit: Upstream, crop: int) -> None:
        super().__init__()
        self.vit: Upstream = vit
        patch = vit.patch_embed.patch_size[0]
        if crop % patch:
            raise RecipeError(f"crop={crop} must be a multiple of the patch of the dino model, {patch}")
        self.grid = (crop // patch, crop // patch)
        self.width: int = vit.embed_dim
        rotary = getattr(vit, "rope", None)
        if vit.pos_embed is not None:
            prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
            self.register_buffer("positions", resample_positions(vit.pos_embed[0], self.grid, prefix))
        self.rotates = rotary is not None
        if rotary is not None:
            self.register_buffer("rotary", rotary.get_embed(shape=list(self.grid)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] normalised → [B, h·w, C]."""
        vit = self.vit
        x = vit.patch_embed.proj(images).flatten(2).transpose(1, 2)
        embedded = vit.pos_embed is not None
        if embedded and vit.no_embed_class:
            x = x + self.positions
        prefix = [token for token in (vit.cls_token, getattr(vit, "reg_token", None)) if token is not None]
        x = torch.cat([*(token.expand(x.shape[0], -1, -1) for token in prefix), x], dim=1)
        if embedded and not vit.no_embed_class:
            x = x + self.positions
        x = vit.norm_pre(x)
        extras = {"rope": self.rotary} if self.rotates else {}
        for block in vit.blocks:
            x = block(x, **extras)
        tokens: torch.Tensor = vit.norm(x)[:, vit.num_prefix_tokens :]
        return tokens


class SamTokens(nn.Module):
    """SAM's image features of a window enlarged to SAM's own size, as ProxyCLIP's code uses them."""

    def __init__(self, sam: Upstream, crop: int) -> None:
        super().__init__()
        self.encoder: Upstream = sam.image_encoder
        self.side: int = sam.image_encoder.img_size
        self.grid: tuple[int, int] = tuple(sam.prompt_encoder.image_embedding_size)
        self.width: int = sam.prompt_encoder.embed_dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] normalised → [B, h·w, C]. SAM's normalisation is ImageNet's."""
        enlarged = F.interpolate(images, (self.side, self.side), mode="bilinear", align_corners=False)
        tokens: torch.Tensor = self.encoder(enlarged).flatten(2).transpose(1, 2)
        return tokens


EXTRACTORS: dict[str, Callable[[Upstream, int], nn.Module]] = {
    "VisionTransformer": VitTokens,
    "Eva": VitTokens,
    "Sam": SamTokens,
}
"""By the class of the model: what makes tokens of normalised windows; has `grid` and `width`."""


class Dino(nn.Module):
    """An extractor's patch tokens, at unit length."""

    def __init__(self, model: Upstream, crop: int) -> None:
        super().__init__()
        self.normalise = Normalise(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        extractor: Upstream = EXTRACTORS[type(model).__name__](model, crop)
        self.extractor: Upstream = extractor
        self.grid: tuple[int, int] = extractor.grid
        self.width: int = extractor.width

    def tokens(self, windows: torch.Tensor) -> torch.Tensor:
        """[B, 3, c, c] RGB in [0, 1] → [B, h·w, C], not at unit length."""
        tokens: torch.Tensor = self.extractor(self.normalise(windows))
        return tokens

    def forward(self, windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows to features and mean similarities.

        Args:
            windows: [B, 3, c, c] RGB in [0, 1].

        Returns:
            features [B, C, h, w], unit length over C; and per window the mean over all pairs of their cosine
            similarities, [B]: since mean_ij f_i · f_j = ‖mean_i f_i‖², it needs no matrix.
        """
        tokens = F.normalize(self.tokens(windows), dim=-1)
        mean_similarity = tokens.mean(dim=1).square().sum(dim=-1)
        features = tokens.transpose(1, 2).unflatten(2, self.grid)
        return features, mean_similarity


MAKER = StageMaker(
    module=lambda networks: Dino(networks.models[PROXY], networks.recipe.parameters.crop),
    inputs=lambda networks: (windows(networks),),
    outputs=lambda networks: (dino_features(networks), mean_similarity()),
)
