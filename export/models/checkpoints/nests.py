"""Where in a checkpoint the weights are: trainers save them beside optimizers, epochs, and averages of themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

from .archive import Opaque, module_tensors


class Nest(NamedTuple):
    """A key under which weights are kept."""

    key: str
    source: str


NESTS = (
    Nest("state_dict_ema", "timm's CheckpointSaver: the average of the weights"),
    Nest("model_ema", "timm, EVA and DeiT: the average of the weights"),
    Nest("model_ema_state_dict", "trainers after timm: the average of the weights"),
    Nest("ema_state_dict", "trainers after timm: the average of the weights"),
    Nest("ema", "RT-DETR and its like: the average of the weights"),
    Nest("params_ema", "BasicSR: the average of the weights"),
    Nest("teacher", "DINO and DINOv2: the average of the student; their published files are made of it"),
    Nest("student", "DINO: what was trained, where there is no teacher"),
    Nest("state_dict", "Lightning, timm, open_clip, MMEngine"),
    Nest("model_state_dict", "PyTorch's tutorial on saving"),
    Nest("model", "DeiT, MAE, DINOv2's checkpointer, MedSAM"),
    Nest("module", "DeepSpeed; the average in RT-DETR's `ema`"),
    Nest("network_weights", "nnU-Net"),
    Nest("net", "trainers by hand"),
    Nest("weights", "trainers by hand"),
    Nest("params", "BasicSR"),
)
"""In the order in which they are preferred: averages first, as the libraries that write them do."""

DEPTH = 4
"""Nests within nests that are opened."""


class Chosen(NamedTuple):
    """The innermost mapping, and which way led there."""

    content: Any
    notes: tuple[str, ...]


def innermost(content: Any) -> Chosen:
    """Go into nests as long as there are any; of a whole module that was saved, take the tensors.

    Args:
        content: what was in the file.

    Returns:
        The weights, with a note of the keys; where other weights lay beside them, it says so.
    """
    way, beside = [], []
    for _ in range(DEPTH):
        keys = _nests_in(content)
        if not keys:
            break
        way.append(keys[0])
        beside += keys[1:]
        content = content[keys[0]]
    if isinstance(content, Opaque):
        content = module_tensors(content)
    told = f"taken from {'/'.join(map(repr, way))} in the file"
    left = f", where there is {', '.join(map(repr, beside))} too" if beside else ""
    return Chosen(content, (told + left,) if way else ())


def _nests_in(content: Any) -> list[str]:
    if not isinstance(content, dict):
        return []
    return [nest.key for nest in NESTS if isinstance(content.get(nest.key), dict | Opaque)]
