"""The activation that a CLIP was trained with. Its tensors fit a model with another, which then answers nonsense; their
names do not tell it, but what lies beside them often does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from torch import nn

from ....runtime.boundary.reading import is_file, read_text
from ....runtime.errors import WeightsError

QUICK, EXACT = "QuickGELU", "GELU"

OPENAI = {"input_resolution", "context_length", "vocab_size"}
"""Names that only OpenAI's own files have, and all of those are of `QUICK`."""

ACTIVATIONS = {"quick_gelu": QUICK, "gelu": EXACT, True: QUICK, False: EXACT}
"""By what configurations say."""


class Told(NamedTuple):
    """An activation, and where it is written."""

    activation: str
    where: str


def check_activation(names: Collection[str], path: Path | None, module: nn.Module) -> None:
    """Refuse a CLIP of another activation than the model's, where that is known.

    Args:
        names: of the checkpoint's tensors.
        path: its file, beside which a configuration may lie; None if it has none.
        module: open_clip's model.

    Raises:
        WeightsError: the model computes another activation than the checkpoint was trained with.
    """
    told = Told(QUICK, "all of OpenAI's own files are") if OPENAI.issubset(names) else _configured(path)
    if told is not None:
        refuse_other(told, module)


def refuse_other(told: Told, module: nn.Module) -> None:
    """Refuse a model that computes another activation than its weights were trained with.

    Raises:
        WeightsError: it does.
    """
    own = QUICK if any(type(part).__name__ == QUICK for part in module.modules()) else EXACT
    if told.activation != own:
        advice = "one that ends in -quickgelu" if told.activation == QUICK else "the one without -quickgelu"
        raise WeightsError(
            f"this CLIP was trained with {told.activation} ({told.where}), and the recipe's model computes {own}: "
            f"every tensor would fit, and the answers would be wrong. Take {advice} as `model` of [clip]."
        )


def _configured(path: Path | None) -> Told | None:
    """What a configuration beside the file says: transformers' `config.json`, open_clip's `open_clip_config.json`."""
    for name, read in CONFIGURATIONS.items():
        beside = path and path.parent / name
        if beside and is_file(beside) and (activation := ACTIVATIONS.get(read(_json(beside)))):
            return Told(activation, f"{name} beside it says so")
    return None


def _json(path: Path) -> Any:
    try:
        return msgspec.json.decode(read_text(path, WeightsError, "a configuration"))
    except (WeightsError, msgspec.MsgspecError, RecursionError):
        return None  # it is not what was asked for


def _at(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content if isinstance(content, str | bool) else None


CONFIGURATIONS = {
    "open_clip_config.json": lambda content: _at(content, "model_cfg", "quick_gelu"),
    "config.json": lambda content: _at(content, "vision_config", "hidden_act"),
}
