"""`sam_encoder`: SAM's image features, and from its last attention the affinity between tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ....runtime.errors import ExportError
from ....runtime.stage.contract import TensorSpec
from ..maker import StageMaker, tensor
from ..promptable.sam_blocks import Heads, embed, finish_block, join_heads, neck, run_block, split_heads
from ..promptable.sam_image import SamImage, rewired
from ..promptable.tensors import features, image
from .tensors import affinity

if TYPE_CHECKING:
    from ..networks import Networks


LARGEST_THRESHOLD = 0.9
NEGATIVE_THRESHOLD = 0.6


class SamEncoder(SamImage):
    """SAM's image encoder with Trident's affinity (Trident, equation 5).

    The last block is global, and its attention is read: for each head, W is the attention and C the cosine similarity
    of the values; where C is above a threshold W is kept. Queries go in chunks, so that [heads, N, N] is never whole.
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
        tokens = embed(encoder, self.normalise(image))
        for block in encoder.blocks[:-1]:
            tokens = run_block(block, tokens, self.grid)
        last = encoder.blocks[-1]
        heads = split_heads(last.attn, last.norm1(tokens), self.grid)
        attended, affinity = self._attend(heads, valid_tokens, *threshold)
        tokens = finish_block(last, tokens, attended)
        return neck(encoder, tokens, self.grid), affinity

    def _attend(self, heads: Heads, valid: torch.Tensor, *threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """SAM's attention, [1, N, D], and the affinity [N, N] on the way.

        Both go side by side until all chunks are done: backends run a graph output by output, and would keep the
        weights of all chunks, which both are made from.
        """
        alike = self._alike(heads.values, valid, *threshold)
        both = []
        for part in heads.parts():
            weights = heads.scores(part).softmax(dim=-1)  # [heads, n, N]
            attended = join_heads(weights @ heads.values, len(weights))[0]
            kept = weights if alike is None else torch.where(alike(part), weights, 0.0)
            both.append(torch.cat([attended, kept.sum(dim=0)], dim=1))
        attended, kept = torch.cat(both).split([attended.shape[1], len(valid)], dim=1)
        return attended[None], row_stochastic(kept, valid)

    def _alike(
        self, values: torch.Tensor, valid: torch.Tensor, *threshold: torch.Tensor
    ) -> Callable[[slice], torch.Tensor] | None:
        """Which pairs of tokens attention counts for, [heads, n, N] bool by the queries' part; None means all."""
        units = F.normalize(values, dim=-1) * valid[:, None]
        least = _threshold(units, valid, *threshold)[:, None]
        return lambda part: units[:, part] @ units.transpose(1, 2) > least[part]


class SamAttention(SamEncoder):
    """The attention weights alone ("Attn" in Trident's Table 3)."""

    def _alike(
        self, values: torch.Tensor, valid: torch.Tensor, *threshold: torch.Tensor
    ) -> Callable[[slice], torch.Tensor] | None:
        """All pairs count."""
        return None


class SamCosine(SamImage):
    """The cosine similarity of SAM's features alone ("Cos" in Trident's Table 3, equation 4).

    Its ε is not published: the affinity's rule is taken, on the features in place of the values.
    """

    def forward(  # type: ignore[override]
        self, image: torch.Tensor, valid_tokens: torch.Tensor, *threshold: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """As `SamEncoder.forward`; finer features before the affinity, where the model has them."""
        features, *finer = super().forward(image)
        units = F.normalize(features[0].flatten(1).T, dim=-1) * valid_tokens[:, None]
        similarity = units @ units.T
        alike = (similarity > _threshold(units[None], valid_tokens, *threshold)[:, None]) & (valid_tokens > 0)
        affinity = row_stochastic(torch.where(alike, similarity.exp(), 0.0), valid_tokens)
        return features, *finer, affinity


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


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    tokens = networks.dimensions.sam_grid**2
    inputs = [image(networks), tensor("valid_tokens", (tokens,), "token", "1 inside the photo, 0 outside")]
    if networks.recipe.parameters.affinity_kind != "attention":
        inputs += [
            tensor("affinity_factor", (), "scalar", "0 or more"),
            tensor("keep_negative", (), "scalar", "true or false", "bool"),
        ]
    return tuple(inputs)


def _module(networks: Networks) -> SamImage:
    """The encoder of the kind of affinity that the recipe asks for.

    Raises:
        ExportError: the affinity is read from a vision transformer's last attention, and the model has none.
    """
    kind, sam = networks.recipe.parameters.affinity_kind, networks.models["sam"]
    made = SAM_ENCODERS[kind](sam)
    if isinstance(made, SamEncoder) and made.run is not rewired:
        raise ExportError(
            f"affinity_kind={kind!r} is read from SAM's last global attention, and the image encoder is a "
            f"{type(sam.image_encoder).__name__}; set affinity_kind='cosine' in [parameters]"
        )
    return made


MAKER = StageMaker(
    module=_module,
    inputs=_inputs,
    outputs=lambda networks: (*features(networks), affinity(networks)),
)
"""For methods that aggregate by SAM's affinity; others take SAM's image encoder alone."""
