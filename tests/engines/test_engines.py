"""Every engine gives what the network gives, for any number of cells."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import expit

from blastscope.engines import engine
from blastscope.engines.engine import mean_probability, view_probabilities
from blastscope.engines.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from blastscope.engines.torch_engine import TorchEngine
from blastscope.errors import BlastscopeError
from blastscope.training.batches import PixelViews
from blastscope.training.network_input import NetworkInput
from blastscope.training.train import probabilities
from tests.engines.networks import SIZE, cells

CPU = torch.device("cpu")
LOGITS = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-500, 500, width=32),
)


@pytest.fixture(scope="module", params=["torch", "onnx", "openvino"])
def opened(request, shared_graph):
    """Each engine of the same network."""
    if request.param == "torch":
        return TorchEngine(shared_graph.classifier, shared_graph.views, CPU)
    kind = {"onnx": OnnxRuntimeEngine, "openvino": OpenVinoEngine}[request.param]
    return kind(shared_graph.model, shared_graph.weights, threads=1)


@pytest.mark.parametrize("count", [1, 3, 17])
def test_each_view_is_the_network_on_numpys_turn_of_the_cell(opened, shared_graph, count):
    pixels = cells(count)
    expected = shared_graph.expected(pixels)
    found = opened.view_logits(pixels)
    assert found.dtype == np.float32
    assert opened.views == 8
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (np.ptp(expected, axis=1) > 1e-3).all()  # or the order of the views is not tested


def test_no_cells_give_no_logits(opened):
    assert opened.view_logits(cells(0)).shape == (0, 8)


def test_cells_of_a_read_only_memory_map_are_taken(opened, tmp_path):
    np.save(tmp_path / "pixels.npy", cells(3))
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    np.testing.assert_array_equal(opened.view_logits(mapped), opened.view_logits(cells(3)))


@pytest.mark.parametrize("at_once", [2, 24])
def test_many_cells_pass_in_batches(opened, monkeypatch, at_once):
    whole = opened.view_logits(cells(5))
    monkeypatch.setattr(engine, "AT_ONCE", at_once)
    np.testing.assert_allclose(opened.view_logits(cells(5)), whole, atol=1e-6)


def test_as_many_cells_pass_as_have_eight_views_together():
    assert [engine.cells_at_once(views) for views in (1, 8, 16)] == [8, 1, 1]
    assert [len(some) for some in engine.in_batches(cells(7), 3)] == [3, 3, 1]


@pytest.mark.parametrize("views", ["one", "dihedral"])
def test_torch_gives_what_predictions_of_training_give(shared_graph, views):
    pixels, classifier = cells(9), shared_graph.classifier
    network_input = NetworkInput(PixelViews(pixels), classifier)
    expected = probabilities(classifier, network_input, np.arange(9), CPU, views)
    found = mean_probability(TorchEngine(classifier, views, CPU).view_logits(pixels))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [OnnxRuntimeEngine, OpenVinoEngine])
def test_cells_of_another_size_are_refused_in_one_sentence(kind, shared_graph):
    opened = kind(shared_graph.model, shared_graph.weights, threads=1)
    assert opened.size == SIZE
    with pytest.raises(BlastscopeError, match="cannot be run") as caught:
        opened.view_logits(cells(2, SIZE + 1))
    assert "\n" not in str(caught.value)


def test_onnx_runtime_starts_without_torch():
    code = (
        "import sys, blastscope.engines.onnx_engines, onnxruntime, onnx;"
        "print([m for m in ('torch', 'scipy', 'sklearn', 'cv2', 'onnxscript') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_without_openvino_one_is_told_how_to_get_it(monkeypatch, shared_graph):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BlastscopeError, match=r"pip install 'blastscope\[openvino\]'"):
        OpenVinoEngine(shared_graph.model, shared_graph.weights)


@given(LOGITS)
def test_the_probability_is_scipys_logistic_function_of_the_mean(logits):
    expected = expit(logits.astype(np.float64).mean(1))
    np.testing.assert_allclose(mean_probability(logits), expected, rtol=1e-12)


@given(LOGITS)
def test_each_view_alone_has_the_logistic_function_of_its_logit(logits):
    np.testing.assert_allclose(view_probabilities(logits), expit(np.float64(logits)), atol=1e-12)


def test_a_view_that_is_sure_beyond_what_exp_can_is_no_accident():
    assert view_probabilities(np.array([[-800.0, 800.0]])).tolist() == [[0.0, 1.0]]
