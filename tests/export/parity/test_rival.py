"""`ovdeploy evaluate --against torch`: the reference on the same photos, with words embedded by itself."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from ovdeploy.export.parity.rival import torch_reference
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.datasets import ScenesDataset
from ovdeploy.runtime.errors import WeightsError
from ovdeploy.runtime.evaluation.predictors import Settings

TEMPLATES = ("a photo of a {}.", "a drawing of a {}.")


def test_engines_and_torch_give_the_same_figures(micro_bundle, tmp_path):
    options = [
        "--dataset",
        "scenes",
        "--photos",
        "3",
        "--against",
        "torch",
        "--output",
        str(tmp_path / "out"),
        "--json",
    ]
    templates = [word for template in TEMPLATES for word in ("--template", template)]
    refine = ["--set", "iou_threshold=0.0", "--worst", "1"]
    result = CliRunner().invoke(main, ["evaluate", str(micro_bundle), *options, *templates, *refine])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert list(found["columns"]) == ["refined", "coarse", "torch refined", "torch coarse"]
    for gains in found["differences"]:
        if gains["against"].endswith(gains["column"]):
            assert gains["agreement"] >= 0.999, "the recipe's tolerance for labels"
            assert abs(gains["miou"]) <= 5e-4, "0.05 points, as the engines are meant to"
    assert len(found["differences"]) == 2


def test_words_are_embedded_as_by_the_engine(micro_networks, micro_bundle):
    with Segmenter.load(micro_bundle) as segmenter:
        expected = segmenter.vocabulary(["red striped"], templates=TEMPLATES).embeddings[0]
    came = micro_networks.family.embed_word(micro_networks, Bundle.load(micro_bundle), "red striped", TEMPLATES)
    assert came.dtype == np.float32 and np.linalg.norm(came) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(came, expected, atol=1e-5)  # unit vectors of float32 through some layers


def test_other_weights_are_refused(micro_bundle):
    settings = Settings(bundle=micro_bundle, dataset=ScenesDataset(1), weights={"clip": "random:77"})
    with pytest.raises(WeightsError, match="SHA-256 differs"), torch_reference(settings):
        pass
