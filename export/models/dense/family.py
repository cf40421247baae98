"""The role of dense models: what `export-engines` can fill it with."""

from __future__ import annotations

from pathlib import Path

import torch

from ....runtime.errors import WeightsError
from ....runtime.pipelines.dense.models import licence_of, unpublished
from ..checkpoints.catseg_names import CATSEG
from ..checkpoints.fitting import Reading
from ..checkpoints.reading import kept_if_read
from ..checkpoints.releases import release_file
from ..families import ModelFamily, StateDict
from .builds import BUILDS, build

RELEASE = "https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/{}.pth"
"""Address of CAT-Seg's published weights; {} is the recipe's tag."""


def _pretrained(name: str, tag: str) -> StateDict:
    try:
        path = release_file(RELEASE.format(tag), Path(torch.hub.get_dir()) / "checkpoints" / "cat-seg", None)
    except OSError as error:
        raise WeightsError(f"the checkpoint {tag} of {name!r} cannot be written: {error}") from error
    return kept_if_read(path)


DENSE = ModelFamily(
    lambda: BUILDS,
    build,
    _pretrained,
    licence_of,
    lambda name: Reading((CATSEG,)),
    unpublished,
    {
        "tiny_catseg": {"clip": "clip.", "dense": "seg_head."},
        "tiny_escnet": {"clip": "clip.", "escnet": "seg_head."},
    },
)
