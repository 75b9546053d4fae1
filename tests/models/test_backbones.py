"""Cutting a network, and the paper's names of its layers."""

from __future__ import annotations

import pytest
import torch

from blastscope.errors import BlastscopeError
from blastscope.models.backbones import make_backbone
from blastscope.models.layer_names import layer_named
from tests.models.recipes import recipe

MOBILENET = "mobilenetv2_100"


def backbone(name: str, size: int = 64, **model: object):
    return make_backbone(recipe(name, size, **model).model, size)


def test_a_cut_gives_what_the_whole_network_has_there():
    torch.manual_seed(1)
    whole = backbone(MOBILENET).eval()
    torch.manual_seed(1)
    cut = backbone(MOBILENET, cut="block_15_add").eval()
    images = torch.rand(2, 3, 64, 64)
    seen = {}
    whole.net.blocks[5][2].register_forward_hook(lambda _m, _i, output: seen.update(out=output))
    with torch.no_grad():
        whole(images)
        given = cut(images)
    assert torch.equal(given, seen["out"])
    assert cut.shape == (160, 2, 2)  # 7 x 7 x 160 at 224 pixels, as in the paper's experiment 8
    assert not any(name.startswith("blocks.6") for name in cut.layers)
    assert set(cut.net.state_dict()) < set(whole.net.state_dict())


def test_a_cut_vgg16_has_the_papers_parameters():
    # The base cut after block4_pool: 7,635,264, that is 7,728,129 trained in experiment 12 (all
    # but block 1's 38,720) less the head's 131,585.
    cut = backbone("vgg16", cut="features.23")
    assert sum(p.numel() for p in cut.parameters()) == 7_728_129 - 131_585 + 38_720
    assert cut.shape == (512, 4, 4)


def test_a_transformer_can_be_cut():
    cut = backbone("vit_tiny_patch16_224", cut="blocks.2")
    assert cut.shape == (192, 4, 4)


def test_a_cut_network_normalises_in_the_mode_of_each_layer():
    torch.manual_seed(0)
    cut = backbone("resnet18", cut="layer2")
    norm = cut.net.get_submodule("layer1.0.bn1")
    before = norm.running_mean.clone()
    cut.train()
    norm.eval()
    cut(torch.rand(4, 3, 64, 64))
    assert torch.equal(norm.running_mean, before)
    norm.train()
    cut(torch.rand(4, 3, 64, 64))
    assert not torch.equal(norm.running_mean, before)


def test_a_cut_elsewhere_is_refused():
    with pytest.raises(BlastscopeError, match=r"no layer block_15_ad; near it are block_15_add"):
        backbone(MOBILENET, cut="block_15_ad")
    with pytest.raises(BlastscopeError, match="cut at block_15_depthwise_relu"):
        backbone(MOBILENET, cut="block_15_depthwise_BN")
    assert backbone(MOBILENET, cut="block_15_project_BN").shape == (160, 2, 2)


@pytest.mark.parametrize(
    ("keras", "channels"),
    [
        # Output channels of Keras's MobileNetV2 1.0, from the table of Sandler and others (2018).
        ("Conv1", 32),
        ("expanded_conv_project", 16),
        ("block_1_expand", 96),
        ("block_2_project", 24),
        ("block_3_expand", 144),
        ("block_5_project", 32),
        ("block_6_expand", 192),
        ("block_6_project", 64),
        ("block_9_project", 64),
        ("block_10_expand", 384),
        ("block_10_project", 96),
        ("block_12_project", 96),
        ("block_13_expand", 576),
        ("block_13_project", 160),
        ("block_15_depthwise", 960),
        ("block_16_expand", 960),
        ("block_16_project", 320),
        ("Conv_1", 1280),
    ],
)
def test_the_papers_names_mean_layers_of_keras_width(keras, channels, mobilenet):
    layer = mobilenet.net.get_submodule(layer_named(keras, MOBILENET, mobilenet.layers))
    assert layer.out_channels == channels


def test_an_addition_is_named_only_where_there_is_one(mobilenet):
    # A block adds its input where it keeps the width and the size.
    added = [
        number
        for number in range(1, 17)
        if mobilenet.net.get_submodule(
            layer_named(f"block_{number}", MOBILENET, mobilenet.layers)
        ).has_skip
    ]
    for number in range(1, 17):
        if number in added:
            layer_named(f"block_{number}_add", MOBILENET, mobilenet.layers)
        else:
            with pytest.raises(BlastscopeError, match="no layer"):
                layer_named(f"block_{number}_add", MOBILENET, mobilenet.layers)


@pytest.fixture(scope="module")
def mobilenet():
    return backbone(MOBILENET)


def test_a_network_that_gives_several_maps_is_refused():
    with pytest.raises(BlastscopeError, match="coat_tiny does not return a feature map"):
        make_backbone(recipe("coat_tiny", size=64).model, 64)
