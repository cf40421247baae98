"""Spatial entropy of feature maps (S2CLIP, Algorithm 1): how a channel's activation is spread over the places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SpatialEntropy(NamedTuple):
    """Results of Algorithm 1 for one feature map. All float64."""

    mean: float
    """H̄, the algorithm's output: the mean of `entropy`, and 0 where that is no number."""
    entropy: np.ndarray
    """H, [B, C]: 0 where all is in one place, log N where it is even."""
    gini: np.ndarray
    """G, [B, C], to the letter of line 12, which multiplies the Lorenz curve by the index: it falls with N, and is no
    Gini coefficient."""
    gini_coefficient: np.ndarray
    """[B, C], the usual one, which line 12 must have meant: 0 where all is even, 1 − 1/N where it is in one place."""
    correlation: np.ndarray
    """ρ, [B]: the mean correlation between two different channels; 0 with one channel."""


def spatial_entropy(features: np.ndarray) -> SpatialEntropy:
    """Algorithm 1.

    Each channel is standardised over the places and made a distribution by softmax; its entropy says how evenly it is
    spread. Read into the text: variances are those of the population; ε comes from the smallest deviation of the whole
    map, so a result belongs to a whole map and does not follow from its parts; a channel that is constant correlates
    with none.

    Args:
        features: [B, C, H, W], any float type; at least one place.

    Raises:
        ValueError: not such an array.
    """
    if features.ndim != 4 or not features.size:
        raise ValueError(f"expected features [B, C, H, W], got {list(features.shape)}")
    with np.errstate(invalid="ignore", over="ignore"):  # what is no number is answered by 0, as line 21 says
        shares = _shares(features.reshape(*features.shape[:2], -1).astype(np.float64))
        entropy = -(shares * np.log(shares)).sum(axis=-1)
        mean = float(entropy.mean())
        gini, coefficient = _gini(shares)
        return SpatialEntropy(mean if np.isfinite(mean) else 0.0, entropy, gini, coefficient, _correlation(shares))


def _shares(values: np.ndarray) -> np.ndarray:
    """Lines 2 to 8: [B, C, N] values to distributions over N."""
    deviation = values.std(axis=-1, keepdims=True)
    epsilon = max(float(deviation.min()) * 1e-2, 1e-6)
    standard = (values - values.mean(axis=-1, keepdims=True)) / (deviation + epsilon)
    weights = np.exp(standard - standard.max(axis=-1, keepdims=True))
    shares = np.maximum(weights / (weights.sum(axis=-1, keepdims=True) + epsilon), epsilon)
    even: np.ndarray = shares / shares.sum(axis=-1, keepdims=True)
    return even


def _gini(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines 10 to 12, and the coefficient that they must have meant: [B, C] each."""
    ranked = np.sort(shares, axis=-1)
    lorenz, count = np.cumsum(ranked, axis=-1), shares.shape[-1]
    index = np.arange(1, count + 1)
    total = ranked.sum(axis=-1)
    literal = 1 - 2 / count * (index * lorenz).sum(axis=-1) / total
    usual = 1 + 1 / count - 2 / count * lorenz.sum(axis=-1) / total
    return literal, usual


def _correlation(shares: np.ndarray) -> np.ndarray:
    """Lines 13 to 19: [B]. The sum over all pairs is the squared length of the sum of the unit vectors."""
    channels = shares.shape[1]
    if channels == 1:
        return np.zeros(len(shares))
    centred = shares - shares.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(centred, axis=-1, keepdims=True)
    varies = length > 1e-12  # shares are about 1/N; below this there is only rounding
    units = np.where(varies, centred / np.where(varies, length, 1), 0)
    pairs = np.square(units.sum(axis=1)).sum(axis=-1) - varies[..., 0].sum(axis=-1)
    mean: np.ndarray = pairs / (channels * (channels - 1))
    return mean
