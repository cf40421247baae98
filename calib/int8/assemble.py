"""From a float bundle and chosen quantised graphs to a bundle with both."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from onnx import ModelProto

from ...runtime.bundle.bundle import Bundle, EngineEntry, Manifest, StageEntry, file_entry, write_manifest
from ...runtime.bundle.calibration import Calibration
from ...runtime.bundle.places import bundle_in, holds_other_files
from ...runtime.bundle.placing import put_in_place
from ...runtime.errors import BundleError
from ...runtime.graph.census import take_census
from ...runtime.graph.half import to_half
from ...runtime.graph.islands import STANDARD, island_nodes
from ...runtime.graph.model import check_file, named_graph, save_model
from ...runtime.graph.products import still_there
from ...runtime.stage.census import Census, missing_precision
from ...runtime.stage.precision import FP32, QUANTISED
from .stage import Choice, Work


class Goal(NamedTuple):
    """The engines that are wanted."""

    precision: str
    """Of the products."""
    rest: str
    """Of what is not quantised in an engine, and where there is such a one, of the stages that stay float."""


def draft_of(output: Path) -> Path:
    """Where a bundle is put together before it is accepted."""
    return output.parent / f".{output.name}.partial"


def check_output(source: Bundle, output: Path) -> None:
    """Refuse a place that holds something else.

    Raises:
        BundleError: it is the float bundle itself, or a folder that is no bundle.
    """
    if output.exists() and source.path.resolve() == output.resolve():
        raise BundleError(f"{output} is the float bundle itself; choose another --output")
    if holds_other_files(output):
        raise BundleError(f"{output} is a folder with other files in it; choose another --output")


def rest_in(model: ModelProto, precision: str, plain: ModelProto) -> ModelProto:
    """A quantised graph whose other nodes are in a precision: half has the usual islands.

    Args:
        model: the quantised graph.
        precision: of the rest.
        plain: the FP32 graph that it was made from, where islands are found.
    """
    if precision == FP32:
        return model
    return to_half(model, precision, still_there(model, island_nodes(plain, STANDARD)))


def begin_draft(source: Bundle, output: Path) -> Path:
    """A draft that holds all files of the float bundle, linked where the file system can."""
    draft = draft_of(output)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for entry in source.manifest.files():
        target = draft / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.verified(entry), target)
        except OSError:
            shutil.copyfile(source.path / entry.path, target)
    return draft


def write_engine(work: Work, choice: Choice, draft: Path, source: Bundle, rest: str) -> tuple[EngineEntry, str | None]:
    """Write a stage's quantised engine into the draft.

    Returns:
        Its entry, and what it lacks of the precision (None if it may go by it).

    Raises:
        ExportError: the graph fails ONNX's checks.
    """
    for earlier in draft.glob(f"{work.stage}.{work.precision}.*"):  # of choices that were tried before
        earlier.unlink()
    path = draft / f"{work.stage}.{work.precision}.onnx"
    model = rest_in(work.quantised(choice), rest, work.graph())
    save_model(model, path)
    check_file(path, f"{work.stage} in {work.precision}")
    census: Census = take_census(model, work.contract)
    files = tuple(file_entry(file) for file in named_graph(path))
    origin = source.stage(work.stage).engines[FP32]
    entry = EngineEntry(files=files, fingerprint=files[0].sha256, source=origin.fingerprint, census=census)
    return entry, missing_precision(census, work.precision)


def write_draft(
    source: Bundle,
    draft: Path,
    engines: Mapping[str, EngineEntry],
    goal: Goal,
    calibration: Calibration | None = None,
) -> Bundle:
    """Write the draft's manifest: stages without a quantised engine are served by a float one.

    A bundle tells of one calibration, so quantised engines that the float bundle had are not in it.
    """
    stages = {name: _stage(entry, engines.get(name), goal) for name, entry in source.manifest.stages.items()}
    manifest: Manifest = msgspec.structs.replace(source.manifest, stages=stages, calibration=calibration)
    write_manifest(draft, manifest)
    return Bundle.written_here(draft)


def _stage(entry: StageEntry, engine: EngineEntry | None, goal: Goal) -> StageEntry:
    others = {precision: other for precision, other in entry.engines.items() if precision not in QUANTISED}
    substitutes = {key: value for key, value in entry.substitutes.items() if key not in QUANTISED}
    plans = tuple(plan for plan in entry.plans if plan.precision in others)
    if engine is not None:
        others[goal.precision] = engine
    elif served_by := next((precision for precision in (goal.rest, FP32) if precision in others), None):
        substitutes[goal.precision] = served_by
    return msgspec.structs.replace(entry, engines=others, substitutes=substitutes, plans=plans)


def accept(draft: Path, output: Path) -> None:
    """Put the draft in its place; what nothing names any more is not in it."""
    put_in_place(draft, output, Bundle.written_here(draft).manifest, bundle_in(output))
