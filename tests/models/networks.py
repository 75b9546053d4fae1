"""Networks that are built at once, and the parameters of the paper's networks by hand."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from itertools import pairwise

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from blastscope.models.backbones import Backbone, make_backbone
from blastscope.models.classifier import Classifier, build_model
from blastscope.models.scratch import initialise_like_keras
from tests.models.recipes import recipe

VGG16, RESNET50, MOBILENETV2 = "vgg16", "resnet50", "mobilenetv2_100"


def without_values(backbone: str, size: int = 224, **model: object) -> Classifier:
    """Return a network that has shapes and no values, which takes no time at any size."""
    with torch.device("meta"):
        return build_model(recipe(backbone, size, **model))


@cache
def _built(name: str, cut: str | None, size: int) -> Backbone:
    # timm draws the weights of VGG16's classifier, most of the network, before we drop it.
    with torch.device("meta"):
        backbone = make_backbone(recipe(name, size, cut=cut).model, size)
    backbone.to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        initialise_like_keras(backbone)
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            module.reset_parameters()
    return backbone


def network(name: str, cut: str | None = None, size: int = 32) -> Backbone:
    """Return a backbone with random weights, the same each time, for the test alone."""
    return deepcopy(_built(name, cut, size))


def convolution(inputs: int, outputs: int, side: int = 3, bias: bool = True) -> int:
    """Count the weights of a convolution by hand."""
    return side * side * inputs * outputs + (outputs if bias else 0)


def vgg16_block(number: int, convolutions: int | None = None) -> int:
    """Count the last ``convolutions``, or all, of a block of VGG16 (Simonyan 2015, table 1, D)."""
    widths = {
        1: (3, 64, 64),
        2: (64, 128, 128),
        3: (128, 256, 256, 256),
        4: (256, 512, 512, 512),
        5: (512, 512, 512, 512),
    }[number]
    counted = [convolution(a, b) for a, b in pairwise(widths)]
    return sum(counted[-(convolutions or len(counted)) :])


RESNET50_BLOCKS = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}
"""Of each stage: how many blocks, and the width inside them (He 2016, table 1)."""


def resnet50_channels(stages: range) -> int:
    """Count the output channels of all convolutions of the first one and of ``stages``."""
    return 64 + sum(
        blocks * (width + width + 4 * width) + 4 * width
        for blocks, width in (RESNET50_BLOCKS[stage] for stage in stages)
    )


def resnet50_block(stage: int, number: int) -> int:
    """Count a block of ResNet-50 without biases; the first of a stage has a shortcut."""
    width = RESNET50_BLOCKS[stage][1]
    before = 4 * width if number > 1 else (64 if stage == 2 else 2 * width)
    layers = [(before, width, 1), (width, width, 3), (width, 4 * width, 1)]
    if number == 1:
        layers.append((before, 4 * width, 1))
    # Each convolution has a BatchNorm behind it, with a scale and a shift.
    return sum(convolution(a, b, side, bias=False) + 2 * b for a, b, side in layers)


def resnet50_stage(stage: int) -> int:
    """Count all blocks of a stage."""
    return sum(resnet50_block(stage, n) for n in range(1, RESNET50_BLOCKS[stage][0] + 1))


MOBILENETV2_WIDTHS = (16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320)
"""The output of expanded_conv and of blocks 1 to 16 (Sandler 2018, table 2)."""


def mobilenetv2_block(number: int) -> int:
    """Count block 1 to 16: expansion, 3x3 depthwise and projection, each with BatchNorm."""
    before, after = MOBILENETV2_WIDTHS[number - 1 : number + 1]
    inner = 6 * before
    return (before * inner + 2 * inner) + (9 * inner + 2 * inner) + (inner * after + 2 * after)
