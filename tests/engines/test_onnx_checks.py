"""What a graph may not do, tried on a graph that may be run but for one thing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from blastscope.engines.onnx_checks import WEIGHTS, read_graph
from blastscope.engines.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from blastscope.errors import BlastscopeError
from tests.engines.networks import cells


def _external(model: ModelProto) -> TensorProto:
    return next(t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)


def _set(tensor: TensorProto, key: str, value: str) -> None:
    for entry in tensor.external_data:
        if entry.key == key:
            entry.value = value


def _point(location: str):
    return lambda model: _set(_external(model), "location", location)


def _foreign_node(model):
    model.graph.node.append(helper.make_node("Evil", ["p_all"], ["x"], domain="com.example"))


def _foreign_opset(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _loop(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def _function(model):
    model.functions.append(
        helper.make_function("", "Relu", ["x"], ["y"], [], [helper.make_opsetid("", 20)])
    )


def _sparse(model):
    values = numpy_helper.from_array(np.ones(1, np.float32), "v")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _constant_elsewhere(model):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "c")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["x"], value=tensor))


def _float_pixels(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _one_cell(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _second_input(model):
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def _no_logits(model):
    del model.graph.output[0]


HOSTILE = {
    "an absolute path": (_point("/etc/passwd"), "lies in another file"),
    "the folder above": (_point("../x"), "lies in another file"),
    "beside it": (_point("other.safetensors"), "lies in another file"),
    "roundabout": (_point(f"./{WEIGHTS}"), "lies in another file"),
    "an address": (_point("*/_ORT_MEM_ADDR_/*"), "lies in another file or in memory"),
    "a constant": (_constant_elsewhere, "lies in another file"),
    "an operation": (_foreign_node, "'com.example', which are not ONNX's own"),
    "an opset": (_foreign_opset, "'com.microsoft', which are not ONNX's own"),
    "a loop": (_loop, r"graph within the graph \(Loop\)"),
    "a function": (_function, "functions or sparse tensors"),
    "sparse": (_sparse, "functions or sparse tensors"),
    "floats": (_float_pixels, "is not a model of blastscope"),
    "one cell": (_one_cell, "is not a model of blastscope"),
    "inputs": (_second_input, "is not a model of blastscope"),
    "outputs": (_no_logits, "is not a model of blastscope"),
    "beyond the end": (lambda m: _set(_external(m), "offset", str(10**12)), "does not fit its"),
    "before the start": (lambda m: _set(_external(m), "offset", "-4"), "does not fit its"),
    "too long": (lambda m: _set(_external(m), "length", "8"), "does not fit its"),
    "no number": (lambda m: _set(_external(m), "offset", "x"), "does not fit its"),
}


@pytest.mark.parametrize("kind", [OnnxRuntimeEngine, OpenVinoEngine])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_graph_of_its_own_weights_is_refused(kind, name, shared_graph):
    change, reason = HOSTILE[name]
    model = ModelProto.FromString(shared_graph.model)
    change(model)
    with pytest.raises(BlastscopeError, match=reason) as caught:
        kind(model.SerializeToString(), shared_graph.weights, source="kind/model.onnx")
    assert str(caught.value).startswith("kind/model.onnx ")
    assert "\n" not in str(caught.value)


def test_weights_that_are_wanted_and_not_given_are_asked_for(shared_graph):
    with pytest.raises(BlastscopeError, match=f"needs the {WEIGHTS}"):
        read_graph(shared_graph.model)


def test_weights_that_were_cut_short_are_refused(shared_graph):
    with pytest.raises(BlastscopeError, match="does not fit its"):
        read_graph(shared_graph.model, shared_graph.weights[:-4])


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_short_is_refused(shared_graph, share):
    cut = shared_graph.model[: int(share * len(shared_graph.model))]
    with pytest.raises(BlastscopeError):
        OnnxRuntimeEngine(cut, shared_graph.weights, threads=1)


@given(noise=st.binary(max_size=200))
def test_noise_is_refused(noise):
    with pytest.raises(BlastscopeError):
        OnnxRuntimeEngine(noise, b"")


def test_the_same_graph_in_place_of_its_files_is_whole(shared_graph, tmp_path, monkeypatch):
    (tmp_path / WEIGHTS).write_bytes(bytes(len(shared_graph.weights)))
    monkeypatch.chdir(tmp_path)  # where a runtime would look for the file
    graph = read_graph(shared_graph.model, shared_graph.weights)
    assert (graph.views, graph.size) == (8, 32)
    for kind in (OnnxRuntimeEngine, OpenVinoEngine):
        found = kind(shared_graph.model, shared_graph.weights).view_logits(cells(2))
        np.testing.assert_allclose(found, shared_graph.expected(cells(2)), atol=1e-5)
