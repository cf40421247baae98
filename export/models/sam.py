"""Promptable models by name: SAM by segment_anything, and small ones whose modules are this package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import segment_anything
import torch
from torch import nn

from ...runtime.errors import WeightsError
from ...runtime.pipelines.promptable.models import licence_of
from .checkpoints.fitting import Reading
from .checkpoints.reading import kept_if_read
from .checkpoints.releases import release_file
from .checkpoints.sam2_names import TRANSFORMERS_EDGETAM, TRANSFORMERS_SAM2
from .checkpoints.sam_names import SAM_NAMINGS
from .families import MICRO, TINY, ModelFamily, StateDict
from .miniature.networks import build_sam as build_miniature
from .promptable import edgetam, efficientvit_sam, mobile_sam, sam2
from .promptable.memory import video

META = "https://dl.fbaipublicfiles.com/segment_anything/{}.pth"


class Build(NamedTuple):
    """How a promptable model is made."""

    module: Callable[[], nn.Module]
    """Makes a `Sam`: image encoder, prompt encoder and mask decoder under the names of the published checkpoint."""
    release: str = META
    """Address of published weights; {} is the recipe's tag."""
    hashed: bool = True
    """Whether a tag ends in the first digits of its file's SHA-256."""
    unused: tuple[str, ...] = ()
    """Beginnings of the names of tensors that the published checkpoint holds and the module does without."""


BUILDS: Mapping[str, Build] = {
    MICRO: Build(partial(build_miniature, width=64, heads=4)),
    TINY: Build(build_miniature),
    **{name: Build(segment_anything.sam_model_registry[name]) for name in ("vit_b", "vit_l", "vit_h")},
    "mobile_sam": Build(mobile_sam.build_mobile_sam, mobile_sam.RELEASE, hashed=False),
    "micro_mobile_sam": Build(mobile_sam.build_micro_mobile_sam),
    "efficientvit_sam_l0": Build(efficientvit_sam.build_l0, efficientvit_sam.RELEASE, hashed=False),
    "efficientvit_sam_l1": Build(efficientvit_sam.build_l1, efficientvit_sam.RELEASE, hashed=False),
    "micro_efficientvit_sam": Build(efficientvit_sam.build_micro),
    "edgetam": Build(edgetam.build_edgetam, edgetam.RELEASE, hashed=False, unused=sam2.MEMORY),
    "micro_edgetam": Build(edgetam.build_micro, unused=sam2.MEMORY),
    **{
        f"sam2.1_hiera_{name}": Build(partial(sam2.build_sam2, sizes), sam2.RELEASE, hashed=False, unused=sam2.MEMORY)
        for name, sizes in sam2.SIZES.items()
    },
    "micro_sam2": Build(sam2.build_micro, unused=sam2.MEMORY),
    **{
        f"sam2.1_hiera_{name}_video": Build(partial(video.build_video, sizes), sam2.RELEASE, hashed=False)
        for name, sizes in sam2.SIZES.items()
    },
    **{
        f"sam2_hiera_{name}_video": Build(partial(video.build_video, sizes, **video.OLD), video.OLDER, hashed=False)
        for name, sizes in sam2.SIZES.items()
    },
    "micro_sam2_video": Build(video.build_micro_video),
    "edgetam_video": Build(video.build_edgetam_video, edgetam.RELEASE, hashed=False),
    "micro_edgetam_video": Build(video.build_micro_edgetam_video),
    "tiny_sam2": Build(video.build_tiny_video),
}
"""By the name that a [sam] table gives. What a recipe may ask of each: `runtime.pipelines.promptable.models`."""


def build_sam(name: str) -> nn.Module:
    """A promptable model by its name."""
    return BUILDS[name].module()


def pretrained_sam(name: str, tag: str) -> StateDict:
    """Published weights.

    Raises:
        WeightsError: they cannot be fetched.
    """
    row = BUILDS[name]
    digits = tag.rsplit("_", 1)[-1] if row.hashed else None
    try:
        path = release_file(row.release.format(tag), Path(torch.hub.get_dir()) / "checkpoints", digits)
    except OSError as error:
        raise WeightsError(f"the checkpoint {tag} of {name!r} cannot be written: {error}") from error
    return kept_if_read(path)


SAM = ModelFamily(
    lambda: BUILDS,
    build_sam,
    pretrained_sam,
    licence_of,
    lambda name: Reading((TRANSFORMERS_SAM2, TRANSFORMERS_EDGETAM, *SAM_NAMINGS), unused=BUILDS[name].unused),
    package={TINY: {"sam": ""}, "tiny_sam2": {"sam2": ""}},
)
