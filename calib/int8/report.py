"""Reports of a calibration: for `bundle.json`, as JSON, and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...runtime.bundle.calibration import Calibration, LayerReport, StageReport
from ...runtime.files import atomic_path, write_bytes
from .plot import FLOAT, draw_sensitivity
from .ranges import clipped
from .stage import Choice, Work

REPORT, PLOT = "calibration.json", "sensitivity.png"


def stage_report(work: Work, choice: Choice, reasons: Mapping[str, str]) -> StageReport:
    """A stage as the manifest tells of it.

    Args:
        work: the stage.
        choice: what its engine is made by.
        reasons: why stages stay float, by stage.
    """
    seen = work.balanced(choice.strengths).seen
    strengths = {product.node: choice.strengths.get(name, 0.0)
                 for name, site in work.sites.items() for product in site.products}  # fmt: skip
    on = set(choice.on) if work.stage not in reasons else set()
    layers = tuple(
        LayerReport(
            node=product.node, block=product.block, precision=work.precision if product.node in on else FLOAT,
            method=choice.methods[product.value], limit=choice.limits[product.value],
            largest=float(seen[product.value].largest.max()),
            clipped=clipped(seen[product.value], choice.limits[product.value]), error=choice.errors[product.node],
            smoothing=strengths.get(product.node, 0.0),
        )
        for product in work.products
    )  # fmt: skip
    return StageReport(
        precision=work.precision if on else FLOAT, reason=reasons.get(work.stage, ""), smoothing=choice.smoothing,
        weight_bits=choice.weight_bits, method=choice.method, cosine=choice.cosine, relative=choice.relative,
        methods=choice.table, layers=layers,
    )  # fmt: skip


def write_report(folder: Path, calibration: Calibration, title: str) -> None:
    """Write `calibration.json` and `sensitivity.png`."""
    write_bytes(folder / REPORT, msgspec.json.format(msgspec.json.encode(calibration), indent=1))
    with atomic_path(folder / PLOT) as temporary:
        draw_sensitivity(calibration.stages, title).save(temporary, format="PNG")
