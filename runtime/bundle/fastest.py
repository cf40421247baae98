"""The precision that is fastest here, of those that a bundle and a backend have: what `precision="auto"` means."""

from __future__ import annotations

from ..backends.cpu import Processor, this_processor
from ..backends.registry import BACKENDS, choose_backend, refusal
from ..reporting import logger
from ..stage.precision import FP32
from .bundle import Bundle

AUTO = "auto"

log = logger("bundle")


def resolved_precision(bundle: Bundle, precision: str, backend: str) -> str:
    """A precision itself; for "auto" the fastest that the processor has instructions for.

    Only backends on the CPU are chosen for: on a GPU what is fastest is known when it was measured, and FP32 is taken.

    Args:
        bundle: the bundle.
        precision: one that it holds, or that the backend makes; or "auto".
        backend: a key of `BACKENDS`, or "auto".

    Raises:
        BundleError: there is no such backend.
        MissingExtraError: it is not installed.
    """
    if precision != AUTO:
        return precision
    processor = this_processor()
    found = fastest(bundle, backend, processor)
    log.info("%s is taken: the processor has instructions for %s", found, ", ".join(processor.native) or "none")
    return found


def fastest(bundle: Bundle, backend: str, processor: Processor) -> str:
    """The fastest precision of a bundle for a processor; FP32 if there is no faster one."""
    held = bundle.precisions()
    for precision in processor.native:
        chosen = choose_backend(backend, precision)
        row = BACKENDS[chosen]
        there = precision in held or precision in row.makes
        if there and row.on_cpu and precision not in row.widens and not refusal(chosen, precision):
            return precision
    return FP32
