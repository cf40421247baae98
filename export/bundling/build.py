"""Building a bundle: export what changed, keep what did not, and put all in place at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ...runtime.bundle.bundle import (
    MANIFEST,
    SCHEMA_VERSION,
    TOKENIZER,
    Bundle,
    EngineEntry,
    Manifest,
    StageEntry,
    TextAssets,
    file_entry,
)
from ...runtime.bundle.calibration import Calibration
from ...runtime.errors import BundleError, ExportError, one_of
from ...runtime.reporting import Reporter, silent
from ...runtime.stage.census import Census
from ...runtime.stage.contract import StageContract
from ...runtime.stage.precision import FP32, INT8
from ..reference.networks import Networks
from .fingerprint import MAKERS, derived, fingerprint_of, versions_of_makers
from .onnx_export import export_onnx
from .staging import fresh, noted, put_in_place, staged, unchanged


class Conversion(Protocol):
    """How engines of another precision are made from the FP32 graphs (`half.HalfConversion`)."""

    precision: str

    @property
    def variant(self) -> str:
        """What an engine depends on beside its FP32 graph."""

    def prepare(self, graphs: Mapping[str, Path], tell: Reporter) -> None:
        """Look at all graphs, by stage, before the first is converted."""

    def convert(self, contract: StageContract, source: Path, target: Path, tell: Reporter) -> Census:
        """Make one engine and count its precisions."""

    def finish(self, output: Path, manifest: Manifest) -> None:
        """Write beside the engines what people should see."""


def build_bundle(
    networks: Networks,
    output: Path,
    *,
    conversion: Conversion | None = None,
    stages: Sequence[str] | None = None,
    force: bool = False,
    progress: Reporter = silent,
) -> Manifest:
    """Export stages and write the bundle.

    Engines are made in a folder beside `output`, named `.NAME.partial`. They move into `output` when all are there, the
    manifest last; so an interrupted export leaves the old bundle as it was, or none, and the next call goes on where
    this one stopped.

    Args:
        networks: the models.
        output: the bundle's folder.
        conversion: makes the engines from the FP32 graphs; None leaves them FP32.
        stages: which to export; None means the pipeline's, the recipe's optional ones, and the optional ones that the
            bundle holds already. Others are kept where they are unchanged, and left out otherwise.
        force: export again what is unchanged.
        progress: is told what happens to each stage.

    Raises:
        ExportError: a stage is not the recipe's, or cannot be exported.
    """
    previous = _previous(output)
    chosen = _chosen_stages(networks, stages, previous)
    staging = output.parent / f".{output.name}.partial"
    staging.mkdir(parents=True, exist_ok=True)
    precision = conversion.precision if conversion else FP32
    wanted = {*chosen, *networks.recipe.stages, *_held(previous)}
    work = [
        _Work(stage, networks, precision, conversion) for stage in networks.recipe.possible_stages if stage in wanted
    ]
    for item in work:
        item.look(previous, staging, redo=force and item.stage in chosen)
    missing = [item for item in work if item.engine is None and item.stage in chosen]
    for item in missing:
        item.export(previous, staging, progress)
    if conversion:
        conversion.prepare({item.stage: item.graph for item in missing if item.graph}, progress)
        for item in missing:
            item.convert(conversion, staging, progress)
    entries = {item.stage: entry for item in work if (entry := item.entry(previous))}
    for item in work:
        item.tell(progress)
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        recipe=networks.recipe,
        dimensions=networks.dimensions,
        stages=entries,
        text=_text_assets(networks, staging),
        provenance=dict(networks.provenance),
        versions=versions_of_makers(("ovdeploy", *MAKERS)),
        calibration=_calibration(previous, entries),
    )
    put_in_place(staging, output, manifest, previous)
    if conversion:
        conversion.finish(output, manifest)
    return manifest


class _Work:
    """One stage on its way into the bundle."""

    def __init__(self, stage: str, networks: Networks, precision: str, conversion: Conversion | None) -> None:
        self.stage, self.networks, self.precision = stage, networks, precision
        self.contract = networks.contract(stage)
        self.source = fingerprint_of(stage, networks, self.contract)
        self.fingerprint = derived(self.source, conversion.variant) if conversion else self.source
        self.engine: EngineEntry | None = None
        self.exported: EngineEntry | None = None
        self.graph: Path | None = None
        self.told, self.start = "left out: not among --stages, and not in the bundle as it would be now", 0.0

    def look(self, previous: Bundle | None, staging: Path, *, redo: bool) -> None:
        """Take the engine that is there, in the bundle or left by an interrupted export, if it is what is wanted."""
        if redo:
            return
        self.engine = unchanged(previous, self.stage, self.precision, self.fingerprint)
        self.told = "unchanged" if self.engine else self.told
        if self.engine is None and (left := staged(staging, self.stage, self.precision, self.fingerprint)):
            self.engine, self.told = left, "done before the interruption"

    def export(self, previous: Bundle | None, staging: Path, progress: Reporter) -> None:
        """Make the FP32 graph, or find it: it is the engine, or what the engine is made from."""
        self.start = time.perf_counter()
        converted = self.precision != FP32
        if converted and previous and unchanged(previous, self.stage, FP32, self.source):
            self.graph = previous.engine_path(self.stage, FP32)
            return
        engine = staged(staging, self.stage, FP32, self.source) if converted else None
        if engine is None:
            progress("exporting", about=self.stage)
            engine = _export(self.networks, self.stage, staging, self.source)
        self.exported = engine
        self.graph = staging / engine.files[0].path
        if not converted:
            self.engine, self.told = engine, "exported"

    def convert(self, conversion: Conversion, staging: Path, progress: Reporter) -> None:
        """Make the engine from the FP32 graph."""
        assert self.graph is not None, "exported before"
        progress("converting", about=self.stage)
        path = fresh(staging / f"{self.stage}.{self.precision}.onnx")
        census = conversion.convert(self.contract, self.graph, path, progress)
        self.engine = noted(staging, self.stage, path, self.precision, self.fingerprint, census, source=self.source)
        self.told = "exported"

    def entry(self, previous: Bundle | None) -> StageEntry | None:
        """The manifest's entry, with the engines of other precisions that come from the same FP32 graph."""
        before = previous.manifest.stages.get(self.stage) if previous else None
        engines = self._kept(before.engines if before else {})
        if self.engine:
            engines[self.precision] = self.engine
        if not engines:
            return None
        substitutes = {p: other for p, other in before.substitutes.items() if other in engines} if before else {}
        plans = before.plans if before else ()
        entry = StageEntry(contract=self.contract, engines=engines, plans=plans, substitutes=substitutes)
        return msgspec.structs.replace(entry, plans=entry.fitting_plans())

    def _kept(self, before: Mapping[str, EngineEntry]) -> dict[str, EngineEntry]:
        """Engines of other precisions that come from this FP32 graph.

        A graph that was exported anew and is the old one to the byte is the same graph, whatever its fingerprint was.
        """
        old, origins = before.get(FP32), {self.source}
        if old and self.exported and self.exported.digest == old.digest:
            origins.add(old.fingerprint)
        named = dict.fromkeys(origins, self.source)
        return {
            precision: msgspec.structs.replace(
                engine,
                fingerprint=named.get(engine.fingerprint, engine.fingerprint),
                source=named.get(engine.source, engine.source),
            )
            for precision, engine in before.items()
            if precision != self.precision and origins & {engine.fingerprint, engine.source}
        }

    def tell(self, progress: Reporter) -> None:
        """Say what happened."""
        size = f", {sum(file.bytes for file in self.engine.files) / 1e6:.1f} MB" if self.engine else ""
        took = f", {time.perf_counter() - self.start:.1f} s" if self.start else ""
        progress(f"{self.told}{size}{took}", about=self.stage, lasting=True)


def _text_assets(networks: Networks, staging: Path) -> TextAssets | None:
    """The tokenizer, written beside the engines, and the templates; None of a pipeline that takes no words."""
    if networks.family.write_text is None:
        return None
    templates = networks.family.write_text(networks, staging / TOKENIZER)
    return TextAssets(tokenizer=file_entry(staging / TOKENIZER), templates=templates)


def _chosen_stages(networks: Networks, stages: Sequence[str] | None, previous: Bundle | None) -> Sequence[str]:
    recipe = networks.recipe
    for stage in stages or ():
        if stage not in recipe.possible_stages:
            raise ExportError(one_of(f"stage of {recipe.name}", stage, recipe.possible_stages))
    optional = [
        s for s in recipe.possible_stages if s in {*recipe.optional_stages, *_held(previous)} - {*recipe.stages}
    ]
    return stages or (*recipe.stages, *optional)


def _calibration(previous: Bundle | None, entries: Mapping[str, StageEntry]) -> Calibration | None:
    """How INT8 engines came about that are still there, every one of them."""
    told = previous.manifest.calibration if previous else None
    made = {stage for stage, report in told.stages.items() if report.precision == INT8} if told else set()
    return told if all(INT8 in entries[stage].engines for stage in made if stage in entries) else None


def _held(bundle: Bundle | None) -> Iterable[str]:
    """Stages that a bundle holds."""
    return bundle.manifest.stages if bundle else ()


def _previous(output: Path) -> Bundle | None:
    """The bundle that is there; None without one, or with one that this version cannot read and so replaces."""
    if output.exists() and not (output / MANIFEST).is_file() and any(output.iterdir()):
        raise ExportError(f"{output} is a folder with other files in it; choose another --output")
    try:
        return Bundle.load(output)
    except BundleError:
        return None


def _export(networks: Networks, stage: str, staging: Path, fingerprint: str) -> EngineEntry:
    path = fresh(staging / f"{stage}.{FP32}.onnx")
    census = export_onnx(networks.modules[stage], networks.contract(stage), path)
    return noted(staging, stage, path, FP32, fingerprint, census)
