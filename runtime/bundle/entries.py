"""Entries of a bundle's manifest: files, engines, plans and stages."""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec

from ..stage.census import Census
from ..stage.contract import StageContract


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of the bundle. The path is relative to the bundle, with forward slashes."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\\]+$")]
    """At most 200 characters, without control characters and backslashes."""
    sha256: str
    """Of the file."""
    bytes: int
    """Its size."""


class EngineEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stage in one precision: the graph first, then its external data."""

    files: Annotated[tuple[FileEntry, ...], msgspec.Meta(min_length=1)]
    """The graph first, then its external data."""
    fingerprint: str
    """Hash of all that the export depended on: code, weights, sizes, versions."""
    source: str = ""
    """For an engine that was made from another: that one's fingerprint."""
    census: Census | None = None
    """The precision of its weights and nodes; None if nobody counted."""

    @property
    def digest(self) -> str:
        """The graph's SHA-256; with external data, that of all files' hashes in order."""
        hashes = [entry.sha256 for entry in self.files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


class PlanEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A plan of a stage, for TensorRT or TensorRT-RTX: which graph it was built from, and which machines it fits."""

    file: FileEntry
    """The plan."""
    precision: str
    """Of the engine it was built from."""
    onnx_sha256: str
    """`EngineEntry.digest` of that engine."""
    library: str = "tensorrt"
    """`tensorrt` or `tensorrt-rtx`."""
    tensorrt: str
    """Version of the library that built it."""
    gpu: str = ""
    """Name of the GPU that it was built on; none where it was built for targets."""
    compute_capability: str = ""
    """Of that GPU: "9.0", for example."""
    targets: tuple[str, ...] = ()
    """What TensorRT-RTX built it for, `sm89` for example; none means Ampere and later."""
    ranges: dict[str, tuple[int, int, int]] = {}
    """The smallest, usual and largest size of every dynamic axis."""
    optimization_level: int = 3
    """TensorRT's builder optimisation level."""
    tf32: bool = False
    """Whether TensorRT may round FP32 products to TF32."""
    version_compatible: bool = False
    """Whether newer versions of TensorRT can run it."""
    hardware_compatibility: str = "none"
    """Which other GPUs can run it: a key of `runtime.backends.tensorrt.options.HARDWARE`."""
    layers: dict[str, int] = {}
    """Layers by the precision of what they give: of the plan, as the engine inspector told; or of the parsed
    network, for no plan can be opened without a GPU."""


class StageEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stage: its contract, its engines by precision, and the TensorRT plans that were built from them."""

    contract: StageContract
    """Inputs and outputs of its engines, whatever their precision."""
    engines: Annotated[dict[str, EngineEntry], msgspec.Meta(min_length=1)]
    """By precision: `fp32`, `fp16`, `bf16`, `int8`, …."""
    plans: tuple[PlanEntry, ...] = ()
    """TensorRT plans, of any number of machines."""
    substitutes: dict[str, str] = {}
    """Which precision's engine serves where there is none in another: an INT8 bundle's float stages."""

    def resolved(self, precision: str) -> str:
        """The precision whose engine is meant by `precision`."""
        return precision if precision in self.engines else self.substitutes.get(precision, precision)

    def fitting_plans(self) -> tuple[PlanEntry, ...]:
        """The plans whose graph is still the bundle's."""
        digests = {precision: engine.digest for precision, engine in self.engines.items()}
        return tuple(plan for plan in self.plans if digests.get(plan.precision) == plan.onnx_sha256)
