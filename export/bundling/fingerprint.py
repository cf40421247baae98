"""Fingerprints: what an engine depends on, so that what is unchanged is not exported again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from ...runtime.stage.contract import StageContract
from ..models.weights import state_digest
from ..reference.networks import Networks
from . import onnx_export
from .code import code_digest, package_of

MAKERS = ("torch", "onnx", "onnxscript", "onnxslim", "open_clip_torch", "timm", "segment-anything")
"""Packages on which the graphs depend, beside this one, whose code is hashed."""


def fingerprint_of(stage: str, networks: Networks, contract: StageContract) -> str:
    """Hash of all that an FP32 engine depends on: weights, code, settings, sizes, baked parameters, versions.

    Of the contract, what may be asked of the engine later (ranges of axes) is no part of the graph.
    """
    parameters, maker = msgspec.structs.asdict(networks.recipe.parameters), networks.makers[stage]
    module = networks.modules[stage]
    facts = {
        "stage": stage,
        "opset": onnx_export.OPSET,
        "contract": msgspec.structs.replace(contract, axes={}),
        "examples": {name: axis.example for name, axis in contract.axes.items()},
        "facts": maker.facts(networks),
        "baked": {name: parameters[name] for name in networks.recipe.family.by_name[stage].baked},
        "weights": state_digest(module.state_dict()),
        "settings": settings_of(module),
        "code": code_digest(makers_of(module) | maker.code, packages=map(package_of, maker.code)),
        "versions": versions_of_makers(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def derived(fingerprint: str, variant: str) -> str:
    """Hash of all that an engine made from an FP32 one depends on."""
    return hashlib.sha256(f"{fingerprint} {variant}".encode()).hexdigest()


def makers_of(module: Any) -> set[str]:
    """Names of the modules of code that make a stage: those of its parts' classes, and the exporter."""
    classes = {base for part in module.modules() for base in type(part).__mro__}
    return {onnx_export.__name__, *(each.__module__ for each in classes)}


def settings_of(module: Any) -> dict[str, dict[str, Any]]:
    """The plain attributes of all parts of a stage, by the part's name.

    Two decoders with the same weights and of the same code may differ in their norms' epsilon alone.
    """
    return {
        name: {key: value for key, value in vars(part).items() if not key.startswith("_") and _is_plain(value)}
        for name, part in module.named_modules()
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def versions_of_makers(packages: Iterable[str] = MAKERS) -> dict[str, str]:
    """Versions of the packages on which the graphs depend, as far as they are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
