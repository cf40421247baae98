"""Building a bundle: export what changed, keep what did not, and put all in place at once."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from ..runtime.bundle import (
    MANIFEST,
    SCHEMA_VERSION,
    TOKENIZER,
    Bundle,
    EngineEntry,
    FileEntry,
    Manifest,
    StageEntry,
    file_entry,
    write_manifest,
)
from ..runtime.errors import BundleError, ExportError, one_of
from ..runtime.files import write_bytes
from .contracts import stage_contract
from .onnx_export import OPSET, export_onnx
from .reference.networks import Networks
from .text_assets import imagenet_templates, write_tokenizer
from .weights import state_digest

MAKERS = ("ovdeploy", "torch", "onnx", "onnxscript", "onnxslim", "open_clip_torch", "timm", "segment-anything")
"""Packages on which the graphs depend."""

BAKED_INTO = {"clip_image": ("similarity_beta", "similarity_gamma"), "sam_decoder": ("as_published",)}
"""Parameters that become constants of an engine. (The crop is in the contracts.)"""

Progress = Callable[[str, str], None]
"""Called with a stage and what happens to it."""


def build_bundle(
    networks: Networks,
    output: Path,
    *,
    precision: str = "fp32",
    stages: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress = lambda stage, event: None,
) -> Manifest:
    """Export stages and write the bundle.

    Engines are made in a folder beside `output`, named `.NAME.partial`. They move into `output` when all are there, the
    manifest last; so an interrupted export leaves the old bundle as it was, or none, and the next call goes on where
    this one stopped.

    Args:
        networks: the models.
        output: the bundle's folder.
        precision: of the engines.
        stages: which to export; None means all. Others are kept where they are unchanged, and left out otherwise.
        force: export again what is unchanged.
        progress: is told what happens to each stage.

    Raises:
        ExportError: a stage is not the recipe's, or cannot be exported.
    """
    chosen = _chosen_stages(networks, stages)
    previous = _previous(output)
    staging = output.parent / f".{output.name}.partial"
    staging.mkdir(parents=True, exist_ok=True)
    entries: dict[str, StageEntry] = {}
    for stage in networks.recipe.stages:
        contract = stage_contract(stage, networks)
        fingerprint = _fingerprint(stage, networks, contract, precision)
        start = time.perf_counter()
        redo = force and stage in chosen
        engine = None if redo else _unchanged(previous, stage, precision, fingerprint)
        told = "unchanged"
        if engine is None and stage in chosen:
            engine = None if force else _staged(staging, stage, precision, fingerprint)
            told = "done before the interruption"
        if engine is None and stage in chosen:
            progress(stage, "exporting")
            engine = _export(networks, stage, staging, precision, fingerprint)
            told = "exported"
        if engine is None:
            progress(stage, "left out: not among --stages, and not in the bundle as it would be now")
            continue
        others = previous.manifest.stages[stage].engines if previous and stage in previous.manifest.stages else {}
        kept = {p: e for p, e in others.items() if p != precision and e.fingerprint == engine.fingerprint}
        entries[stage] = StageEntry(contract=contract, engines={**kept, precision: engine})
        megabytes = sum(file.bytes for file in engine.files) / 1e6
        progress(stage, f"{told}, {megabytes:.1f} MB, {time.perf_counter() - start:.1f} s")
    write_tokenizer(staging / TOKENIZER, networks.models["clip"].vocab_size)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        recipe=networks.recipe,
        dimensions=networks.dimensions,
        stages=entries,
        tokenizer=file_entry(staging / TOKENIZER),
        templates=imagenet_templates(),
        provenance=dict(networks.provenance),
        versions=_versions(),
    )
    _put_in_place(staging, output, manifest, previous)
    return manifest


def _chosen_stages(networks: Networks, stages: Sequence[str] | None) -> Sequence[str]:
    for stage in stages or ():
        if stage not in networks.recipe.stages:
            raise ExportError(one_of(f"stage of {networks.recipe.name}", stage, networks.recipe.stages))
    return stages or networks.recipe.stages


def _previous(output: Path) -> Bundle | None:
    """The bundle that is there; None without one, or with one that this version cannot read and so replaces."""
    if output.exists() and not (output / MANIFEST).is_file() and any(output.iterdir()):
        raise ExportError(f"{output} is a folder with other files in it; choose another --output")
    try:
        return Bundle.load(output)
    except BundleError:
        return None


def _fingerprint(stage: str, networks: Networks, contract: Any, precision: str) -> str:
    """Hash of all that an engine depends on: weights, code, sizes, baked parameters, versions."""
    parameters = msgspec.structs.asdict(networks.recipe.parameters)
    facts = {
        "stage": stage,
        "precision": precision,
        "opset": OPSET,
        "contract": contract,
        "method": networks.recipe.row,
        "baked": {name: parameters[name] for name in BAKED_INTO.get(stage, ())},
        "weights": state_digest(networks.modules[stage].state_dict()),
        "code": _code_digest(),
        "versions": _versions(),
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="sorted")).hexdigest()


def _code_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in MAKERS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _unchanged(previous: Bundle | None, stage: str, precision: str, fingerprint: str) -> EngineEntry | None:
    """The engine in the bundle that is there, if it is what would be exported now and is intact."""
    if previous is None or stage not in previous.manifest.stages:
        return None
    engine = previous.manifest.stages[stage].engines.get(precision)
    if engine is None or engine.fingerprint != fingerprint:
        return None
    try:
        for entry in engine.files:
            previous.verified(entry)
    except BundleError:
        return None
    return engine


def _staged(staging: Path, stage: str, precision: str, fingerprint: str) -> EngineEntry | None:
    """The engine that an interrupted export left, if it is what would be exported now and is intact."""
    note = _note(staging, stage, precision)
    try:
        engine = msgspec.json.decode(note.read_bytes(), type=EngineEntry)
        intact = all(file_entry(staging / entry.path) == entry for entry in engine.files)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return engine if intact and engine.fingerprint == fingerprint else None


def _export(networks: Networks, stage: str, staging: Path, precision: str, fingerprint: str) -> EngineEntry:
    path = staging / f"{stage}.{precision}.onnx"
    for stale in _files_of(path):
        stale.unlink()
    export_onnx(networks.modules[stage], stage_contract(stage, networks), path)
    engine = EngineEntry(files=tuple(file_entry(file) for file in _files_of(path)), fingerprint=fingerprint)
    write_bytes(_note(staging, stage, precision), msgspec.json.encode(engine))
    return engine


def _note(staging: Path, stage: str, precision: str) -> Path:
    return staging / f"{stage}.{precision}.done"


def _files_of(path: Path) -> list[Path]:
    """The graph, and its external data if there is any."""
    return [file for file in (path, path.with_name(f"{path.name}.data")) if file.exists()]


def _put_in_place(staging: Path, output: Path, manifest: Manifest, previous: Bundle | None) -> None:
    """Move what was made into the bundle, then write its manifest, then remove what nothing names any more."""
    output.mkdir(parents=True, exist_ok=True)
    named = {entry.path for entry in _files(manifest)}
    for path in staging.iterdir():
        if path.name in named:
            path.replace(output / path.name)
    write_manifest(output, manifest)
    if previous is not None:
        for entry in _files(previous.manifest):
            if entry.path not in named:
                (output / entry.path).unlink(missing_ok=True)
    shutil.rmtree(staging)


def _files(manifest: Manifest) -> Iterable[FileEntry]:
    yield manifest.tokenizer
    for stage in manifest.stages.values():
        for engine in stage.engines.values():
            yield from engine.files
