"""The official models, narrow and shallow, under their own names: timm and open_clip fetch for them as they always do.

Only sizes are others. Names of models, tags, repositories and files, the libraries' loaders and our recipes are those
of the full size.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import open_clip
import timm

from ovdeploy.export.models import sam
from ovdeploy.export.models.miniature.networks import build_sam

CLIP = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 64, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2},
}
DINO = {"embed_dim": 64, "depth": 2, "num_heads": 4}


def shrink(folder: Path) -> None:
    """Make the libraries build small models in this process.

    Args:
        folder: for open_clip's configuration.
    """
    folder.mkdir(exist_ok=True)
    (folder / "ViT-B-16-quickgelu.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder)
    timm.create_model = partial(timm.create_model, **DINO)
    sam.BUILDS = {**sam.BUILDS, "vit_b": sam.BUILDS["vit_b"]._replace(module=partial(build_sam, width=64, heads=4))}
