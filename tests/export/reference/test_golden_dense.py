"""CAT-Seg here against what its public code gave: the aggregator, the tower, and the whole protocol."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.reference.dense.clip_dense import ClipDense
from ovdeploy.export.reference.dense.reference import DenseReference, cut, merge
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Segmenter, Vocabulary, load_recipe
from ovdeploy.runtime.bundle.bundle import Provenance
from ovdeploy.runtime.pipelines.dense.encoding import likest
from ovdeploy.runtime.pipelines.dense.merging import Answered, Planes, label
from support.learned import error, head_of, read_case, tower_of, whole_of

LAYERS = 1e-5  # float32 in another order through two layers and a decoder; measured up to 3.4e-6
MARGIN = 1e-4  # nearer to each other two classes may change places

MERGED = 1e-5  # the public code samples in float32, up to 1e-4 of a pixel beside; measured up to 4.2e-6

AGGREGATORS = ("small-pool2-t7", "t3", "t12")


def answered(case):
    """[T, 96, 96] logits, CAT-Seg's -100 for words that are left out."""
    head, inputs, text = head_of(case), case.inputs(), torch.from_numpy(case.arrays["text"])
    words, pooling = np.arange(len(text)), case.config["pooling_size"][0]
    if "chosen" in case.arrays:
        words = likest(inputs["dense"][0].numpy(), case.arrays["text"], 256)
        assert (words == case.arrays["chosen"]).all()
    finer, finest = head.finer((inputs["skip1"], inputs["skip2"]))
    logits = np.full((len(text), 96, 96), -100, np.float32)
    with torch.no_grad():
        logits[words] = head.transformer(inputs["dense"], finer, finest, text[words], pooling).numpy()
    return logits


def check_aggregator(case):
    logits, step = answered(case), case.meta["logits_stride"]
    assert error(logits[:, ::step, ::step], case.arrays["logits"]) < LAYERS
    assert error(logits.mean(axis=(1, 2), dtype=np.float64), case.arrays["class_mean"]) < LAYERS
    sure = case.arrays["margin"] > MARGIN
    assert (logits.argmax(axis=0) == case.arrays["labels"])[sure].all() and sure.mean() > 0.99


@pytest.mark.parametrize("name", AGGREGATORS)
def test_the_aggregator_gives_what_the_public_code_gives(golden, name):
    check_aggregator(read_case(golden, f"catseg-aggregator-{name}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small-t300", "t150"])
def test_so_it_does_for_many_classes(golden, name):
    check_aggregator(read_case(golden, f"catseg-aggregator-{name}"))


@torch.no_grad()
@pytest.mark.parametrize("name", ["native", "resized"])
def test_the_tower_gives_what_the_public_code_gives(golden, name):
    case = read_case(golden, f"catseg-tower-{name}")
    tower = ClipDense(tower_of(case)).eval()
    tokens, taps = tower.tower(torch.from_numpy(case.arrays["image"]))
    assert error(tower.positions.detach(), case.arrays["position"]) == 0
    assert error(tokens[:, 0], case.arrays["dense_class_token"]) < LAYERS
    came = {"dense": tower.as_map(tokens[:, 1:]), "tap1": taps[0], "tap2": taps[1]}
    assert {key: error(value, case.arrays[key]) < LAYERS for key, value in came.items()} == dict.fromkeys(came, True)


class Whole:
    """A case of the whole protocol, and the networks that it is of."""

    def __init__(self, golden, size, recipe):
        self.case = read_case(golden, f"catseg-whole-{size}")
        plain = load_recipe(recipe)
        parameters = msgspec.structs.replace(plain.parameters, short_side=0)  # that step is not in the case
        self.model = whole_of(self.case)
        provenance = {"dense": Provenance(model="golden", source="random:0", sha256="0" * 64)}
        self.networks = Networks(
            msgspec.structs.replace(plain, parameters=parameters), {"dense": self.model}, provenance
        )
        self.vocabulary = Vocabulary([f"class {i}" for i in range(len(self.text))], self.text)
        self.settings = parameters

    @property
    def text(self):
        return self.case.arrays["text"]


@pytest.fixture(scope="module", params=[("b", "catseg-b16"), ("l", "catseg-l14")], ids=["b", "l"])
def whole(request, golden):
    return Whole(golden, *request.param)


@torch.no_grad()
def test_words_and_crops_are_the_public_codes(whole):
    arrays = whole.case.arrays
    features = torch.nn.functional.normalize(whole.model.clip.encode_text(torch.from_numpy(arrays["tokens"]).long()))
    assert error(features, whole.text) < LAYERS
    crops = cut(arrays["image"], whole.settings, whole.model.side)
    tower = whole.networks.modules["clip_dense"]
    assert error(tower.normalise(crops)[:, :, ::16, ::16], arrays["crops_sample"]) < LAYERS


def test_the_reference_gives_what_the_public_code_gives(whole):
    arrays = whole.case.arrays
    trace = DenseReference(whole.networks).segment(arrays["image"], whole.vocabulary)
    assert error(trace.features["dense"][:, ::8], arrays["dense_sample"]) < LAYERS
    assert error(trace.logits, arrays["crop_logits"]) < LAYERS
    probabilities = merge(trace.logits, tuple(whole.case.meta["output_hw"]), whole.settings).numpy()
    assert error(probabilities, arrays["probabilities"]) < LAYERS
    sure = arrays["margin"] > 1e-5
    assert (probabilities.argmax(axis=0) == arrays["labels"])[sure].all()


def test_the_runtimes_merge_gives_what_the_public_code_gives(whole):
    arrays, hw = whole.case.arrays, tuple(whole.case.meta["output_hw"])
    words = np.arange(len(whole.text))
    crops = [Answered(words, logits) for logits in arrays["crop_logits"]]
    planes = Planes(crops, range(len(words)), hw, whole.settings)
    assert error(np.stack([planes.whole(word) for word in words]), arrays["probabilities"]) < MERGED
    merged = label(crops, words.tolist(), hw, whole.settings)
    sure = arrays["margin"] > 1e-5
    assert (merged.labels == arrays["labels"])[sure].all()
    assert np.abs(merged.scores - arrays["probabilities"].max(axis=0)).max() < MERGED


@pytest.mark.slow
def test_the_engines_give_what_the_public_code_gives(golden, tmp_path):
    """The whole way: from the photo through ONNX Runtime to labels, as users run it."""
    whole = Whole(golden, "b", "catseg-b16")
    build_bundle(whole.networks, tmp_path / "b", stages=["clip_dense", "aggregate"])
    with Segmenter.load(tmp_path / "b", backend="onnxruntime") as segmenter:
        result = segmenter.segment(whole.case.arrays["image"], whole.vocabulary)
    sure = whole.case.arrays["margin"] > MARGIN
    assert (result.mask == whole.case.arrays["labels"])[sure].all() and sure.mean() > 0.99
    assert np.abs(result.scores - whole.case.arrays["probabilities"].max(axis=0)).max() < 1e-5
