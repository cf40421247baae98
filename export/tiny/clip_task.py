"""Training CLIP: contrast between patches, regions and whole windows on one side, and words on the other.

Dense features are taken where the methods take them: from the values of the last block, through its out projection,
ln_post and the projection, without residual and MLP. Image features are CLIP's own, from the class token.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from open_clip import OPENAI_IMAGENET_TEMPLATES

from ...runtime.scenes.captions import phrase
from ...runtime.scenes.names import ALL_NAMES, COLOURS, HELD_OUT, PATTERNS, SEEN, STUFF, THINGS, parts
from ...runtime.scenes.silhouettes import SILHOUETTES
from ...runtime.words.tokenizer import ClipTokenizer
from ..models.miniature.networks import CONTEXT, WINDOW
from ..reference.embed import Upstream
from ..reference.training_free.attention import project_values
from ..reference.training_free.clip_image import ClipTower
from .crops import MIXED, cut_crops
from .dataset import Scenes
from .device import device_of, moved
from .loop import Losses, Part, Task

BATCH, RECOLOURED = 24, 10
"""Windows of a batch, and how many of them are recoloured and asked for their patterns alone. Without those a pattern
is learned once for each colour that it was seen in, and not known in another."""
LARGEST_SCALE = 50.0
WEIGHTS = {"patch": 1.0, "region": 0.5, "colour": 0.3, "patch pattern": 0.5, "pattern": 0.5, "image": 0.1}
CLASSES = (*SEEN, *STUFF)
"""The names that images are compared with: held-out ones are not among them, not even as wrong answers."""
TEMPLATES = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]


class ClipTask(Task):
    """CLIP's batches and losses."""

    def __init__(self, model: Upstream, scenes: Scenes, tokenizer: ClipTokenizer) -> None:
        assert tokenizer.context_length == CONTEXT
        self.model: Upstream = model
        self.scenes, self.tokenizer = scenes, tokenizer
        self.device = device_of(model)
        self.tower = ClipTower(model.visual, WINDOW).to(self.device)
        self.answers = _answers().to(self.device)
        self.never_pattern, self.never_colour = (table.to(self.device) for table in _never_seen())

    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """One: every window of a batch is compared with all others."""
        return [partial(self.losses, rng)]

    def losses(self, rng: np.random.Generator) -> Losses:
        """The weighted losses of a batch, by name."""
        crops = moved(cut_crops(self.scenes, rng, BATCH, RECOLOURED), self.device)
        true = BATCH - RECOLOURED
        tokens = self.tower.hidden(crops.windows)[-1]
        dense = self._dense(tokens[:, 1:])  # [B, N, D]
        region = self._dense(tokens[:, 1:], _same(crops.labels))
        classes, colours, patterns = self._words(rng)
        scale = self.model.logit_scale.exp().clamp(max=LARGEST_SCALE)
        name, colour, pattern = self.answers[crops.labels].unbind(-1)  # [B, N] each
        never_colour, never_pattern = self.never_colour[crops.labels[:true]], self.never_pattern[crops.labels]
        never_pattern[true:] = False  # in those hues every pattern is seen
        losses = {
            "patch": _contrast(dense[:true], classes, name[:true], scale),
            "region": _contrast(region[:true], classes, name[:true], scale),
            "colour": _contrast(region[:true], colours, colour[:true], scale, never_colour),
            "patch pattern": _contrast(dense, patterns, pattern, scale, never_pattern),
            "pattern": _contrast(region, patterns, pattern, scale, never_pattern),
            "image": self._image_loss(tokens[:true], crops.captions[:true], scale),
        }
        return {name: WEIGHTS[name] * loss for name, loss in losses.items()}

    def _dense(self, tokens: torch.Tensor, mix: torch.Tensor | None = None) -> torch.Tensor:
        """Patch tokens before the last block → unit features [B, N, E], values mixed [B, N, N] if asked."""
        visual = self.model.visual
        block = visual.transformer.resblocks[-1]
        values = project_values(block.attn, block.ln_1(tokens))
        values = values if mix is None else mix @ values
        return F.normalize(visual.ln_post(block.attn.out_proj(values)) @ visual.proj, dim=-1)

    def _words(self, rng: np.random.Generator) -> list[torch.Tensor]:
        """Unit embeddings of the classes, the colours and the patterns, each in a sentence chosen for this step."""
        said = [_in_words(rng, name) for name in CLASSES]
        said += [_in_words(rng, f"{word} {rng.choice(list(SILHOUETTES))}") for word in (*COLOURS, *PATTERNS)]
        return list(self._text(said).split([len(CLASSES), len(COLOURS), len(PATTERNS)]))

    def _image_loss(self, tokens: torch.Tensor, captions: list[str], scale: torch.Tensor) -> torch.Tensor:
        """CLIP's own: each window's class token against all captions, and the other way round."""
        visual = self.model.visual
        pooled = visual.ln_post(visual.transformer.resblocks[-1](tokens)[:, 0]) @ visual.proj
        logits = scale * F.normalize(pooled, dim=-1) @ self._text(captions).T
        own = torch.arange(len(captions), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    def _text(self, said: list[str]) -> torch.Tensor:
        """Unit embeddings [n, E] of sentences."""
        tokens = torch.from_numpy(self.tokenizer(said)).long().to(self.device)
        return F.normalize(self.model.encode_text(tokens), dim=-1)


def _answers() -> torch.Tensor:
    """[names + 1, 3]: each name's index among the classes, the colours and the patterns. The last row is MIXED's."""
    index = torch.full((len(ALL_NAMES) + 1, 3), MIXED)
    for row, name in enumerate(ALL_NAMES):
        if name in CLASSES:
            index[row, 0] = CLASSES.index(name)
        if name not in STUFF:
            colour, pattern = parts(name)
            index[row, 1:] = torch.tensor([list(COLOURS).index(colour), PATTERNS.index(pattern)])
    return index


def _never_seen() -> tuple[torch.Tensor, torch.Tensor]:
    """Which pattern a thing's colour, and which colour its pattern, is never seen with: [names + 1, P], [names + 1, C].

    As wrong answers they would teach that a colour rules a pattern out, and what is held out would never be named.
    """
    patterns = torch.zeros(len(ALL_NAMES) + 1, len(PATTERNS), dtype=torch.bool)
    colours = torch.zeros(len(ALL_NAMES) + 1, len(COLOURS), dtype=torch.bool)
    for held in HELD_OUT:
        colour, pattern = parts(held)
        for row, name in enumerate(THINGS):
            patterns[row, PATTERNS.index(pattern)] |= colour in parts(name)
            colours[row, list(COLOURS).index(colour)] |= pattern in parts(name)
    return patterns, colours


def _in_words(rng: np.random.Generator, name: str) -> str:
    if name in STUFF or rng.random() < 0.6:
        return str(rng.choice(TEMPLATES)).replace("{}", name)
    return phrase(rng, name, str(rng.choice(list(SILHOUETTES))))


def _same(labels: torch.Tensor) -> torch.Tensor:
    """[B, N] labels → [B, N, N] mean over the patches of the same label."""
    same = (labels[:, :, None] == labels[:, None, :]).float()
    return same / same.sum(dim=-1, keepdim=True)


def _contrast(
    features: torch.Tensor,
    words: torch.Tensor,
    answers: torch.Tensor,
    scale: torch.Tensor,
    barred: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cross-entropy of the right word among all, over the patches that have one; some are not among the wrong ones."""
    scores = scale * features @ words.T  # [B, N, K]
    scores = scores if barred is None else scores.masked_fill(barred, float("-inf"))
    return F.cross_entropy(scores.flatten(0, 1), answers.flatten(), ignore_index=MIXED)
