"""CAT-Seg: a CLIP, fine-tuned, and its aggregator. github.com/cvlab-kaist/CAT-Seg (MIT)."""

from __future__ import annotations

from collections.abc import Mapping

from ..families import MICRO, TINY
from .aggregator import Aggregator, AggregatorSizes
from .model import Build

SMALL = AggregatorSizes(
    embedding=64, grid=6, hidden=32, guide=32, layers=1, heads=2, window=3, decoder=(32, 16), skips=(32, 16),
    skip_guides=(16, 8),
)  # fmt: skip
TINIEST = SMALL._replace(embedding=128, grid=12, layers=2, heads=4, window=6)

BUILDS: Mapping[str, Build] = {
    "micro_catseg": Build(MICRO, 64, SMALL, (0, 1), 96, Aggregator),
    "tiny_catseg": Build(TINY, 128, TINIEST, (1, 3), 96, Aggregator, "a photo of a {}."),
    "catseg_vit_b": Build("ViT-B-16-quickgelu", 768, AggregatorSizes(512), (3, 7), 384, Aggregator),
    "catseg_vit_l": Build("ViT-L-14-336-quickgelu", 1024, AggregatorSizes(768), (7, 15), 336, Aggregator),
}
"""By the name that a recipe gives."""
