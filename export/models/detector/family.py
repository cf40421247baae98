"""The role of detectors: what `export-engines` can fill it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ....runtime.errors import WeightsError
from ....runtime.pipelines.grounded.models import licence_of
from ..checkpoints.fitting import Reading
from ..checkpoints.owlv2_names import OWLV2
from ..checkpoints.reading import kept_if_read
from ..checkpoints.releases import release_file
from ..families import ModelFamily, StateDict
from . import grounding_dino, owlv2

RELEASE = "https://huggingface.co/{}/resolve/main/model.safetensors"
"""Address of published weights; {} is the recipe's tag, which names a repository."""


class Detector(NamedTuple):
    """How a detector is made and read."""

    module: Callable[[], nn.Module]
    """Makes it, its weights not yet meaningful."""
    reading: Reading
    """The names that its checkpoints may have."""


DETECTORS: Mapping[str, Detector] = {
    **{name: Detector(partial(owlv2.build, name), Reading((OWLV2,))) for name in owlv2.BUILDS},
    **{
        name: Detector(partial(grounding_dino.build, name), grounding_dino.reading(name))
        for name in grounding_dino.BUILDS
    },
}
"""By the name that a [detector] table gives."""


def _pretrained(name: str, tag: str) -> StateDict:
    try:
        folder = Path(torch.hub.get_dir()) / "checkpoints" / tag.replace("/", "--")
        path = release_file(RELEASE.format(tag), folder, None)
    except OSError as error:
        raise WeightsError(f"the checkpoint {tag} of {name!r} cannot be written: {error}") from error
    return kept_if_read(path)


DETECTOR = ModelFamily(
    lambda: DETECTORS,
    lambda name: DETECTORS[name].module(),
    _pretrained,
    licence_of,
    lambda name: DETECTORS[name].reading,
    package={"tiny_owlv2": {"clip": "clip.", "detector": ""}},
    beside=grounding_dino.beside,
)
