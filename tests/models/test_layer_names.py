"""Layers by timm's names and by Keras's: what trains from them, and what a cut keeps."""

from __future__ import annotations

import re
from functools import cache

import pytest
import torch
from torch import nn

from blastscope.errors import BlastscopeError
from blastscope.models.backbones import Backbone
from blastscope.models.classifier import freeze
from blastscope.models.layer_names import keras_layers, layer_named, layer_to_cut_at
from blastscope.recipes.schema import From
from tests.models.networks import (
    MOBILENETV2,
    MOBILENETV2_WIDTHS,
    RESNET50,
    VGG16,
    network,
    without_values,
)

BARE = re.compile(r"block\d|conv\d(_block\d)?|block_\d+|expanded_conv")
"""Names of blocks and stages, which Keras itself has not."""


def keras_vgg16() -> list[tuple[str, str]]:
    """List Keras's layers in its order, with timm's module where the layer has weights."""
    numbers = iter((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
    layers = []
    for block, convolutions in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        for n in range(convolutions):
            layers.append((f"block{block}_conv{n + 1}", f"features.{next(numbers)}"))
        layers.append((f"block{block}_pool", ""))
    return layers


def keras_resnet50() -> list[tuple[str, str]]:
    layers = [("conv1_conv", "conv1"), ("conv1_bn", "bn1"), ("conv1_relu", ""), ("pool1_pool", "")]
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for n in range(1, blocks + 1):
            order = "1_conv 1_bn 1_relu 2_conv 2_bn 2_relu 3_conv 3_bn add out"
            if n == 1:
                order = order.replace("3_conv 3_bn", "0_conv 3_conv 0_bn 3_bn")
            for layer in order.split():
                own = f"layer{stage - 1}.{n - 1}."
                own += layer.replace("0_conv", "downsample.0").replace("0_bn", "downsample.1")
                own = re.sub(r"(\d)_(conv|bn)$", r"\2\1", own)
                weighty = layer.endswith(("conv", "bn"))
                layers.append((f"conv{stage}_block{n}_{layer}", own if weighty else ""))
    return layers


def keras_mobilenetv2() -> list[tuple[str, str]]:
    layers = [("Conv1", "conv_stem"), ("bn_Conv1", "bn1"), ("Conv1_relu", "")]
    own = "blocks.0.0"
    layers += [
        ("expanded_conv_depthwise", f"{own}.conv_dw"),
        ("expanded_conv_depthwise_BN", f"{own}.bn1"),
        ("expanded_conv_depthwise_relu", ""),
        ("expanded_conv_project", f"{own}.conv_pw"),
        ("expanded_conv_project_BN", f"{own}.bn2"),
    ]
    stages = (1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6)
    for n, stage in enumerate(stages, start=1):
        own = f"blocks.{stage}.{n - 1 - stages.index(stage)}"
        layers += [
            (f"block_{n}_expand", f"{own}.conv_pw"),
            (f"block_{n}_expand_BN", f"{own}.bn1"),
            (f"block_{n}_expand_relu", ""),
            (f"block_{n}_depthwise", f"{own}.conv_dw"),
            (f"block_{n}_depthwise_BN", f"{own}.bn2"),
            (f"block_{n}_depthwise_relu", ""),
            (f"block_{n}_project", f"{own}.conv_pwl"),
            (f"block_{n}_project_BN", f"{own}.bn3"),
        ]
        if MOBILENETV2_WIDTHS[n] == MOBILENETV2_WIDTHS[n - 1]:
            layers.append((f"block_{n}_add", ""))
    return [*layers, ("Conv_1", "conv_head"), ("Conv_1_bn", "bn2"), ("out_relu", "")]


LAYERS = {VGG16: keras_vgg16(), RESNET50: keras_resnet50(), MOBILENETV2: keras_mobilenetv2()}


@cache
def shapes(name: str, cut: str | None = None) -> Backbone:
    """Return a network without values, built once: a test changes only what of it is trained."""
    return without_values(name, 64, cut=cut).backbone


def trained_from(name: str, backbone: Backbone) -> set[str]:
    """Name the modules whose own weights train."""
    freeze(backbone, From.model_validate({"from": name}), "follow")
    parameters = backbone.net.named_parameters()
    return {key.rpartition(".")[0] for key, parameter in parameters if parameter.requires_grad}


@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        # len(model.layers) without the classifier, less the input and the paddings: conv1_pad and
        # pool1_pad in ResNet-50; those of blocks 1, 3, 6 and 13 in MobileNetV2.
        (VGG16, 19 - 1),
        (RESNET50, 175 - 3),
        (MOBILENETV2, 154 - 5),
    ],
)
def test_every_layer_of_keras_has_its_name(architecture, count):
    names = {name for name in keras_layers(architecture) if not BARE.fullmatch(name)}
    assert len(names) == count
    assert names == {name for name, _ in LAYERS[architecture]}


@pytest.mark.parametrize(
    ("architecture", "cut"),
    [
        (VGG16, None),
        (VGG16, "block4_pool"),
        (RESNET50, None),
        (RESNET50, "conv4_block6_out"),
        (MOBILENETV2, None),
        (MOBILENETV2, "block_15_add"),
    ],
)
def test_what_trains_is_what_keras_lists_from_there_on(architecture, cut):
    backbone = shapes(architecture, cut)
    layers = LAYERS[architecture]
    kept = 1 + [name for name, _ in layers].index(cut or layers[-1][0])
    for position, (name, _) in enumerate(layers):
        if position >= kept:
            if position % 5:  # looking for near names takes its time
                continue
            with pytest.raises(BlastscopeError, match=f"no layer {name}; near it are") as caught:
                trained_from(name, backbone)
            near = str(caught.value).partition("near it are ")[2].rstrip(".").split(", ")
            assert name not in near
        elif re.search(r"_block1_(3_conv|0_bn|3_bn)$", name):
            instead = f"{name.rpartition('_block1_')[0]}_block1_0_conv"
            with pytest.raises(BlastscopeError, match=f"shortcut runs: train from {instead}"):
                trained_from(name, backbone)
        else:
            behind = {own for _, own in layers[position:kept] if own}
            assert trained_from(name, backbone) == behind


@pytest.mark.parametrize(
    ("architecture", "cut", "names"),
    [
        (VGG16, None, "block4 block4_conv1 features.17"),
        (VGG16, "block4", "block4_conv3 features.21"),
        (VGG16, "block4", "block2 block2_conv1 features.5"),
        (VGG16, "block4", "block1 block1_conv1 features features.0"),
        (RESNET50, None, "conv5_block3 conv5_block3_1_conv layer4.2 layer4.2.conv1"),
        (RESNET50, "conv4_block6_out", "conv4_block6 conv4_block6_1_conv layer3.5 layer3.5.conv1"),
        (RESNET50, "conv4_block6_out", "conv4 conv4_block1 conv4_block1_1_conv layer3 layer3.0"),
        (
            RESNET50,
            "conv4_block6_out",
            "conv3 conv3_block1 conv3_block1_1_conv layer2 layer2.0.conv1",
        ),
        (RESNET50, "layer3", "conv2 conv2_block1 conv2_block1_1_conv layer1 layer1.0"),
        (RESNET50, "layer3", "conv1_conv conv1"),
        (MOBILENETV2, None, "block_10 block_10_expand blocks.4 blocks.4.0 blocks.4.0.conv_pw"),
        (MOBILENETV2, "block_15_add", "block_15_depthwise_BN blocks.5.2.bn2"),
        (MOBILENETV2, "block_15_add", "block_13 block_13_expand blocks.5 blocks.5.0.conv_pw"),
    ],
)
def test_names_of_the_same_layer_train_the_same(architecture, cut, names):
    backbone = shapes(architecture, cut)
    first, *others = (trained_from(name, backbone) for name in names.split())
    assert first
    assert all(other == first for other in others)
    if names.startswith("conv3 "):
        assert {"layer2.0.downsample.0", "layer2.0.downsample.1"} <= first


@pytest.mark.parametrize(
    ("architecture", "name", "own"),
    [
        (VGG16, "block1", "features.4"),
        (VGG16, "block3_conv2", "features.13"),  # after its ReLU
        (RESNET50, "conv1_bn", "bn1"),
        (RESNET50, "conv3_block1_0_bn", "layer2.0.downsample.1"),
        (RESNET50, "conv3_block2_2_relu", "layer2.1.act2"),
        (RESNET50, "conv4_block6_out", "layer3.5"),
        (RESNET50, "conv3", "layer2.3"),
        (MOBILENETV2, "block_10_expand", "blocks.4.0.conv_pw"),
        (MOBILENETV2, "block_15_depthwise_relu", "blocks.5.2.bn2"),
        (MOBILENETV2, "block_15_add", "blocks.5.2"),
    ],
)
def test_a_cut_gives_what_the_whole_network_has_there(architecture, name, own):
    whole = network(architecture).eval()
    images = torch.rand(2, 3, 32, 32)
    seen: list[torch.Tensor] = []
    # A copy, because the ReLU behind it may write into it.
    whole.net.get_submodule(own).register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    with torch.no_grad():
        whole(images)
        cut = network(architecture)
        cut.cut_at(name, 32)
        assert torch.equal(cut.eval()(images), seen[0])
    assert cut.shape == tuple(seen[0].shape[1:])
    assert len(cut.layers) < len(whole.layers)


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        (RESNET50, "conv4_block6_add", "cut at conv4_block6_out"),
        (RESNET50, "conv4_block6_ou", "has no layer conv4_block6_ou; near it are conv4_block6_out"),
        (RESNET50, "block4_conv3", "has no layer block4_conv3; near it are "),
        (VGG16, "block4_conv4", "has no layer block4_conv4; near it are block4_conv"),
        (MOBILENETV2, "block_15_depthwise_BN", "cut at block_15_depthwise_relu"),
        (MOBILENETV2, "bn_Conv1", "cut at Conv1_relu"),
        ("vgg11", "block4_conv1", "vgg11 has no layer block4_conv1; near it are features"),
        ("cnn4", "block4", "cnn4 has no layer block4; near it are conv1"),
    ],
)
def test_a_cut_that_cannot_be_is_one_sentence(architecture, name, message):
    with pytest.raises(BlastscopeError, match=message):
        layer_to_cut_at(name, architecture, shapes(architecture).layers)


def test_a_tag_of_weights_does_not_change_the_names():
    order = shapes(VGG16).layers
    assert layer_named("block5_conv3", "vgg16.tv_in1k", order) == "features.28"
    assert layer_to_cut_at("block5_conv3", "vgg16.tv_in1k", order) == "features.29"


def test_the_widths_are_those_of_the_published_tables():
    vgg = shapes(VGG16)
    resnet = shapes(RESNET50)

    def layer(name: str, backbone: Backbone) -> nn.Module:
        return backbone.net.get_submodule(layer_named(name, backbone.name, backbone.layers))

    for block, width in enumerate((64, 128, 256, 512, 512), start=1):
        assert layer(f"block{block}_conv2", vgg).out_channels == width
        assert isinstance(layer(f"block{block}_pool", vgg), nn.MaxPool2d)
    for stage, width in ((2, 64), (3, 128), (4, 256), (5, 512)):
        for number, (outputs, side) in enumerate(((width, 1), (width, 3), (4 * width, 1)), start=1):
            convolution = layer(f"conv{stage}_block2_{number}_conv", resnet)
            assert (convolution.out_channels, convolution.kernel_size) == (outputs, (side, side))
            assert isinstance(layer(f"conv{stage}_block2_{number}_bn", resnet), nn.BatchNorm2d)
