"""The ONNX graph of every kind of network, and the weights that it shares with its neighbour."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto
from safetensors.torch import save

from blastscope.engines.engine import mean_probability
from blastscope.engines.onnx_checks import WEIGHTS
from blastscope.engines.onnx_engines import OnnxRuntimeEngine, OpenVinoEngine
from blastscope.engines.torch_engine import TorchEngine
from blastscope.errors import BlastscopeError
from blastscope.export.onnx_graph import onnx_graph
from blastscope.export.shared_weights import share_weights
from tests.engines.networks import SIZE, Exported, built, cells, exported, safetensors_of

KINDS = {
    "the paper's own": (
        "cnn4",
        {"head": ["flatten", {"dense": 4, "activation": "relu"}], "size": 60},
    ),
    "vgg16, cut": ("vgg16", {"cut": "block2_pool", "head": ["flatten"], "normalization": "caffe"}),
    "resnet50, cut": ("resnet50", {"cut": "conv2_block2_out", "normalization": "imagenet"}),
    "mobilenetv2, cut": (
        "mobilenetv2_100",
        {"cut": "block_2_add", "normalization": "minus_one_one"},
    ),
    "timm's": ("test_efficientnet", {"head": ["gap", {"dropout": 0.5}]}),
    "a transformer": ("test_vit", {}),
    "channels last": ("test_mambaout", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_computes_the_same_in_every_engine(kind):
    backbone, options = KINDS[kind]
    size = int(options.get("size", SIZE))
    classifier = built(backbone, **options)
    weights = safetensors_of(classifier)
    model = onnx_graph(classifier, "one", size, weights)
    assert len(model) < 300_000
    pixels = cells(3, size)
    expected = mean_probability(Exported(classifier, "one", b"", b"").expected(pixels))
    for engine in (OnnxRuntimeEngine, OpenVinoEngine):
        found = mean_probability(engine(model, weights, threads=1).view_logits(pixels))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_eight_rotations_and_a_support_vector_machine_are_the_same_in_every_engine():
    settings = {"c": 10.0, "gamma": 3.0, "below": 0.99}
    classifier = built("sdct", head=["bilinear"], normalization="od", size=48, svm=settings)
    assert classifier.svm is not None
    generator = torch.Generator().manual_seed(1)
    support = torch.rand(5, classifier.svm.support.shape[1], generator=generator)
    classifier.svm.fill(support, torch.linspace(-2, 2, 5), torch.tensor([0.1]))
    weights = safetensors_of(classifier)
    pixels = cells(3, 48)
    expected = TorchEngine(classifier, "rotations8", torch.device("cpu")).view_logits(pixels)
    assert np.ptp(expected, axis=1).min() > 1e-4  # rotations differ
    model = onnx_graph(classifier, "rotations8", 48, weights)
    for engine in (OnnxRuntimeEngine, OpenVinoEngine):
        found = engine(model, weights, threads=1).view_logits(pixels)
        np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.fixture(scope="module", params=[False, True], ids=["single", "half"])
def files(request, tmp_path_factory):
    """A graph beside its weights."""
    made = exported(half=request.param, size=40)
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "model.onnx").write_bytes(made.model)
    (folder / WEIGHTS).write_bytes(made.weights)
    return folder, made


def test_onnx_itself_finds_nothing_wrong(files):
    folder, _ = files
    onnx.checker.check_model(str(folder / "model.onnx"), full_check=True)


def test_onnx_runtime_alone_runs_it_from_a_folder(files):
    folder, made = files
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    pixels = cells(3, 40)
    logits, p_all = session.run(["view_logits", "p_all"], {"pixels": pixels})
    assert logits.dtype == p_all.dtype == np.float32
    np.testing.assert_allclose(logits, made.expected(pixels), atol=1e-5)
    np.testing.assert_allclose(p_all, mean_probability(made.expected(pixels)), atol=1e-6)


def test_from_memory_it_gives_the_same(files):
    _, made = files
    found = OnnxRuntimeEngine(made.model, made.weights).view_logits(cells(3, 40))
    np.testing.assert_allclose(found, made.expected(cells(3, 40)), atol=1e-5)


def test_every_weight_lies_in_the_safetensors_file_and_nowhere_else(files):
    folder, made = files
    model = onnx.load(folder / "model.onnx")  # which reads the stretches that it names
    graph = {tensor.name: tensor for tensor in model.graph.initializer}
    state = made.classifier.state_dict()
    kept = {name for name in state if "num_batches" not in name}
    half = any(name.endswith(".half") for name in graph)
    for name in kept:
        found = onnx.numpy_helper.to_array(graph[f"classifier.{name}" + ".half" * half])
        np.testing.assert_array_equal(found.astype(np.float32), state[name].numpy())
    inline = ModelProto.FromString(made.model).graph.initializer
    alone = [t for t in inline if t.data_location != TensorProto.EXTERNAL]
    assert {t.name for t in alone if t.data_type == TensorProto.FLOAT} == {
        "classifier.normalise.mean",
        "classifier.normalise.deviation",
    }
    assert len(made.model) < 25_000 < len(made.weights)


def test_it_says_what_it_is_and_nothing_of_the_machine(files):
    _, made = files
    model = ModelProto.FromString(made.model)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"cells": "square"}
    assert model.producer_name == "blastscope"
    assert b".py" not in made.model
    assert b"/blastscope" not in made.model


def test_without_weights_it_stands_alone(files):
    _, made = files
    model = onnx_graph(made.classifier, "one", 40)
    assert all(not t.external_data for t in ModelProto.FromString(model).graph.initializer)
    found = OnnxRuntimeEngine(model).view_logits(cells(2, 40))
    np.testing.assert_allclose(found, made.expected(cells(2, 40))[:, :1], atol=1e-5)


def test_what_the_file_has_otherwise_stays_in_the_graph():
    tensor = onnx.numpy_helper.from_array(np.float32([1, 2, 1 / 3]), "third")
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [tensor]))
    share_weights(model, save({"third": torch.tensor([1, 2, 1 / 3]).half()}))  # a third is rounded
    assert model.graph.initializer[0] == tensor


@pytest.mark.parametrize("weights", [b"", b"\x00" * 20, b"\x02" + b"\x00" * 7 + b"[]", b"junk" * 9])
def test_what_is_no_safetensors_file_is_refused(weights):
    with pytest.raises(BlastscopeError, match=f"{WEIGHTS} is not a safetensors file"):
        share_weights(ModelProto(), weights)


def test_the_network_is_left_as_it_was_and_the_exporter_is_silent(capfd):
    classifier = built().train()
    classifier.head.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnx_graph(classifier, "one", SIZE)
    assert all(module.training for module in classifier.modules())
    assert not any(p.requires_grad for p in classifier.head.parameters())
    assert all((tensor == before[name]).all() for name, tensor in classifier.state_dict().items())
    assert capfd.readouterr() == ("", "")
