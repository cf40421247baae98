from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from ovdeploy.export import model_table
from ovdeploy.export.model_table import BEGIN, END, ROWS, Outcome, Row, main, markdown, outcomes, recipe_of
from ovdeploy.export.reference.checks import Check
from ovdeploy.runtime import available_recipes
from ovdeploy.runtime.pipelines.training_free.methods import METHODS

QUIET = Console(file=io.StringIO())
DONE = Outcome(kind="method", name="`clip`", models="m", worst=1e-6, thresholded=None, masks=1.0, passed=True)


def test_every_method_has_a_row_and_a_recipe():
    assert {row.name for row in ROWS if row.kind == "method"} == {f"`{name}`" for name in METHODS}
    assert {f"{name}-b16" for name in METHODS} <= set(available_recipes())
    assert len({(row.kind, row.name) for row in ROWS}) == len(ROWS), "one note each"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind} {row.name}")
def test_rows_are_valid_recipes_with_seeded_weights(row):
    recipe = recipe_of(row)
    assert all(choice.weights.startswith("random:") for choice in recipe.models.values())
    assert ("sam" in recipe.models) == row.refine
    assert not recipe.parameters.refine or row.refine


def test_rows_that_are_done_are_not_run_again(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(model_table, "run_row", lambda row, folder: ran.append(row) or DONE)
    rows = [Row("method", "`clip`", "clip-b16"), Row("SAM", "ViT-B", "trident-b16")]
    assert list(outcomes(rows, tmp_path, QUIET)) == [DONE, DONE] == list(outcomes(rows, tmp_path, QUIET))
    assert ran == rows


def test_a_small_row_end_to_end(tmp_path):
    outcome = model_table.run_row(Row("method", "micro", "micro", refine=True), tmp_path / "bundle")
    assert outcome.passed and outcome.masks > 0.999 and outcome.worst < 1e-4
    assert not (tmp_path / "bundle").exists()


def test_the_table_tells_failures_and_keeps_the_file_around_it(tmp_path, monkeypatch):
    from click.testing import CliRunner

    failed = msgspec.structs.replace(DONE, passed=False, masks=0.9)
    monkeypatch.setattr(model_table, "run_row", lambda row, folder: failed)
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    result = CliRunner().invoke(main, ["--work", str(tmp_path / "w"), "--only", "clip", "--update", str(path)])
    assert result.exit_code == 1
    assert path.read_text() == f"before\n{BEGIN}\n{markdown([failed])}\n{END}\nafter\n"
    assert "90.000 % (**fails**)" in path.read_text()


def test_what_is_behind_a_threshold_is_no_matter_of_words():
    smooth = Check("dino", "features", {"relative": 1e-6}, "a typical limit", True)
    behind = Check("clip_image", "features", {"relative": 1e-3}, "relative ≤ 1", True, thresholded=True)
    masks = Check("pipeline", "mask", {"agreement": 1.0}, "", True)
    outcome = model_table._outcome(ROWS[0], recipe_of(ROWS[0]), [smooth, behind, masks])
    assert (outcome.worst, outcome.thresholded) == (1e-6, 1e-3)
