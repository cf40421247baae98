"""External data: a graph reads no file that the manifest does not list with it, wherever the graph names it."""

import shutil

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime import Bundle, BundleError
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from ovdeploy.runtime.bundle.external import check_external
from ovdeploy.runtime.bundle.opening import open_stage

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto

VILE = ["/etc/passwd", "../outside.data", "sub/../x.data", "*/_ORT_MEM_ADDR_/*", "other.data", "", "x.data/", "X.DATA"]


def external(name, location):
    tensor = kinds(name=name, data_type=kinds.FLOAT, dims=[2], data_location=kinds.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(place, location, padding=0):
    """A graph with a tensor outside it, in one of the places where a graph may hold tensors."""
    tensor = external("w", location)
    value = helper.make_tensor_value_info("x", kinds.FLOAT, [2])
    nodes, weights = [helper.make_node("Neg", ["x"], ["y"], name="location")], []
    if padding:
        weights.append(onnx.numpy_helper.from_array(np.zeros(padding, np.float32), "padding"))
    inner = helper.make_graph([], "inner", [], [value], [tensor])
    if place == "weight":
        weights.append(tensor)
    elif place == "constant":
        nodes.append(helper.make_node("Constant", [], ["w"], value=tensor))
    elif place == "graph in a node":
        nodes.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    made = helper.make_graph(nodes, "g", [value], [helper.make_tensor_value_info("y", kinds.FLOAT, [2])], weights)
    if place == "sparse":
        made.sparse_initializer.add(values=tensor, dims=[2])
    made = helper.make_model(made)
    if place == "function":
        constant = helper.make_node("Constant", [], ["w"], value=tensor)
        made.functions.append(helper.make_function("d", "f", [], ["w"], [constant], [helper.make_opsetid("", 17)]))
    if place == "training":
        made.training_info.add(initialization=inner)
    return made


PLACES = ["weight", "constant", "graph in a node", "sparse", "function", "training"]


@pytest.mark.parametrize("padding", [0, 100_000])
@pytest.mark.parametrize("place", PLACES)
def test_a_file_is_found_wherever_a_graph_may_name_it(place, padding, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(model(place, "x.data", padding).SerializeToString())
    check_external(path, "x.onnx", ["x.data"])
    for listed in ([], ["y.data"]):
        with pytest.raises(BundleError, match=r"'x\.data'.*manifest does not list"):
            check_external(path, "x.onnx", listed)


@pytest.mark.parametrize("location", VILE)
@pytest.mark.parametrize("place", PLACES)
def test_locations_outside_the_list_are_refused(place, location, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(model(place, location).SerializeToString())
    if location == "x.data/":
        return check_external(path, "x.onnx", ["x.data"])  # the same file
    with pytest.raises(BundleError):
        check_external(path, "x.onnx", ["x.data"])
    return None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_graph_is_refused_or_names_what_it_did(tmp_path_factory, data):
    """Flipped, cut and random bytes: a sentence, never another exception; what protobuf still reads is found."""
    whole = bytearray(model(data.draw(st.sampled_from(PLACES)), "x.data").SerializeToString())
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(whole[: data.draw(st.integers(len(whole) - 5, len(whole)))]))
    try:
        read = onnx.load_model_from_string(path.read_bytes())
        locations = {e.value for t in read.graph.initializer for e in t.external_data if e.key == "location"}
    except Exception:
        locations = set()
    try:
        check_external(path, "damaged.onnx", [])
    except BundleError:
        return
    assert not locations


def test_a_bundle_whose_graph_names_another_file_is_not_opened(micro_bundle, tmp_path):
    shutil.copytree(micro_bundle, tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    entry = bundle.stage("head").engines["fp32"]
    path = bundle.path / entry.files[0].path
    graph = onnx.load(str(path))
    big = max(graph.graph.initializer, key=lambda tensor: tensor.ByteSize())
    values = onnx.numpy_helper.to_array(big).tobytes()
    (tmp_path / "outside.data").write_bytes(values)
    (bundle.path / "inside.data").write_bytes(values)
    big.ClearField("raw_data")
    big.data_location = kinds.EXTERNAL

    def opened(location, *files):
        del big.external_data[:]
        big.external_data.add(key="location", value=location)
        path.write_bytes(graph.SerializeToString())
        engine = msgspec.structs.replace(entry, files=(file_entry(path), *files))
        stage = msgspec.structs.replace(bundle.stage("head"), engines={"fp32": engine})
        stages = {**bundle.manifest.stages, "head": stage}
        write_manifest(bundle.path, msgspec.structs.replace(bundle.manifest, stages=stages))
        with open_stage(Bundle.load(bundle.path), "head", "fp32", "onnxruntime"):
            pass

    for location in ("../outside.data", str(tmp_path / "outside.data"), "inside.data"):
        with pytest.raises(BundleError, match="does not list"):
            opened(location)
    opened("inside.data", file_entry(bundle.path / "inside.data"))
