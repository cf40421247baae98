"""The plans of a bundle, chosen for the machine that they fit."""

from __future__ import annotations

from pathlib import Path

from ..backends.options import SessionOptions
from ..backends.tensorrt.libraries import LIBRARIES
from ..backends.tensorrt.library import Here
from ..backends.tensorrt.targets import TARGETS
from ..errors import BundleError, one_of
from .advice import building_plans
from .bundle import Bundle, PlanEntry


def plan_path(bundle: Bundle, stage: str, precision: str, options: SessionOptions, library: str = "tensorrt") -> Path:
    """The verified plan of a stage that fits this machine.

    Args:
        bundle: the bundle.
        stage: its stage.
        precision: of the engine that the plan was built from.
        options: which GPU, and whether plans may bring code for the host.
        library: a key of `LIBRARIES`.

    Raises:
        BundleError: there is none; says what differs, and the command that builds it.
        EngineError: no GPU can be used here.
        MissingExtraError: the library or cuda-python is not installed.
    """
    plan = choose_plan(bundle, stage, precision, LIBRARIES[library].here(options.device))
    if plan.version_compatible and not options.allow_host_code:
        raise BundleError(
            f"{plan.file.path} is version-compatible, so it brings code that would run on this machine's CPU. "
            f"If you trust where the bundle comes from, allow it: --allow-host-code"
        )
    return bundle.verified(plan.file)


def choose_plan(bundle: Bundle, stage: str, precision: str, here: Here) -> PlanEntry:
    """The plan of a stage that fits a machine; of several that do, the one for the fewest GPUs.

    Raises:
        BundleError: there is none; says what differs, and the command that builds it.
    """
    entry, library = bundle.stage(stage), LIBRARIES[here.library]
    if precision not in entry.engines:
        raise BundleError(f"{bundle.path}, stage {stage}: {one_of('precision', precision, entry.engines)}")
    candidates = [plan for plan in entry.plans if (plan.precision, plan.library) == (precision, here.library)]
    digest = entry.engines[precision].digest
    misfits = [(misfit(plan, here, digest), plan) for plan in candidates]
    if fitting := [plan for reasons, plan in misfits if not reasons]:
        return min(fitting, key=lambda plan: len(plan.targets) or len(TARGETS))
    again = library.remedy(here, precision, building_plans(bundle.path, "--precision", precision))
    if not misfits:
        raise BundleError(f"{bundle.path} has no {library.title} plan of {stage} in {precision}. {again}")
    reasons, nearest = min(misfits, key=lambda pair: len(pair[0]))
    raise BundleError(f"{nearest.file.path} does not fit this machine: {'; '.join(reasons)}. {again}")


def misfit(plan: PlanEntry, here: Here, digest: str) -> list[str]:
    """Why a plan cannot be run on a machine, in words; nothing if it can.

    Args:
        plan: built by the library that the machine has.
        here: the machine.
        digest: of the graph that the bundle holds today.
    """
    stale = ["its graph has been exported again since"] if plan.onnx_sha256 != digest else []
    return [*stale, *LIBRARIES[plan.library].misfits(plan, here)]
