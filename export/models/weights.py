"""Weights: published ones, a checkpoint on disk, or random ones that are the same everywhere."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...runtime.boundary.arguments import public
from ...runtime.bundle.bundle import Provenance
from ...runtime.errors import WeightsError
from ...runtime.recipe.recipe import ModelChoice
from .checkpoints.fitting import Reading, fit
from .checkpoints.reading import Checkpoint, open_checkpoint
from .families import TINY, StateDict, build_model, family_of

PRETRAINED, PACKAGE, RANDOM = "pretrained", "package", "random:"

RANDOM_SCALES = (
    (r"rel_pos", 0.05),
    (r"gaussian_matrix", 1.0),
    (r"(pos_embed|positional_embedding|class_embedding|cls_token)$", 0.3),
    (r"(token_embedding|point_embeddings\.\d|_embed|(iou|mask|obj_score)_tokens?)\.weight$", 0.3),
    (r"(token_mixer\.conv1?|(channel_mixer|ffn)\.conv2)\.bn\.weight$", 0.3),
)
"""Standard deviations of random tensors that no fan-in describes: embeddings, what is added to attention, and the last
norms of RepViT's branches. Its residuals have no norm of their own: near identity they would grow a thousandfold, and
the gates in between, which see them, would turn rounding into differences."""


@public()
def load_model(role: str, choice: ModelChoice, source: str | None = None) -> tuple[nn.Module, Provenance]:
    """Make a model and fill it with weights.

    Args:
        role: `clip`, `dino`, `sam`, or another that a package brings.
        choice: the recipe's table for this role.
        source: `pretrained`, `package`, `random:SEED`, or a checkpoint's path; None means the recipe's.

    Returns:
        The model in evaluation mode, and where its weights came from.

    Raises:
        RecipeError: no such model.
        WeightsError: the source is not understood, cannot be had, or does not fit the model.
    """
    source = source or choice.weights
    if choice.depth is not None and not source.startswith(RANDOM):
        raise WeightsError(f"depth={choice.depth} cuts {choice.model!r} short; only random:SEED fits that")
    module = build_model(role, choice.model, choice.depth)
    found, told = _found(role, choice, module, source)
    family = family_of(role)
    notes = _fill(module, found, family.reading(choice.model), f"{role} model {choice.model!r}", told)
    digest, licence = state_digest(module.state_dict()), family.licence(choice.model)
    return module, Provenance(model=choice.model, source=told, sha256=digest, licence=licence, changes=notes)


@public()
def read_checkpoint(path: Path) -> StateDict:
    """Read the tensors of a checkpoint, by the names and in the types that they have there.

    Nothing in the file is run. What is read: safetensors, and PyTorch's formats, those of TorchScript included,
    whatever their suffix; checkpoints in shards, and folders with one checkpoint.

    Raises:
        WeightsError: missing, damaged, or something else; says what it is.
    """
    return open_checkpoint(Path(path)).tensors


def _found(role: str, choice: ModelChoice, module: nn.Module, source: str) -> tuple[Checkpoint, str]:
    """The tensors of a source, and how the source is told: no folder of this machine is in it."""
    if source == PRETRAINED:
        if reason := family_of(role).unpublished(choice.model):
            raise WeightsError(
                f"{role} model {choice.model!r} has no pretrained weights: {reason}. Give "
                f"--{role}-weights a checkpoint that was trained with it, or random:SEED"
            )
        if choice.pretrained is None:
            raise WeightsError(
                f"{role} model {choice.model!r} has no pretrained weights in this recipe; "
                f"give --{role}-weights a checkpoint or random:SEED"
            )
        return Checkpoint(_published(role, choice.model, choice.pretrained), ""), f"pretrained:{choice.pretrained}"
    if source == PACKAGE:
        return Checkpoint(_in_package(role, choice.model), ""), source
    if source.startswith(RANDOM):
        return Checkpoint(random_state(module, _seed(source)), ""), source
    family_of(role).beside(module, Path(source))
    return open_checkpoint(Path(source)), f"file:{Path(source).name}"


def random_state(module: nn.Module, seed: int) -> StateDict:
    """Random weights for a module, fixed by the seed, the tensors' names and their shapes alone.

    They do not depend on the version of torch, on the order of modules or on the platform. Matrices keep the variance
    of what they multiply, norms are near identity.
    """
    return {
        name: torch.from_numpy(_random_tensor(name, tuple(value.shape), seed))
        if value.is_floating_point() and value.ndim
        else value
        for name, value in module.state_dict().items()
    }


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the values of a state dict, independent of the file it came from."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _random_tensor(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    values = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    scale = next((scale for pattern, scale in RANDOM_SCALES if re.search(pattern, name)), None)
    if scale is not None:
        values *= scale
    elif len(shape) == 1:
        values = 1 + 0.1 * values if name.endswith(("weight", "running_var")) else 0.02 * values
    else:
        values /= np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float32)


def _seed(source: str) -> int:
    text = source.removeprefix(RANDOM)
    if not text.isdigit():
        raise WeightsError(f"{source!r}: expected random:SEED with a whole number, for example random:1")
    return int(text)


def _in_package(role: str, model: str) -> StateDict:
    """The weights that come with this package; half precision."""
    parts = family_of(role).package.get(model, {role: ""} if model == TINY else {})
    if not parts:
        raise WeightsError(f"the package has weights for the model {TINY!r} alone, not for {role} {model!r}")
    files = {prefix: read_checkpoint(packaged(file)) for file, prefix in parts.items()}
    return {f"{prefix}{name}": tensor for prefix, tensors in files.items() for name, tensor in tensors.items()}


def packaged(name: str) -> Path:
    """A file of the miniature models' weights."""
    return Path(str(resources.files(__package__))) / "miniature" / f"{name}.safetensors"


def _published(role: str, model: str, tag: str) -> StateDict:
    try:
        return family_of(role).pretrained(model, tag)
    except WeightsError:
        raise
    except Exception as error:  # each library has its own errors for a download that fails
        raise WeightsError(
            f"the pretrained weights {tag!r} of {model!r} cannot be had: {error}. "
            f"Without a network give --{role}-weights a checkpoint on disk, or random:SEED to try things out."
        ) from error


def _fill(module: nn.Module, found: Checkpoint, reading: Reading, what: str, source: str) -> tuple[str, ...]:
    """Fill a model, and say what was done to the checkpoint."""
    told = f"{source} ({found.kind})" if found.kind else source
    fitted = fit(found.tensors, module, reading, what, told)
    reading.check(found.tensors.keys(), found.path, module)
    module.load_state_dict(fitted.state)
    return (*found.notes, *fitted.notes)
