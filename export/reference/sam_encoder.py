"""`sam_encoder`: SAM's image features, and from its last attention the affinity between tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import add_decomposed_rel_pos
from torch import nn

from .embed import Normalise, Upstream

LARGEST_THRESHOLD = 0.9
NEGATIVE_THRESHOLD = 0.6


class SamImage(nn.Module):
    """SAM's image encoder, for methods that only refine."""

    def __init__(self, sam: Upstream) -> None:
        super().__init__()
        self.encoder: Upstream = sam.image_encoder
        self.normalise = Normalise(sam.pixel_mean.flatten().tolist(), sam.pixel_std.flatten().tolist())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image [1, 3, S, S] RGB in [0, 255], padded with the mean → features [1, 256, S/16, S/16]."""
        return self.encoder(self.normalise(image))


class SamEncoder(SamImage):
    """SAM's image encoder with Trident's affinity (Trident, equation 5).

    The last block is global. Its attention is computed head by head, so that it can be read: for each head, W is the
    attention and C the cosine similarity of the values; where C is above a threshold W is kept.
    """

    def forward(  # type: ignore[override]
        self, image: torch.Tensor, valid_tokens: torch.Tensor, *threshold: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image to features and affinity.

        Args:
            image: [1, 3, S, S] RGB in [0, 255], padded with the mean.
            valid_tokens: [N] float32, 1 inside the photo and 0 in the padding; N = (S/16)².
            *threshold: the affinity factor f, a scalar: thresholds are f times the mean similarity; and whether a
                negative threshold stands, a scalar bool: if not, it becomes 0.6. The attention alone takes neither.

        Returns:
            features [1, 256, S/16, S/16]; and the affinity [N, N], whose rows sum to 1 over valid tokens. Rows and
            columns of padding are 0.
        """
        encoder = self.encoder
        x = encoder.patch_embed(self.normalise(image))
        if encoder.pos_embed is not None:
            x = x + encoder.pos_embed
        for block in encoder.blocks[:-1]:
            x = block(x)
        block = encoder.blocks[-1]
        attended, affinity = self._attend(block.attn, block.norm1(x), valid_tokens, *threshold)
        x = x + attended
        x = x + block.mlp(block.norm2(x))
        return encoder.neck(x.permute(0, 3, 1, 2)), affinity

    def _attend(
        self, attention: Upstream, x: torch.Tensor, valid: torch.Tensor, *threshold: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """SAM's attention over [1, h, w, D], and the affinity [N, N] on the way."""
        h, w = x.shape[1:3]
        qkv = attention.qkv(x).reshape(h * w, 3, attention.num_heads, -1).permute(1, 2, 0, 3)
        queries, keys, values = qkv.unbind(0)  # [heads, N, d]
        alike = self._alike(values, valid, *threshold)
        outputs, kept = [], torch.zeros(h * w, h * w)
        for head, (q, k, v) in enumerate(zip(queries, keys, values, strict=True)):
            scores = (q * attention.scale) @ k.T
            if attention.use_rel_pos:
                scores = add_decomposed_rel_pos(
                    scores[None], q[None], attention.rel_pos_h, attention.rel_pos_w, (h, w), (h, w)
                )[0]
            weights = scores.softmax(dim=-1)
            outputs.append(weights @ v)
            kept = kept + (weights if alike is None else torch.where(alike(head), weights, 0.0))
        return attention.proj(torch.cat(outputs, dim=-1)).view(1, h, w, -1), row_stochastic(kept, valid)

    def _alike(
        self, values: torch.Tensor, valid: torch.Tensor, *threshold: torch.Tensor
    ) -> Callable[[int], torch.Tensor] | None:
        """Which pairs of tokens a head's attention counts for, [N, N] bool by head; None means all."""
        units = F.normalize(values, dim=-1) * valid[:, None]
        least = _threshold(units, valid, *threshold)[:, None]
        return lambda head: units[head] @ units[head].T > least


class SamAttention(SamEncoder):
    """The attention weights alone ("Attn" in Trident's Table 3)."""

    def _alike(
        self, values: torch.Tensor, valid: torch.Tensor, *threshold: torch.Tensor
    ) -> Callable[[int], torch.Tensor] | None:
        """All pairs count."""
        return None


class SamCosine(SamImage):
    """The cosine similarity of SAM's features alone ("Cos" in Trident's Table 3, equation 4).

    Its ε is not published: the affinity's rule is taken, on the features in place of the values.
    """

    def forward(  # type: ignore[override]
        self, image: torch.Tensor, valid_tokens: torch.Tensor, *threshold: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `SamEncoder.forward`."""
        features = super().forward(image)
        units = F.normalize(features[0].flatten(1).T, dim=-1) * valid_tokens[:, None]
        similarity = units @ units.T
        alike = (similarity > _threshold(units[None], valid_tokens, *threshold)[:, None]) & (valid_tokens > 0)
        return features, row_stochastic(torch.where(alike, similarity.exp(), 0.0), valid_tokens)


SAM_ENCODERS: dict[str, type[SamImage]] = {"affinity": SamEncoder, "attention": SamAttention, "cosine": SamCosine}
"""By the kind of affinity."""


def row_stochastic(weights: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """[N, N] weights restricted to valid tokens, rows summing to 1; a row of padding stays 0."""
    kept = weights * valid * valid[:, None]
    return kept / (kept.sum(dim=-1, keepdim=True) + (1 - valid[:, None]))


def _threshold(
    units: torch.Tensor, valid: torch.Tensor, factor: torch.Tensor, keep_negative: torch.Tensor
) -> torch.Tensor:
    """θ_i = f · mean over heads and valid keys of C, at most 0.9: [N].

    The mean needs no matrix: mean_j u_i · u_j = u_i · mean_j u_j. A token is always similar to itself (1 > 0.9), so
    that every valid row keeps an entry.

    Args:
        units: [heads, N, d], the values at unit length, 0 in the padding.
        valid: [N].
        factor: f.
        keep_negative: whether a negative threshold stands.
    """
    means = units.sum(dim=1, keepdim=True) / valid.sum()  # [heads, 1, d]
    threshold = factor * (units * means).sum(dim=-1).mean(dim=0)
    threshold = torch.where((threshold < 0) & ~keep_negative, NEGATIVE_THRESHOLD, threshold)
    return threshold.clamp(max=LARGEST_THRESHOLD)
