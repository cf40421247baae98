"""Prefixes that trainers put before names, and what lies beside a model in their files."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch


class Prefix(NamedTuple):
    """A part of a name that says which object held the model."""

    text: str
    source: str


PREFIXES = (
    Prefix("module.", "PyTorch's DistributedDataParallel, and its AveragedModel (EMA, SWA)"),
    Prefix("ema_model.", "ema-pytorch: the average of the weights"),
    Prefix("model_ema.", "Lightning modules with an average of the weights"),
    Prefix("ema.", "Lightning modules with an average of the weights"),
    Prefix("teacher.", "DINO and DINOv2: the average of the student"),
    Prefix("student.", "DINO and DINOv2: what was trained"),
    Prefix("model.", "Lightning modules, transformers' ForXXX classes"),
    Prefix("net.", "Lightning modules"),
    Prefix("network.", "Lightning modules"),
    Prefix("backbone.", "DINO's MultiCropWrapper, DINOv2's SSLMetaArch, detectors and segmenters"),
    Prefix("encoder.", "encoders of two-part models"),
    Prefix("sam.", "fine-tuned SAMs (Lightning modules, HQ-SAM's and MedSAM's wrappers)"),
    Prefix("sam_model.", "MedSAM's module"),
    Prefix("clip.", "fine-tuned CLIPs, transformers' CLIPSeg"),
    Prefix("clip_model.", "CoOp and its like"),
    Prefix("dino.", "models with a frozen DINO"),
    Prefix("dinov2.", "transformers' Dinov2ForImageClassification"),
    Prefix("dinov2_with_registers.", "transformers' Dinov2WithRegistersForImageClassification"),
    Prefix("dinov3_vit.", "transformers' classes around DINOv3"),
    Prefix("vit.", "transformers' ViTForImageClassification"),
)
"""They may follow each other. Of several candidates in one file the first in this order is taken: averages first."""

WITHIN = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of names that wrappers leave anywhere: torch.compile, FSDP, activation checkpointing."""


class Beside(NamedTuple):
    """What is no part of the model, by the start of its name."""

    start: str
    source: str


BESIDE = (
    Beside("head.", "DINO's projection head, timm's classifier"),
    Beside("dino_head.", "DINOv2's projection head"),
    Beside("ibot_head.", "DINOv2's projection head of patches"),
    Beside("fc.", "classifiers"),
    Beside("classifier.", "transformers' classifiers"),
    Beside("linear_head.", "Meta's DINOv2 with a linear classifier"),
    Beside("criterion.", "losses of Lightning modules"),
    Beside("loss.", "losses of Lightning modules"),
    Beside("dino_loss.", "DINO's centre"),
    Beside("n_averaged", "the count of PyTorch's AveragedModel"),
    Beside("initted", "ema-pytorch"),
    Beside("step", "ema-pytorch"),
)
"""Left out, and told, where it lies outside of the prefix or at its top."""


class Unwrapped(NamedTuple):
    """A model's tensors without prefix, and what was beside them."""

    tensors: dict[str, torch.Tensor]
    notes: tuple[str, ...]


def without_wrappers(tensors: Mapping[str, torch.Tensor]) -> Unwrapped:
    """Names without what torch.compile and FSDP put into them."""
    found = [match for name in tensors if (match := WITHIN.search(name))]
    notes = [f"{found[0][0]!r} taken out of {len(found)} names"] if found else []
    return Unwrapped({WITHIN.sub("", name): tensor for name, tensor in tensors.items()}, tuple(notes))


def prefixes_of(names: Collection[str], marks: Collection[str]) -> list[str]:
    """The prefixes under which all marks of a naming lie, the preferred first.

    Only prefixes that are made of `PREFIXES` count: a model inside of another of an unknown kind is not taken.
    """
    mark = next(iter(marks))
    ends = [name.removesuffix(mark) for name in names if name == mark or name.endswith(f".{mark}")]
    whole = [prefix for prefix in ends if all(f"{prefix}{each}" in names for each in marks)]
    return sorted((prefix for prefix in whole if _order(prefix) is not None), key=lambda prefix: _order(prefix) or [])


def below(tensors: Mapping[str, torch.Tensor], prefix: str, others: Collection[str]) -> Unwrapped:
    """The tensors under a prefix.

    Args:
        tensors: all of a file.
        prefix: one of `prefixes_of`.
        others: prefixes of further models of the same naming, which are left out too.

    Returns:
        Names without the prefix; those outside that `BESIDE` and `others` do not explain keep their whole name.
    """
    inside, told, unexplained = {}, [], {}
    for name, tensor in tensors.items():
        if name.startswith(prefix) and not _is_beside(name.removeprefix(prefix)):
            inside[name.removeprefix(prefix)] = tensor
        elif _is_beside(name.removeprefix(prefix)) or _explained(name, others):
            told.append(name)
        else:
            unexplained[name] = tensor
    notes = [f"prefix {prefix!r} taken off"] if prefix else []
    if told:
        more = f" and {len(told) - 1} more" if len(told) > 1 else ""
        notes.append(f"left out beside the model: {told[0]}{more}")
    return Unwrapped(inside | unexplained, tuple(notes))


def _explained(name: str, others: Collection[str]) -> bool:
    return any(name.startswith(other) for other in others if other) or _is_beside(bare(name))


def bare(name: str) -> str:
    """A name without the known prefixes before it."""
    while prefix := next((each.text for each in PREFIXES if name.startswith(each.text)), ""):
        name = name.removeprefix(prefix)
    return name


def _is_beside(name: str) -> bool:
    return any(name == each.start or (each.start.endswith(".") and name.startswith(each.start)) for each in BESIDE)


def _order(prefix: str) -> list[int] | None:
    """The place of each part in `PREFIXES`; None if one is not there."""
    places = {each.text: place for place, each in enumerate(PREFIXES)}
    parts = [f"{part}." for part in prefix.split(".")[:-1]]
    return [places[part] for part in parts] if all(part in places for part in parts) else None
