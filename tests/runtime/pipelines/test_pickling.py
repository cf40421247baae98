"""What is opened from a bundle is pickled as how that was done, and opened again on the other side."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import Bundle, BundleError, EngineError, Prompter, Segmenter
from ovdeploy.runtime.bundle.bundle import write_manifest
from support.segmenting import faked


def segmented(segmenter, photo, vocabulary):
    """What a worker does."""
    result = segmenter.segment(photo, vocabulary)
    return result.mask.tobytes(), segmenter.parameters.stride, segmenter.backend


def test_a_spawned_worker_gets_a_segmenter_of_its_own(micro_bundle, photo, vocabulary, monkeypatch):
    monkeypatch.chdir(micro_bundle.parent)
    with Segmenter.load(micro_bundle.name, backend="onnxruntime", parameters={"stride": 32}, threads=1) as segmenter:
        expected = segmented(segmenter, photo, vocabulary)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            monkeypatch.chdir("/")
            assert pool.apply(segmented, (segmenter, photo, vocabulary)) == expected
        assert segmented(segmenter, photo, vocabulary) == expected, "and its own goes on"


def test_a_prompter_is_opened_again(complete_bundle, photo):
    with Prompter.load(complete_bundle, backend="onnxruntime", threads=1) as prompter:
        with pickle.loads(pickle.dumps(prompter)) as other:  # noqa: S301 (our own)
            one, two = (each.encode(photo).predict([[5, 5]]) for each in (prompter, other))
        np.testing.assert_array_equal(one.low_res_logits, two.low_res_logits)
        prompter.encode(photo)


@pytest.mark.parametrize("kind", [Segmenter, Prompter])
def test_what_is_closed_is_not_pickled(complete_bundle, kind):
    opened = kind.load(complete_bundle, backend="onnxruntime")
    opened.close()
    with pytest.raises(EngineError, match="closed, and cannot be pickled"):
        pickle.dumps(opened)


def test_what_was_made_of_sessions_is_not_pickled(micro_bundle):
    with pytest.raises(EngineError, match=r"made of open sessions.*load it"):
        pickle.dumps(faked(micro_bundle)[0])


def test_another_bundle_is_not_opened_in_its_place(micro_bundle, tmp_path):
    place = shutil.copytree(micro_bundle, tmp_path / "bundle")
    with Segmenter.load(place, backend="onnxruntime") as segmenter:
        pickled = pickle.dumps(segmenter)
    manifest = Bundle.load(place).manifest
    write_manifest(place, msgspec.structs.replace(manifest, versions={"other": "1"}))
    with pytest.raises(BundleError, match="not the bundle that was pickled"):
        pickle.loads(pickled)  # noqa: S301 (our own)
    shutil.rmtree(place)
    with pytest.raises(BundleError, match="not a bundle"):
        pickle.loads(pickled)  # noqa: S301 (our own)
