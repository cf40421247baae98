"""A bundle: the folder that `export-engines` writes and the deploy box loads.

`bundle.json` is the manifest. It carries a digest of itself and is read strictly, every file it names must lie in the
folder, and no engine is opened before its size and SHA-256 have been checked against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from ..boundary.arguments import public
from ..boundary.reading import read_bytes, reason, why_no_file
from ..errors import SHOWN, BundleError, RecipeError, one_of
from ..files import sha256_of, write_bytes
from ..recipe.recipe import Recipe, with_typed_parameters
from ..reporting import logger
from ..stage.census import Census, check_census
from ..stage.contract import Range
from ..stage.precision import FP32
from .advice import adding, exporting_anew, making, making_file
from .calibration import Calibration
from .consistency import check_sizes
from .digests import Digests
from .entries import EngineEntry as EngineEntry
from .entries import FileEntry as FileEntry
from .entries import PlanEntry as PlanEntry
from .entries import StageEntry as StageEntry
from .external import check_external
from .migration import SCHEMA_VERSION as SCHEMA_VERSION
from .migration import migrated
from .seal import digest_of, sealed
from .signature import check_signature, key_asked_for

log = logger("bundle")

MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a model's weights came from."""

    model: str
    """The model's name in the recipe."""
    source: str
    """`pretrained:TAG`, `package`, `random:SEED` or `file:NAME` (the name alone: no machine's paths in a bundle)."""
    sha256: str
    """Of the weights' values, independent of the file format they came in."""
    licence: str = ""
    """SPDX name of the licence of the model and its published weights; empty where this package does not know it."""
    changes: tuple[str, ...] = ()
    """What became of a checkpoint on the way: names read as another library's, tensors left out, grids resampled, …"""


class TextAssets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Assets that turn words into what a text engine takes."""

    tokenizer: FileEntry
    """`tokenizer.HASH.json`."""
    templates: tuple[str, ...]
    """Prompt templates; `{}` stands for the name."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`bundle.json`."""

    schema_version: int
    """The version of this format."""
    recipe: Recipe
    """The recipe that the bundle was built from, with the parameters in force."""
    dimensions: Any
    """The sizes that the engines fix: the pipeline's own struct (`recipe.family.sizes`)."""
    stages: dict[str, StageEntry]
    """By the stage's name."""
    text: TextAssets | None = None
    """None of a pipeline that takes no words."""
    provenance: dict[str, Provenance]
    """By the model's role."""
    versions: dict[str, str]
    """Of what made the bundle."""
    calibration: Calibration | None = None
    """How its quantised engines came about."""

    def files(self) -> Iterator[FileEntry]:
        """Every file that the manifest names."""
        if self.text is not None:
            yield self.text.tokenizer
        for stage in self.stages.values():
            for engine in stage.engines.values():
                yield from engine.files
            yield from (plan.file for plan in stage.plans)

    @classmethod
    def bare(cls, recipe: Recipe, dimensions: Any) -> Manifest:
        """A manifest without engines, for sessions that come from elsewhere than a bundle."""
        return cls(
            schema_version=SCHEMA_VERSION, recipe=recipe, dimensions=dimensions, stages={}, provenance={}, versions={}
        )


class Bundle:
    """A bundle on disk, its manifest read and its paths checked."""

    def __init__(self, path: Path, manifest: Manifest, digest: str = "") -> None:
        self.path = path
        self.manifest = manifest
        self._digest = digest
        self.digests = Digests()

    @classmethod
    @public()
    def load(cls, path: str | Path, *, verify_key: str | Path | None = None) -> Bundle:
        """Read a bundle's manifest.

        Args:
            path: the folder, or its `bundle.json`.
            verify_key: an Ed25519 public key in PEM; the bundle must be signed with its private half. None takes the
                one that the environment's `OVDEPLOY_VERIFY_KEY` names, or checks no signature.

        Raises:
            BundleError: no bundle there, another schema version, a manifest that cannot be read or is not as it was
                written, or one that names a path outside the folder; or the signature is missing or another's.
        """
        bundle = cls.written_here(path)
        if key := (Path(verify_key) if verify_key else key_asked_for()):
            check_signature(bundle.path, bundle.digest, key)
        return bundle

    @classmethod
    @public()
    def written_here(cls, path: str | Path) -> Bundle:
        """The same for a bundle that this machine writes itself, of which no signature is asked.

        Raises:
            BundleError: as `load`.
        """
        path = Path(path)
        path = path.parent if path.name == MANIFEST else path
        manifest_path = path / MANIFEST
        if why := why_no_file(manifest_path):
            raise BundleError(
                f"{path} is not a bundle: it has no {MANIFEST} ({why}). Make one with: {exporting_anew(path)}"
            )
        bundle = cls(path, *_decode(manifest_path))
        for entry in bundle.manifest.files():
            bundle._inside(entry.path)
        log.info("%s: recipe %s, digest %s", path, bundle.recipe.name, bundle.digest)
        return bundle

    @property
    def digest(self) -> str:
        """What identifies the bundle: the SHA-256 of its manifest, which names every file by its own."""
        return self._digest or digest_of(manifest_data(self.manifest))

    @property
    def recipe(self) -> Recipe:
        """The recipe it was built from."""
        return self.manifest.recipe

    def precisions(self) -> tuple[str, ...]:
        """Precisions in which at least one stage is there."""
        return tuple(sorted({p for stage in self.manifest.stages.values() for p in stage.engines}))

    @public()
    def stage(self, name: str) -> StageEntry:
        """The manifest's entry of a stage.

        Raises:
            BundleError: the bundle does not hold it.
        """
        if name not in self.manifest.stages:
            raise BundleError(
                f"{self.path} holds no {name[:SHOWN]} stage; it has {', '.join(self.manifest.stages)}. "
                f"Export it with: {adding(self.path, self.manifest, name[:SHOWN])}"
            )
        return self.manifest.stages[name]

    @public()
    def engine_path(self, stage: str, precision: str) -> Path:
        """The path of a stage's engine, after its size and SHA-256 (and its external data's) have been verified.

        Also its precision: counted in the graph where the onnx package is there, else on the manifest's word.

        Raises:
            BundleError: not in this precision, missing, truncated or altered; or its census tells of another precision.
        """
        engines, precision = self.stage(stage).engines, self.stage(stage).resolved(precision)
        if precision not in engines:
            raise BundleError(f"{self.path}, stage {stage}: {one_of('precision', precision, engines)}")
        files = engines[precision].files
        path, *_ = (self.verified(entry) for entry in files)
        if path.suffix == ".onnx":
            check_external(path, files[0].path, [entry.path for entry in files[1:]])
        check_census(self.census(stage, precision), precision, f"{path}", making(self.path, self.manifest, precision))
        return path

    @public()
    def census(self, stage: str, precision: str) -> Census | None:
        """The precision that a stage's engine really has; None if nobody counted.

        FP32 graphs are taken on the manifest's word, since counting means reading them.
        """
        engines, precision = self.stage(stage).engines, self.stage(stage).resolved(precision)
        if precision not in engines:
            raise BundleError(f"{self.path}, stage {stage}: {one_of('precision', precision, engines)}")
        entry = engines[precision]
        path = self.path / entry.files[0].path
        if precision == FP32 or path.suffix != ".onnx":
            return entry.census
        try:
            from ..graph.census import census_of_file
        except ImportError:
            return entry.census
        return census_of_file(path, self.stage(stage).contract)

    @public()
    def tokenizer_path(self) -> Path:
        """The path of the verified `tokenizer.json`.

        Raises:
            BundleError: the pipeline takes no words, or the file is missing, truncated or altered.
        """
        if self.manifest.text is None:
            raise BundleError(f"{self.path} has no tokenizer: its pipeline, {self.recipe.pipeline!r}, takes no words")
        return self.verified(self.manifest.text.tokenizer)

    def ranges(self) -> dict[str, Range]:
        """The smallest, usual and largest size of every dynamic axis, over all stages."""
        stages = self.manifest.stages.values()
        return {name: sizes for stage in stages for name, sizes in stage.contract.ranges.items()}

    def missing_stages(self) -> list[str]:
        """Stages that photos need and the bundle was exported without."""
        return [name for name in self.recipe.running_stages if name not in self.manifest.stages]

    @public()
    def verified(self, entry: FileEntry) -> Path:
        """The path of a file, after its size and SHA-256 have been compared with the manifest.

        Raises:
            BundleError: missing, truncated or altered.
        """
        path = self._inside(entry.path)
        again = f"Copy the bundle again, or rebuild it with: {making_file(self.path, self.manifest, entry)}"
        if why := why_no_file(path):
            raise BundleError(f"{path} is missing ({why}). {again}")
        size = path.stat().st_size
        if size != entry.bytes:
            raise BundleError(f"{path} has {size} bytes, the manifest says {entry.bytes}. {again}")
        if self.digests.of(path) != entry.sha256:
            raise BundleError(f"{path} is not the file that was exported: its SHA-256 differs. {again}")
        log.debug("%s: %d bytes, SHA-256 as the manifest says", path, size)
        return path

    def _inside(self, relative: str) -> Path:
        """`relative` as a path in the bundle; links are followed before it is judged."""
        pure = PurePosixPath(relative)
        path = self.path.joinpath(*pure.parts)
        if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(self.path.resolve()):
            raise BundleError(
                f"{self.path / MANIFEST} names {relative!r}, which lies outside the bundle; do not use it"
            )
        return path


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write `bundle.json` with its digest: indented, since people read it."""
    write_bytes(path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest_data(manifest)), indent=1))


def manifest_data(manifest: Manifest) -> dict[str, Any]:
    """What JSON says of a manifest, its digest included."""
    return sealed(msgspec.json.decode(msgspec.json.encode(manifest)))


def file_entry(path: Path) -> FileEntry:
    """The manifest's entry of a file that lies directly in the bundle."""
    return FileEntry(path=path.name, sha256=sha256_of(path), bytes=path.stat().st_size)


def _decode(path: Path) -> tuple[Manifest, str]:
    """Decode a manifest, its version first, so that another version is told as such; and its digest.

    What depends on the recipe's pipeline (its parameters, the sizes) is converted when the pipeline is known.
    """
    try:
        said = msgspec.json.decode(read_bytes(path, BundleError, "the manifest"))
        manifest = msgspec.convert(migrated(said, path), Manifest)
        recipe = with_typed_parameters(manifest.recipe)
        recipe.family.check(recipe)
        sizes = msgspec.convert(manifest.dimensions, recipe.family.sizes)
        check_sizes(str(path), recipe, sizes, {name: stage.contract for name, stage in manifest.stages.items()})
        return msgspec.structs.replace(manifest, recipe=recipe, dimensions=sizes), digest_of(said)
    except (msgspec.MsgspecError, ValueError, RecursionError, RecipeError) as error:
        raise BundleError(f"{path} cannot be read: {reason(error)}. Export the bundle again.") from error
