"""Networks: their size, their shapes, and what becomes of a pixel."""

from __future__ import annotations

import pytest
import torch

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import build_model
from blastscope.models.summary import summarise
from blastscope.recipes.library import load_recipe
from tests.models.recipes import recipe


def parameters(module: torch.nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def test_cnn_exp2_has_the_papers_layers_and_parameters():
    model = build_model(load_recipe("paper/cnn-exp2"))
    summary = summarise(model, 300)
    assert summary["total"] == summary["trainable"] == parameters(model) == 2_027_329
    assert model.backbone.shape == (256, 5, 5)
    # By hand, as Keras's summary has them: (3 * 3 * inputs + 1) * filters.
    counted = [row for row in summary["layers"] if row["parameters"]]
    assert [row["parameters"] for row in counted] == [896, 18496, 73856, 295168, 1638656, 257]
    assert [row["output"] for row in summary["layers"] if row["type"] == "MaxPool2d"] == [
        [32, 150, 150],
        [64, 75, 75],
        [128, 25, 25],
        [256, 5, 5],
    ]
    assert summary["layers"][-1]["output"] == [1]


@pytest.mark.parametrize(
    ("head", "count"),
    [
        # Experiments 3 and 4 of the CNN, counted in the authors' notebook.
        (["flatten", {"dropout": 0.5}, {"dense": 128, "activation": "relu"}], 1_207_873),
        (
            ["flatten", {"dense": 256, "activation": "relu"}, {"dense": 256, "activation": "relu"}],
            2_093_121,
        ),
    ],
)
def test_other_heads_have_the_papers_number_of_parameters(head, count):
    assert parameters(build_model(recipe("cnn4", 300, head=head))) == count


def test_the_paper_initialises_as_keras_does():
    torch.manual_seed(0)
    model = build_model(load_recipe("paper/cnn-exp2"))
    for layer, inputs, outputs in (
        (model.backbone.net.conv3, 9 * 64, 9 * 128),
        (model.head.dense3, 6400, 256),
    ):
        limit = (6 / (inputs + outputs)) ** 0.5
        assert 0.99 * limit < layer.weight.abs().max() <= limit
        assert not layer.bias.any()


def test_images_that_are_too_small_are_refused():
    with pytest.raises(BlastscopeError, match=r"59 pixels: set input\.size to 60 or more"):
        build_model(recipe("cnn4", 59))
    assert build_model(recipe("cnn4", 60)).backbone.shape == (256, 1, 1)
    with pytest.raises(BlastscopeError, match="inception_v3 cannot take images of 40 pixels"):
        build_model(recipe("inception_v3", 40))


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        ("resnet18", (512, 2, 2)),
        ("efficientnet_b0", (1280, 2, 2)),
        ("vit_tiny_patch16_224", (192, 4, 4)),
        ("swin_tiny_patch4_window7_224", (768, 2, 2)),
    ],
)
def test_other_families_of_timm_give_a_map_and_a_logit(backbone, shape):
    model = build_model(recipe(backbone, normalization="model"))
    assert model.backbone.shape == shape
    summary = summarise(model, 64)
    assert summary["total"] == parameters(model)
    logits = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    assert logits.shape == (2,)
    logits.sum().backward()
    # Every parameter is of use: none is left over from the classifier.
    assert all(p.grad is not None for p in model.parameters())


def test_the_summary_leaves_the_modes_as_they_were():
    model = build_model(recipe("resnet18", trainable={"from": "layer4"}))
    modes = [module.training for module in model.modules()]
    summarise(model, 64)
    assert [module.training for module in model.modules()] == modes
    assert True in modes
    assert False in modes


def test_an_unknown_backbone_lists_near_names():
    with pytest.raises(BlastscopeError, match=r"no backbone resnet188 \(did you mean resnet18\?\)"):
        build_model(recipe("resnet188"))
    with pytest.raises(BlastscopeError, match=r"resnet18\.nobody .*Invalid pretrained tag"):
        build_model(recipe("resnet18.nobody"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # By hand for the pixel (255, 0, 51): red, green, blue.
        ("unit", (1.0, 0.0, 0.2)),
        ("minus_one_one", (1.0, -1.0, -0.6)),
        ("imagenet", ((1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225)),
        ("caffe", (51 - 103.939, -116.779, 255 - 123.68)),
        ("model", (1.0, -1.0, -0.6)),  # timm's mean and deviation of this name are 0.5
    ],
)
def test_normalisation_by_hand(kind, expected):
    model = build_model(recipe("tf_efficientnet_lite0", normalization=kind))
    pixel = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    for images in (pixel, pixel.float()):
        torch.testing.assert_close(
            model.normalise(images).flatten(), torch.tensor(expected), atol=1e-5, rtol=1e-5
        )
    assert not any(key.startswith("normalise") for key in model.state_dict())


def test_a_linear_dense_layer_has_no_activation():
    head = ["gap", {"dense": 8, "activation": "none"}, {"dense": 4, "activation": "relu"}]
    kinds = [type(layer).__name__ for layer in build_model(recipe(head=head)).head]
    assert kinds == ["AdaptiveAvgPool2d", "Flatten", "Linear", "Linear", "ReLU", "Linear"]
