"""Building a bundle: export what changed, keep what did not, and put all in place at once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from ...runtime.bundle.bundle import (
    SCHEMA_VERSION,
    TOKENIZER,
    Bundle,
    EngineEntry,
    Manifest,
    StageEntry,
    TextAssets,
    file_entry,
)
from ...runtime.bundle.locks import locked
from ...runtime.bundle.placing import put_in_place
from ...runtime.files import named_by_content
from ...runtime.reporting import Reporter, silent
from ...runtime.stage.census import Census
from ...runtime.stage.contract import StageContract
from ...runtime.stage.precision import FP32
from ..reference.networks import Networks
from .fingerprint import MAKERS, derived, fingerprint_of, versions_of_makers
from .onnx_export import export_onnx
from .previous import chosen_stages, held_stages, kept_calibration, previous_bundle
from .staging import fresh, noted, staged, unchanged


class Conversion(Protocol):
    """How engines of another precision are made from the FP32 graphs (`half.HalfConversion`)."""

    precision: str

    @property
    def variant(self) -> str:
        """Dependencies of an engine beside its FP32 graph."""

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
        BusyError: another process exports to the same place.
    """
    with locked(output, "export-engines"):
        return _build_bundle(networks, output, conversion, stages, force, progress)


def _build_bundle(
    networks: Networks,
    output: Path,
    conversion: Conversion | None,
    stages: Sequence[str] | None,
    force: bool,
    progress: Reporter,
) -> Manifest:
    previous = previous_bundle(output)
    chosen = chosen_stages(networks, stages, previous)
    staging = output.parent / f".{output.name}.partial"
    staging.mkdir(parents=True, exist_ok=True)
    build = _Build(networks, previous, staging, conversion, progress)
    wanted = {*chosen, *networks.recipe.stages, *held_stages(previous)}
    works = [_Work(stage, build) for stage in networks.recipe.possible_stages if stage in wanted]
    made = _make(works, build, chosen, force=force)
    entries = {work.stage: entry for work in works if (entry := work.entry(made[work.stage]))}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        recipe=networks.recipe,
        dimensions=networks.dimensions,
        stages=entries,
        text=_text_assets(networks, staging),
        provenance=dict(networks.provenance),
        versions=versions_of_makers(("ovdeploy", *MAKERS)),
        calibration=kept_calibration(previous, entries),
    )
    put_in_place(staging, output, manifest, previous)
    if conversion:
        conversion.finish(output, manifest)
    return manifest


class _Build(NamedTuple):
    """All stages of one build have this in common."""

    networks: Networks
    previous: Bundle | None
    """The bundle that is there."""
    staging: Path
    conversion: Conversion | None
    progress: Reporter


class _Graph(NamedTuple):
    """A stage's FP32 graph, which is the engine, or what the engine is made from."""

    path: Path
    engine: EngineEntry | None
    """Made in this build; None if the graph is that of the bundle that is there."""
    seconds: float
    """Spent on it."""


class _Made(NamedTuple):
    """A stage as it goes into the bundle."""

    told: str
    """How it came about, for people."""
    engine: EngineEntry | None = None
    """Of the precision that is built; None if the stage is left out of it."""
    exported: EngineEntry | None = None
    """The FP32 engine, if it was made in this build."""
    seconds: float | None = None
    """Spent on the stage; None if nothing was to be done."""

    def tell(self, progress: Reporter, stage: str) -> None:
        """Say what happened."""
        size = f", {sum(file.bytes for file in self.engine.files) / 1e6:.1f} MB" if self.engine else ""
        took = "" if self.seconds is None else f", {self.seconds:.1f} s"
        progress(f"{self.told}{size}{took}", about=stage, lasting=True)


def _make(works: Sequence[_Work], build: _Build, chosen: Sequence[str], *, force: bool) -> dict[str, _Made]:
    """Find or make every stage, by name, and say of each what happened as soon as it is there.

    All graphs are there before the first is converted; without a conversion, each graph is an engine.
    """
    made = {work.stage: work.found(redo=force and work.stage in chosen) for work in works}
    missing = [work for work in works if made[work.stage].engine is None and work.stage in chosen]
    for work in works:
        if work not in missing:
            made[work.stage].tell(build.progress, work.stage)
    graphs: Iterable[_Graph] = (work.graph() for work in missing)
    if build.conversion:
        graphs = list(graphs)
        build.conversion.prepare(
            {work.stage: graph.path for work, graph in zip(missing, graphs, strict=True)}, build.progress
        )
    for work, graph in zip(missing, graphs, strict=True):
        made[work.stage] = work.made(graph)
        made[work.stage].tell(build.progress, work.stage)
    return made


class _Work:
    """One stage on its way into the bundle. It keeps nothing of the way: every step takes what the one before gave."""

    def __init__(self, stage: str, build: _Build) -> None:
        conversion = build.conversion
        self.stage, self._build = stage, build
        self._contract = build.networks.contract(stage)
        self._precision = conversion.precision if conversion else FP32
        self._source = fingerprint_of(stage, build.networks, self._contract)
        self._fingerprint = derived(self._source, conversion.variant) if conversion else self._source

    def found(self, *, redo: bool) -> _Made:
        """The engine that is there, in the bundle or left by an interrupted export, if it is what is wanted."""
        of_this = (self.stage, self._precision, self._fingerprint)
        if not redo and (engine := unchanged(self._build.previous, *of_this)):
            return _Made("unchanged", engine)
        if not redo and (engine := staged(self._build.staging, *of_this)):
            return _Made("done before the interruption", engine)
        return _Made("left out: not among --stages, and not in the bundle as it would be now")

    def graph(self) -> _Graph:
        """Make the FP32 graph, or find it where an engine is to be made from it.

        Raises:
            ExportError: the stage cannot be exported.
        """
        networks, previous, staging, conversion, progress = self._build
        start = time.perf_counter()
        if conversion and previous and unchanged(previous, self.stage, FP32, self._source):
            return _Graph(previous.engine_path(self.stage, FP32), None, seconds=0.0)
        engine = staged(staging, self.stage, FP32, self._source) if conversion else None
        if engine is None:
            progress("exporting", about=self.stage)
            engine = _export(networks, self.stage, staging, self._source)
        return _Graph(staging / engine.files[0].path, engine, time.perf_counter() - start)

    def made(self, graph: _Graph) -> _Made:
        """The engine: the FP32 graph itself, or what the conversion makes of it."""
        _, _, staging, conversion, progress = self._build
        engine, start = graph.engine, time.perf_counter()
        if conversion:
            progress("converting", about=self.stage)
            path = fresh(staging / f"{self.stage}.{self._precision}.onnx")
            census = conversion.convert(self._contract, graph.path, path, progress)
            engine = noted(staging, self.stage, path, self._precision, self._fingerprint, census, self._source)
        return _Made("exported", engine, graph.engine, graph.seconds + time.perf_counter() - start)

    def entry(self, made: _Made) -> StageEntry | None:
        """The manifest's entry, with the engines of other precisions that come from the same FP32 graph."""
        previous = self._build.previous
        before = previous.manifest.stages.get(self.stage) if previous else None
        engines = self._kept(before.engines if before else {}, made.exported)
        if made.engine:
            engines[self._precision] = made.engine
        if not engines:
            return None
        substitutes = {p: other for p, other in before.substitutes.items() if other in engines} if before else {}
        plans = before.plans if before else ()
        entry = StageEntry(contract=self._contract, engines=engines, plans=plans, substitutes=substitutes)
        return msgspec.structs.replace(entry, plans=entry.fitting_plans())

    def _kept(self, before: Mapping[str, EngineEntry], exported: EngineEntry | None) -> dict[str, EngineEntry]:
        """Engines of other precisions that come from this FP32 graph.

        A graph that was exported anew and is the old one to the byte is the same graph, whatever its fingerprint was.
        """
        old, origins = before.get(FP32), {self._source}
        if old and exported and exported.digest == old.digest:
            origins.add(old.fingerprint)
        named = dict.fromkeys(origins, self._source)
        return {
            precision: msgspec.structs.replace(
                engine,
                fingerprint=named.get(engine.fingerprint, engine.fingerprint),
                source=named.get(engine.source, engine.source),
            )
            for precision, engine in before.items()
            if precision != self._precision and origins & {engine.fingerprint, engine.source}
        }


def _text_assets(networks: Networks, staging: Path) -> TextAssets | None:
    """The tokenizer, written beside the engines, and the templates; None of a pipeline that takes no words."""
    if networks.family.write_text is None:
        return None
    templates = networks.family.write_text(networks, staging / TOKENIZER)
    return TextAssets(tokenizer=file_entry(named_by_content(staging / TOKENIZER, ".json")), templates=templates)


def _export(networks: Networks, stage: str, staging: Path, fingerprint: str) -> EngineEntry:
    path = fresh(staging / f"{stage}.{FP32}.onnx")
    census = export_onnx(networks.modules[stage], networks.contract(stage), path)
    return noted(staging, stage, path, FP32, fingerprint, census)
