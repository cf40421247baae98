"""GPUs that TensorRT-RTX builds plans for, and the precisions that they take. Data, with their source."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import ParameterError, one_of

USUAL, CURRENT = "ampere-plus", "current"

TARGETS = {
    USUAL: "Ampere and later", "sm75": "Turing", "sm80": "A100, A30", "sm86": "GeForce 30, A10, A40, RTX A6000",
    "sm89": "GeForce 40, L4, L40", "sm120": "GeForce 50, RTX PRO Blackwell", "sm121": "GB10 (DGX Spark)",
    CURRENT: "the GPU of this machine",
}  # fmt: skip
"""Whom a plan is for: compute capabilities, or one of two words. Those of `ComputeCapability` in TensorRT-RTX 1.7."""

SOURCE = "what the builder of TensorRT-RTX 1.7.1 takes and stores; docs.nvidia.com/deeplearning/tensorrt-rtx"

_SINCE_TURING = ("fp16", "int8w")
_SINCE_AMPERE = ("fp32", *_SINCE_TURING, "bf16", "int8")
_SINCE_ADA = (*_SINCE_AMPERE, "fp8")

TAKES = {
    USUAL: _SINCE_AMPERE, "sm75": _SINCE_TURING, "sm80": _SINCE_AMPERE, "sm86": _SINCE_AMPERE, "sm89": _SINCE_ADA,
    "sm120": _SINCE_ADA, "sm121": _SINCE_ADA, CURRENT: _SINCE_ADA,
}  # fmt: skip
"""Precisions by target. Turing has no FP32 matrix product and no bf16 there, FP8 begins with Ada. (Without a target the
builder takes FP8 without a word, and the plan cannot run on the Ampere GPUs that it says it is for: so it is refused
here. What `current` takes only the GPU knows.)"""

UNSUPPORTED = {"9.0": "an H100 refused, in 1.7.1, plans for Ampere and later and plans built on itself"}
"""Compute capabilities that TensorRT-RTX does not run on, with how that is known."""


def check_targets(targets: Sequence[str], precision: str) -> None:
    """Refuse targets that there are not or that do not go together, and a precision that one of them does not take.

    Raises:
        ParameterError: says which target, and which would do.
    """
    for target in targets:
        if target not in TARGETS:
            raise ParameterError(one_of("target", target, TARGETS))
    chosen = tuple(targets) or (USUAL,)
    if len(chosen) > 1 and {USUAL, CURRENT} & set(chosen):
        raise ParameterError(f"--target {' --target '.join(chosen)}: {USUAL} and {CURRENT} stand alone")
    for target in chosen:
        if precision not in TAKES[target]:
            able = [name for name in TARGETS if precision in TAKES[name] and name != CURRENT]
            instead = f"; those that do: {', '.join(able)}" if able else ""
            raise ParameterError(f"{target} ({TARGETS[target]}) does not take {precision}{instead}. Source: {SOURCE}")


def targets_for(precision: str) -> tuple[str, ...]:
    """Targets that take a precision, for a plan that is only to be tried: the usual ones if they do."""
    return () if precision in TAKES[USUAL] else tuple(name for name in TARGETS if precision in TAKES[name])[:1]


def fits(targets: Sequence[str], built_on: str, capability: str) -> bool:
    """Whether a plan for some targets is for a GPU.

    Args:
        targets: as chosen; none means `USUAL`.
        built_on: the compute capability of the GPU that it was built on, for `CURRENT`.
        capability: of the GPU, "8.6" for example.
    """
    if capability in UNSUPPORTED:
        return False
    if tuple(targets) == (CURRENT,):
        return built_on == capability
    if not targets or tuple(targets) == (USUAL,):
        return numbers(capability) >= (8, 0)
    return target_of(capability) in targets


def numbers(version: str) -> tuple[int, ...]:
    """The parts of a version or a compute capability, for comparisons."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def target_of(capability: str) -> str:
    """The target that is a GPU's own, whether or not there is one: "sm86" of "8.6"."""
    return f"sm{capability.replace('.', '')}"
