"""Files as people have them: each is loaded as its tensors say, or refused in a sentence that says what it is."""

from __future__ import annotations

import pytest
import tomllib
import torch

from ovdeploy.runtime.errors import WeightsError
from support.checkpoint_layouts import LAYOUTS
from support.checkpoints import filled
from support.samples import ROOT

TABLE = tomllib.loads((ROOT / "docs" / "generator" / "checkpoints.toml").read_text())["layout"]
ROWS = {row["id"]: row for row in TABLE}
LOADED = [row["id"] for row in TABLE if not row.get("refused")]
REFUSED = [row["id"] for row in TABLE if row.get("refused")]


def test_every_row_of_the_table_is_made_here():
    assert list(LAYOUTS) == [row["id"] for row in TABLE] and len(LAYOUTS) >= 40


@pytest.mark.parametrize("name", LOADED)
def test_a_file_as_people_have_it_is_loaded(name, tmp_path):
    layout = LAYOUTS[name]
    tensors = layout.tensors()
    module, notes = filled(layout.model, layout.write(tensors, tmp_path))
    assert ROWS[name].get("told", "") in "\n".join(notes)
    expected = filled(layout.model, tensors)[0].state_dict()
    exact = not any("converted" in note for note in notes)
    for key, value in module.state_dict().items():
        if not any(f"{key} resampled" in note for note in notes):
            rounding = {} if exact and "registers" not in name else {"rtol": 8e-3, "atol": 1e-6}  # bfloat16's
            torch.testing.assert_close(value, expected[key], **rounding or {"rtol": 0, "atol": 0}, msg=key)


@pytest.mark.parametrize("name", LOADED)
def test_what_was_done_is_told(name, tmp_path):
    """A file under the model's own names, unwrapped and in float32, needs no word."""
    layout = LAYOUTS[name]
    _, notes = filled(layout.model, layout.write(layout.tensors(), tmp_path))
    assert bool(notes) == ("told" in ROWS[name]), notes


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_checkpoint_of_the_model_is_refused(name, tmp_path):
    layout = LAYOUTS[name]
    path = layout.write(layout.tensors(), tmp_path)
    with pytest.raises(WeightsError) as caught:
        filled(layout.model, path)
    assert ROWS[name]["told"] in str(caught.value)
    assert len(str(caught.value)) < 900, "a sentence or two, not a list of everything"
