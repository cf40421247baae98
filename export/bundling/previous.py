"""What a build takes over from the bundle that is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...runtime.bundle.bundle import Bundle, StageEntry
from ...runtime.bundle.calibration import Calibration
from ...runtime.bundle.places import bundle_in, holds_other_files
from ...runtime.errors import ExportError, one_of
from ..reference.networks import Networks


def previous_bundle(output: Path) -> Bundle | None:
    """The bundle that is there; None without one, or with one that this version cannot read and so replaces."""
    if holds_other_files(output):
        raise ExportError(f"{output} is a folder with other files in it; choose another --output")
    return bundle_in(output)


def held_stages(bundle: Bundle | None) -> Iterable[str]:
    """Stages that a bundle holds."""
    return bundle.manifest.stages if bundle else ()


def chosen_stages(networks: Networks, stages: Sequence[str] | None, previous: Bundle | None) -> Sequence[str]:
    """The stages that are exported: those that are asked for, or the recipe's and the optional ones that are there.

    Raises:
        ExportError: one that is asked for is not the recipe's.
    """
    recipe = networks.recipe
    for stage in stages or ():
        if stage not in recipe.possible_stages:
            raise ExportError(one_of(f"stage of {recipe.name}", stage, recipe.possible_stages))
    optional = [
        s for s in recipe.possible_stages if s in {*recipe.optional_stages, *held_stages(previous)} - {*recipe.stages}
    ]
    return stages or (*recipe.stages, *optional)


def kept_calibration(previous: Bundle | None, entries: Mapping[str, StageEntry]) -> Calibration | None:
    """How quantised engines came about that are still there, every one of them."""
    told = previous.manifest.calibration if previous else None
    if told is None:
        return None
    made = {stage for stage, report in told.stages.items() if report.precision == told.precision}
    return told if all(told.precision in entries[stage].engines for stage in made if stage in entries) else None
