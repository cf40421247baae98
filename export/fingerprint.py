"""Fingerprints: what an engine depends on, so that what is unchanged is not exported again."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from ..runtime import graph as graph_tools
from .onnx_export import OPSET
from .reference.networks import Networks
from .weights import state_digest

MAKERS = ("ovdeploy", "torch", "onnx", "onnxscript", "onnxslim", "open_clip_torch", "timm", "segment-anything")
"""Packages on which the graphs depend."""

BAKED_INTO = {
    "clip_image": ("similarity_beta", "similarity_gamma", "similarity_layers", "similarity_eta", "dino_share"),
    "sam_encoder": ("affinity_kind",),
    "sam_decoder": ("as_published", "prompts"),
}
"""Parameters that become constants of an engine. (The crop is in the contracts.)"""


def fingerprint_of(stage: str, networks: Networks, contract: Any) -> str:
    """Hash of all that an FP32 engine depends on: weights, code, sizes, baked parameters, versions."""
    parameters = msgspec.structs.asdict(networks.recipe.parameters)
    facts = {
        "stage": stage,
        "opset": OPSET,
        "contract": contract,
        "method": networks.recipe.row,
        "baked": {name: parameters[name] for name in BAKED_INTO.get(stage, ())},
        "weights": state_digest(networks.modules[stage].state_dict()),
        "code": _code_digest(),
        "versions": versions_of_makers(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def derived(fingerprint: str, variant: str) -> str:
    """Hash of all that an engine made from an FP32 one depends on."""
    return hashlib.sha256(f"{fingerprint} {variant}".encode()).hexdigest()


def _code_digest() -> str:
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted((*folder.rglob("*.py"), *Path(graph_tools.__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def versions_of_makers() -> dict[str, str]:
    """Versions of the packages on which the graphs depend, as far as they are installed."""
    found = {}
    for package in MAKERS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
