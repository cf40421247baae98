"""What engines return is held against the contract: types, ranks and every axis, into arrays too, on every backend."""

from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime import BundleError, EngineError
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec
from support.segmenting import EVERYTHING, faked, random_outputs

DTYPES = ("float32", "float64", "float16", "int32", "int64", "bool")


def spec(name, *shape, dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout="any", range="any")


CONTRACT = StageContract(
    stage="head", inputs=(spec("x", "B", 3),), outputs=(spec("y", "B", "K", 2), spec("z", "K", dtype="int32"))
)
X = {"x": np.ones((4, 3), np.float32)}


@settings(max_examples=300, deadline=None)
@given(
    shape=st.one_of(st.just((4, 5, 2)), st.lists(st.integers(0, 5), max_size=4).map(tuple)),
    dtype=st.sampled_from(DTYPES),
    z=st.integers(0, 6),
    into=st.booleans(),
)
def test_what_comes_out_is_as_the_contract_says_or_an_error_names_stage_and_output(shape, dtype, z, into):
    made = {"y": np.ones(shape, dtype), "z": np.ones(z, np.int32)}
    session = FakeSession(CONTRACT, lambda feeds: dict(made))
    room = np.full((4, 5, 2), -7, np.float32)
    fits = len(shape) == 3 and shape[::2] == (4, 2) and shape[1] == z >= 1 and dtype == "float32"
    if fits and (not into or z == 5):
        came = session.run(X, {"y": room} if into else None)
        assert (room if into else came["y"]).shape == shape
    else:
        with pytest.raises(EngineError, match=r"head: (y|z) must") as caught:
            session.run(X, {"y": room} if into else None)
        assert caught.value.stage == "head"


@pytest.mark.parametrize("value", [[1.0], 1.0, None, "mask"])
def test_what_is_no_array_is_refused(value):
    with pytest.raises(EngineError, match=rf"y must be an array.*{type(value).__name__}"):
        FakeSession(CONTRACT, lambda feeds: {"y": value, "z": np.ones(5, np.int32)}).run(X)


def test_an_output_that_nobody_knows_is_refused():
    made = {"y": np.ones((4, 1, 2), np.float32), "z": np.ones(1, np.int32), "w": np.ones(1)}
    with pytest.raises(EngineError, match=r"returned w too"):
        FakeSession(CONTRACT, lambda feeds: made).run(X)


@pytest.mark.parametrize(("size", "fits"), [(1, False), (2, True), (6, True), (7, False)])
def test_an_axis_that_only_outputs_have_keeps_its_range_where_one_is_known(size, fits):
    axes = {"K": Axis(smallest=2, usual=4, largest=6, example=3)}
    made = {"y": np.ones((4, size, 2), np.float32), "z": np.ones(size, np.int32)}
    session = FakeSession(msgspec.structs.replace(CONTRACT, axes=axes), lambda feeds: made)
    if fits:
        session.run(X)
    else:
        with pytest.raises(EngineError, match=rf"K of its outputs is {size}.*2 to 6"):
            session.run(X)


GRAPHS = ("longer", "cut", "transposed", "flat", "empty", "double", "whole", "fewer", "twice the fewer")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Graphs that take x [B, 4], and give y."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    constants = {"two": [2, 1], "none": [0], "one": [1], "flat": [-1]}
    sum_of_rows = [
        helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("Compress", ["x", "positive"], ["some"], axis=0),
    ]
    nodes = {
        "longer": [helper.make_node("Tile", ["x", "two"], ["y"])],
        "cut": [helper.make_node("Slice", ["x", "none", "one", "none"], ["y"])],
        "transposed": [helper.make_node("Transpose", ["x"], ["y"])],
        "flat": [helper.make_node("Reshape", ["x", "flat"], ["y"])],
        "empty": [helper.make_node("Slice", ["x", "none", "none", "none"], ["y"])],
        "double": [helper.make_node("Cast", ["x"], ["y"], to=kinds.DOUBLE)],
        "whole": [helper.make_node("Neg", ["x"], ["y"])],
        "fewer": [*sum_of_rows, helper.make_node("MatMul", ["some", "eye"], ["y"])],
        "twice the fewer": [*sum_of_rows, helper.make_node("Concat", ["some", "some"], ["y"], axis=0)],
    }
    folder = tmp_path_factory.mktemp("graphs")
    for name in GRAPHS:
        kind = kinds.DOUBLE if name == "double" else kinds.FLOAT
        rank = [None] if name == "flat" else [None, None]
        inputs = [helper.make_tensor_value_info("x", kinds.FLOAT, ["B", 4])]
        made = [helper.make_tensor(what, kinds.INT64, [len(value)], value) for what, value in constants.items()]
        made.append(helper.make_tensor("zero", kinds.FLOAT, [], [0.0]))
        made.append(helper.make_tensor("eye", kinds.FLOAT, [4, 4], np.eye(4).reshape(-1)))
        used = {each for node in nodes[name] for each in node.input}
        outputs = [helper.make_tensor_value_info("y", kind, rank)]
        graph = helper.make_graph(nodes[name], name, inputs, outputs, [each for each in made if each.name in used])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / f"{name}.onnx")
    return folder


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "emulated"])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_that_gives_something_else_is_refused_also_where_it_writes_into_an_array(backend, name, graphs):
    """Shapes that OpenVINO and ONNX Runtime find out while they run, too: nothing is left as it was in the array."""
    x = np.array([[1, 2, 3, 4], [-1, -2, -3, -4], [5, 6, 7, 8]], np.float32)
    for shape, into in product((("B", 4), (3, 4)), (False, True)):
        contract = StageContract(stage="head", inputs=(spec("x", "B", 4),), outputs=(spec("y", *shape),))
        room = np.full((3, 4), -777, np.float32)
        if name == "whole":
            with open_session(graphs / f"{name}.onnx", contract, backend) as session:
                came = session.run({"x": x}, {"y": room} if into else None)
            np.testing.assert_array_equal(room if into else came["y"], -x)
            continue
        with (
            pytest.raises((BundleError, EngineError)) as caught,  # what the graph itself says is refused at its opening
            open_session(graphs / f"{name}.onnx", contract, backend) as session,
        ):
            session.run({"x": x}, {"y": room} if into else None)
        assert isinstance(caught.value, BundleError) or caught.value.stage == "head"


CHANGES = {
    "transposed": lambda array: array.swapaxes(-1, -2) if array.ndim > 1 else array[None],
    "cut": lambda array: array[..., :-1],
    "longer": lambda array: np.concatenate([array, array], axis=-1),
    "flat": lambda array: array.reshape(-1)[None],
    "empty": lambda array: array[..., :0],
    "double": lambda array: array.astype(np.float64),
    "int": lambda array: array.astype(np.int32),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stage", ["dino", "clip_image", "sam_encoder", "head", "sam_decoder"])
def test_a_segmenter_answers_every_wrong_output_of_a_stage_by_an_error_that_names_it(
    micro_bundle, vocabulary, stage, change
):
    """On a photo of which no two axes have one size, where that can be had."""
    from ovdeploy.runtime import Bundle

    contract = Bundle.load(micro_bundle).manifest.stages[stage].contract
    photo = np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8)
    for wrong in contract.output_names:

        def function(feeds, wrong=wrong):
            made = random_outputs(contract, feeds)
            changed = CHANGES[change](made[wrong])
            return {**made, wrong: changed}

        probe = random_outputs(contract, _example(contract))[wrong]
        if (CHANGES[change](probe).shape, CHANGES[change](probe).dtype) == (probe.shape, probe.dtype):
            continue  # a square array is its transpose's shape: nobody can tell
        segmenter, _ = faked(micro_bundle, **{stage: function})
        with pytest.raises(EngineError, match=stage) as caught:
            segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
        assert caught.value.stage == stage


def _example(contract):
    sizes = {name: axis.example for name, axis in contract.axes.items()}
    return {each.name: np.ones(each.sized(sizes), each.dtype) for each in contract.inputs}
