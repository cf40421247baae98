"""From the authors' own logits: the coarse mask and its regions, without engines."""

import json

import numpy as np
import pytest

from ovdeploy.runtime.geometry.photo_tables import PhotoTables
from ovdeploy.runtime.geometry.sizes import bilinear_matrix
from ovdeploy.runtime.labelling.coarse import coarse_mask
from ovdeploy.runtime.labelling.regions import find_regions
from ovdeploy.runtime.words.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def case(golden):
    with np.load(golden / "coffee.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return found | {"meta": json.loads(str(found["meta"]))}


def test_the_coarse_mask_and_its_regions_are_the_authors(case):
    logits, hw, meta = case["logits"].astype(np.float32), case["mask_coarse"].shape, case["meta"]
    tables = PhotoTables.of(*(bilinear_matrix(n, m) for n, m in zip(logits.shape[1:], hw, strict=True)))
    starts = Vocabulary(meta["names"], case["class_embeddings"]).query_starts
    coarse = coarse_mask(
        logits, tables, starts, logit_scale=float(case["logit_scale"]), probability_threshold=meta["prob_thd"]
    )
    np.testing.assert_array_equal(coarse.labels, case["mask_coarse"])
    np.testing.assert_allclose(coarse.scores, case["prob_coarse_max"], atol=1e-3)  # they are kept in half precision
    regions = find_regions(coarse.half, meta["coarse_thresh"], meta["minimal_area"])
    np.testing.assert_array_equal(regions.class_index, case["region_class"])
    np.testing.assert_array_equal(regions.area, case["region_area"])
    np.testing.assert_array_equal(regions.box_xyxy, case["region_box"])
    np.testing.assert_array_equal(regions.point_xy, case["region_point"])
    np.testing.assert_allclose(regions.score, case["region_score"], atol=1e-6)  # float32 probabilities
