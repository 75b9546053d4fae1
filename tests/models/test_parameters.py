"""The number of parameters and the shapes that Keras prints for the paper's networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from tests.models.networks import (
    MOBILENETV2,
    MOBILENETV2_WIDTHS,
    RESNET50,
    VGG16,
    mobilenetv2_block,
    resnet50_block,
    resnet50_channels,
    resnet50_stage,
    vgg16_block,
    without_values,
)

LINEAR_256 = {"dense": 256, "activation": "none"}
DROPOUT = {"dropout": 0.5}


def total(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def trainable(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("cnn-exp1", 2_027_329),
        ("cnn-exp2", 2_027_329),
        ("cnn-exp3", 1_207_873),
        ("cnn-exp4", 2_093_121),
        ("cnn-exp5", 1_241_025),
    ],
)
def test_the_networks_from_scratch(name, published):
    with torch.device("meta"):
        model = build_model(load_recipe(f"paper/{name}"))
    assert total(model) == trainable(model) == published


@pytest.mark.parametrize(
    ("backbone", "cut", "shape"),
    [
        (VGG16, None, (512, 7, 7)),
        (VGG16, "block4", (512, 14, 14)),
        (VGG16, "block4_pool", (512, 14, 14)),
        (VGG16, "block4_conv3", (512, 28, 28)),
        (RESNET50, None, (2048, 7, 7)),
        (RESNET50, "conv4_block6_out", (1024, 14, 14)),
        (MOBILENETV2, None, (1280, 7, 7)),
        (MOBILENETV2, "block_15_add", (160, 7, 7)),
    ],
)
def test_the_map_of_a_224_pixel_image(backbone, cut, shape):
    assert without_values(backbone, cut=cut).backbone.shape == shape


def test_vgg16():
    # Keras's VGG16 without its classifier; timm's is the same, biases and all.
    assert total(without_values(VGG16).backbone) == 14_714_688
    head = ["gap", LINEAR_256, DROPOUT]
    model = without_values(VGG16, cut="block4_pool", head=head, trainable="head")
    assert trainable(model) == 131_585  # experiment 7
    assert total(model) == 131_585 + sum(vgg16_block(number) for number in (1, 2, 3, 4))
    model = without_values(VGG16, cut="block4", head=head, trainable={"from": "block2"})
    assert trainable(model) == 7_728_129  # experiment 12


@pytest.mark.parametrize(
    ("head", "published"),
    [
        (["gap", LINEAR_256, DROPOUT], 8_821_249),  # the paper's ResNet-50 v1
        (["gap", {"dense": 512, "activation": "none"}], 9_083_905),  # v2
    ],
)
def test_a_cut_resnet50(head, published):
    # Keras's convolutions have a bias, which the BatchNorm behind them takes out again, and timm's
    # have none: one a channel is missing here.
    biases = resnet50_channels(range(2, 5))
    assert biases == 64 + (3 * 384 + 256) + (4 * 768 + 512) + (6 * 1536 + 1024)
    model = without_values(RESNET50, cut="conv4_block6_out", head=head)
    assert total(model) == trainable(model) == published - biases
    # Keras's total counts moving statistics, a mean and a variance a channel; they are buffers
    # here. 8,589,184 is its summary of the cut base.
    assert total(model.backbone) == 8_589_184 - biases - 2 * biases


def test_the_whole_resnet50():
    # Keras's summary has 23,587,712 for the base: likewise less biases and moving statistics.
    # torchvision's count for the whole network, 25,557,032, agrees less the classifier's.
    channels = resnet50_channels(range(2, 6))
    model = without_values(RESNET50, head=["gap"], trainable="head")
    assert trainable(model) == 2_049  # experiment 4
    assert total(model.backbone) == 23_587_712 - 3 * channels == 25_557_032 - 1000 * 2049


def test_mobilenetv2():
    # Keras's summary has 2,257,984 for the base, moving statistics included; neither it nor timm
    # has biases in the convolutions.
    expanded = sum(2 * 6 * before for before in MOBILENETV2_WIDTHS[:-1])
    channels = 32 + 32 + expanded + sum(MOBILENETV2_WIDTHS) + 1280
    model = without_values(MOBILENETV2, head=["gap", DROPOUT], trainable="head")
    assert trainable(model) == 1_281  # experiment 3
    assert total(model.backbone) == 2_257_984 - 2 * channels


def test_the_sums_by_hand_that_other_tests_use_are_the_published_ones():
    assert sum(vgg16_block(number) for number in range(1, 6)) == 14_714_688
    stem = 49 * 3 * 64 + 2 * 64
    assert stem + sum(map(resnet50_stage, range(2, 6))) == 25_557_032 - 1000 * 2049
    # The first block of a stage takes the narrower output of the stage before, and has a shortcut.
    assert resnet50_block(2, 1) == (64 + 9 * 64 + 256 + 256) * 64 + 2 * (64 + 64 + 256 + 256)
    stem = 27 * 32 + 2 * 32
    expanded_conv = 9 * 32 + 2 * 32 + 32 * 16 + 2 * 16
    end = 320 * 1280 + 2 * 1280
    ours = stem + expanded_conv + sum(map(mobilenetv2_block, range(1, 17))) + end
    # Keras prints 2,257,984 in total, of which it trains 2,223,872.
    assert ours == 2_223_872
