"""OWLv2 in PyTorch: words to boxes, plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from ....runtime.bundle.bundle import Bundle
from ....runtime.pipelines.grounded.stages import DETECTOR, OUTPUTS
from ....runtime.pipelines.worded.stages import TEXT
from ....runtime.words.vocabulary import Vocabulary
from ...models.text_assets import write_tokenizer
from ..networks import Networks
from ..text_encoder import text_maker
from ..trace import Trace
from ..words import clip_embedding, separating_vocabulary, text_case
from . import owl_detector
from .kinds import Found, Kind


def picture(photo: np.ndarray, side: int, level: float) -> torch.Tensor:
    """[H, W, 3] uint8 RGB → [1, 3, side, side] in [0, 1]: padded to a square, smoothed, resized."""
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    longest = max(pixels.shape[2:])
    square = F.pad(pixels, (0, longest - pixels.shape[3], 0, longest - pixels.shape[2]), value=level)
    sigma = (longest / side - 1) / 2
    if sigma > 0:
        width = 2 * int(np.ceil(3 * np.float32(sigma))) + 1
        square = gaussian_blur(square, [width, width], [sigma, sigma])
    return F.interpolate(square, (side, side), mode="bilinear", align_corners=False)


def see(networks: Networks, trace: Trace) -> None:
    """Run the stage on the trace's photo, and record it."""
    model, settings = networks.models["detector"], trace.settings
    inputs = {"image": picture(trace.photo, model.side, settings.padding)}
    with trace.time(DETECTOR):
        outputs = networks.modules[DETECTOR](*inputs.values())
    trace.stages[DETECTOR] = inputs, dict(zip(OUTPUTS, outputs, strict=True))


def detect(networks: Networks, trace: Trace, vocabulary: Vocabulary) -> Found:
    """Boxes above the threshold, as transformers' processor gives them, synonyms and background apart."""
    see(networks, trace)
    made, settings = trace.stages[DETECTOR][1], trace.settings
    query = F.normalize(torch.from_numpy(vocabulary.embeddings), dim=-1)
    logits = (made["embeddings"][0] @ query.T + made["shift"][0, :, None]) * made["scale"][0, :, None]
    counts = [len(words) for words in vocabulary.synonyms]
    of_classes = torch.stack([part.amax(dim=1) for part in logits.split(counts, dim=1)], dim=1)
    if vocabulary.background:
        of_classes[:, 0] = -torch.inf
    best, classes = of_classes.max(dim=1)
    scores = best.sigmoid()
    above = scores > settings.box_threshold
    centre, size = made["boxes"][0, above, :2], made["boxes"][0, above, 2:]
    boxes = torch.cat([centre - size / 2, centre + size / 2], dim=1) * max(trace.photo.shape[:2])
    return Found(boxes, classes[above], scores[above])


def words_for(networks: Networks, trace: Trace) -> Vocabulary:
    """Classes that the photo's boxes fall into."""
    see(networks, trace)
    return separating_vocabulary(trace.stages[DETECTOR][1]["embeddings"][0].double().numpy())


def text_of(networks: Networks, trace: Trace, bundle: Bundle | None) -> None:
    """Record the text engine's stage."""
    trace.stages[TEXT] = text_case(networks.models["detector"].clip, networks.modules[TEXT], bundle)


def _write_text(networks: Networks, path: Path) -> tuple[str, ...]:
    model = networks.models["detector"]
    write_tokenizer(path, model.clip.vocab_size)
    return (model.template,)


def _sizes(networks: Networks) -> dict[str, Any]:
    model = networks.models["detector"]
    return {
        "detector_height": model.side,
        "detector_width": model.side,
        "embedding": model.clip.text_projection.shape[1],
        "context_length": model.clip.context_length,
    }


OWL_KIND = Kind(
    makers=lambda networks: {
        TEXT: text_maker(lambda networks: networks.models["detector"].clip),
        DETECTOR: owl_detector.MAKER,
    },
    sizes=_sizes,
    write_text=_write_text,
    embed_word=clip_embedding,
    vocabulary=words_for,
    detect=detect,
    text=text_of,
)
