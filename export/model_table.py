"""The table of models: every method, backbone, extractor and SAM, exported and held against PyTorch.

    python -m ovdeploy.export.model_table --update docs/parity.md

Weights are random with fixed seeds. Rows that are done are kept in the working folder, so that an interrupted run goes
on where it stopped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console

from ..runtime.bundle.bundle import Bundle
from ..runtime.files import write_bytes
from ..runtime.kept.form import Form
from ..runtime.photo.reading import demo_photo
from ..runtime.pipelines.training_free.methods import METHODS
from ..runtime.pipelines.training_free.pipeline import PIPELINE
from ..runtime.recipe.recipe import ModelChoice, Recipe, load_recipe
from .bundling.build import build_bundle
from .parity.check import check_parity
from .reference.checks import Check
from .reference.networks import Networks
from .reference.training_free.tensors import PROXY

NOTE = Form("model-table-row", 1, most=1 << 20)
BEGIN, END = "<!-- model table: begin -->", "<!-- model table: end -->"
SEEDS = {role: f"random:{number}" for number, role in enumerate(PIPELINE.roles, 1)}
WINDOWS = {"short_side": 336, "window_batch": 2}
"""Fewer and smaller batches of windows than the recipes', which change nothing that an engine computes."""


USUAL_PROXY = {PROXY: ModelChoice(model="vit_base_patch16_224.dino")}


class Row(NamedTuple):
    """One line of the table: a recipe, and what is changed in it."""

    kind: str
    name: str
    recipe: str
    models: dict[str, ModelChoice] = {}  # noqa: RUF012 (never changed)
    refine: bool = False
    """Whether SAM and the refinement are in; for other rows SAM's part is the same as in those that have it."""


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a row."""

    kind: str
    name: str
    models: str
    worst: float
    """Largest relative error among the outputs that are smooth functions of their inputs."""
    thresholded: float | None
    """Largest among those behind a threshold."""
    masks: float
    """Smallest share of pixels on which engines and PyTorch agree."""
    passed: bool


def _small(model: str) -> str:
    return model.split(".")[0]


def _extractor(name: str) -> Row:
    return Row("extractor", f"`{_small(name)}`", "s2clip-b16", {PROXY: ModelChoice(model=name)})


ROWS: tuple[Row, ...] = (
    *(Row("method", f"`{name}`", f"{name}-b16", refine=row.refine or row.affinity) for name, row in METHODS.items()),
    Row("backbone", "CLIP ViT-L/14", "s2clip-l14", USUAL_PROXY),
    Row("backbone", "CLIP ViT-L/14 at 336", "s2clip-l14-336", USUAL_PROXY),
    Row(
        "backbone",
        "OpenCLIP ViT-H/14",
        "s2clip-h14",
        {"clip": ModelChoice(model="ViT-H-14", depth=8), **USUAL_PROXY},
    ),
    *(
        _extractor(name)
        for name in (
            *(f"vit_{size}_patch{patch}_224.dino" for size in ("small", "base") for patch in (16, 8)),
            *(f"vit_{size}_patch14_dinov2.lvd142m" for size in ("small", "base")),
            *(f"vit_{size}_patch16_dinov3.lvd1689m" for size in ("small", "base")),
            "sam_vit_b",
        )
    ),
    Row("SAM", "ViT-B", "trident-b16", refine=True),
    Row("SAM", "ViT-L", "trident-b16", {"sam": ModelChoice(model="vit_l")}, refine=True),
    Row("SAM", "ViT-H", "trident-b16", {"sam": ModelChoice(model="vit_h", depth=8)}, refine=True),
)


def recipe_of(row: Row) -> Recipe:
    """The row's recipe, with fewer windows and seeded weights."""
    base = load_recipe(row.recipe)
    models = {role: row.models.get(role, choice) for role, choice in base.models.items()}
    if not row.refine:
        models.pop("sam", None)
    seeded = {role: msgspec.structs.replace(choice, weights=SEEDS[role]) for role, choice in models.items()}
    changed: dict[str, Any] = {**WINDOWS, "refine": row.refine and base.parameters.refine}
    parameters = msgspec.structs.replace(base.parameters, **changed)
    return msgspec.structs.replace(base, parameters=parameters, models=seeded)


def run_row(row: Row, folder: Path) -> Outcome:
    """Export a row's recipe, check it, and remove the engines."""
    recipe = recipe_of(row)
    networks = Networks.load(recipe)
    try:
        build_bundle(networks, folder, stages=recipe.running_stages)
        checks = list(check_parity(Bundle.load(folder), networks, demo_photo()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _outcome(row, recipe, checks)


def _outcome(row: Row, recipe: Recipe, checks: Sequence[Check]) -> Outcome:
    errors = [(check, check.measures["relative"]) for check in checks if "relative" in check.measures]
    thresholded = [error for check, error in errors if check.thresholded]
    told = [f"{_small(c.model)}{f' ({c.depth} blocks)' if c.depth else ''}" for c in recipe.models.values()]
    return Outcome(
        kind=row.kind,
        name=row.name,
        models=", ".join(told),
        worst=max(error for check, error in errors if not check.thresholded),
        thresholded=max(thresholded, default=None),
        masks=min(check.measures["agreement"] for check in checks if "agreement" in check.measures),
        passed=all(check.passed for check in checks),
    )


def outcomes(rows: Sequence[Row], work: Path, console: Console) -> Iterator[Outcome]:
    """Run rows, or take what an earlier run left of them."""
    for index, row in enumerate(rows, 1):
        note = work / f"{row.kind}-{row.name.strip('`').replace('/', '-').replace(' ', '-')}.json"
        if (kept := NOTE.read(note, note.name)) is not None:
            yield msgspec.json.decode(kept, type=Outcome)
            continue
        with console.status(f"{index} of {len(rows)}: {row.kind} {row.name}"):
            outcome = run_row(row, work / "bundle")
        NOTE.write(note, note.name, msgspec.json.encode(outcome))
        verdict = "ok" if outcome.passed else "FAILED"
        console.print(f"{row.kind} {row.name}: {verdict}, masks {outcome.masks:.4%}", highlight=False)
        yield outcome


def markdown(results: Sequence[Outcome]) -> str:
    """The table, as it stands in docs/parity.md."""
    lines = [
        "| | | models | relative error | behind a threshold | masks equal |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        behind = "" if result.thresholded is None else f"{result.thresholded:.0e}"
        masks = f"{100 * result.masks:.3f} %" + ("" if result.passed else " (**fails**)")
        lines.append(f"| {result.kind} | {result.name} | {result.models} | {result.worst:.0e} | {behind} | {masks} |")
    return "\n".join(lines)


@click.command()
@click.option("--work", type=click.Path(path_type=Path), default=Path("model-table"), show_default=True)
@click.option("--only", multiple=True, help="Kinds of rows, or names; all if not given.")
@click.option("--update", type=click.Path(path_type=Path, exists=True), help="Put the table into this file.")
def main(work: Path, only: tuple[str, ...], update: Path | None) -> None:
    """Export every row, hold it against PyTorch on the photo in the package, and print the table."""
    rows = [row for row in ROWS if not only or row.kind in only or row.name.strip("`") in only]
    results = list(outcomes(rows, work, Console(stderr=True)))
    table = markdown(results)
    click.echo(table)
    if update is not None:
        text = update.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        write_bytes(update, f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}".encode())
    raise SystemExit(0 if all(result.passed for result in results) else 1)


if __name__ == "__main__":
    main()
