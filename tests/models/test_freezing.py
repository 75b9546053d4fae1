"""What is trained and what is left alone, bit for bit."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import Classifier, build_model, freeze, make_head
from blastscope.models.normalization import make_normalization
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import From, Input
from blastscope.training.optimizers import make_optimizer
from tests.models.networks import (
    MOBILENETV2,
    RESNET50,
    VGG16,
    mobilenetv2_block,
    network,
    resnet50_block,
    resnet50_stage,
    vgg16_block,
)
from tests.models.recipes import recipe


def trained_count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def some_steps(
    model: Classifier, training: dict | None = None, size: int = 64
) -> dict[str, torch.Tensor]:
    """Train for three steps and return the state before."""
    before = deepcopy(model.state_dict())
    optimizer = make_optimizer(recipe(training=training), model)
    images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
    labels = torch.tensor([0.0, 1.0, 1.0, 1.0])  # even ones could cancel out to no gradient
    for _ in range(3):
        model.train()
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(images), labels).backward()
        optimizer.step()
    return before


def changed(model: Classifier, before: dict[str, torch.Tensor]) -> set[str]:
    return {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}


def is_statistic(key: str) -> bool:
    return key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_feature_extraction_trains_1281_weights_and_nothing_else():
    model = build_model(load_recipe("paper/mobilenetv2-e3", ["input.size=64"]), pretrained=False)
    assert trained_count(model) == 1281
    before = some_steps(model)
    assert changed(model, before) == {"head.logit.weight", "head.logit.bias"}


def test_fine_tuning_trains_the_last_seven_blocks():
    model = build_model(load_recipe("paper/mobilenetv2-e7", ["input.size=64"]), pretrained=False)

    def block(inputs: int, inner: int, outputs: int) -> int:
        """Count expansion, 3x3 depthwise and projection, each with its scale and shift."""
        expansion, depthwise = inputs * inner + 2 * inner, 9 * inner + 2 * inner
        return expansion + depthwise + inner * outputs + 2 * outputs

    # Blocks 10 to 16 of the table of Sandler and others (2018), the last convolution and the head.
    by_hand = (
        block(64, 384, 96)
        + 2 * block(96, 576, 96)
        + block(96, 576, 160)
        + 2 * block(160, 960, 160)
        + block(160, 960, 320)
        + (320 * 1280 + 2 * 1280)
        + 1281
    )
    assert trained_count(model) == by_hand
    before = some_steps(model)
    touched = changed(model, before)
    stages = {key.split(".")[3] for key in touched if key.startswith("backbone.net.blocks.")}
    assert stages == {"4", "5", "6"}
    assert not {
        key for key in touched if key.startswith(("backbone.net.conv_stem", "backbone.net.bn1"))
    }
    assert "backbone.net.blocks.4.0.bn1.running_mean" in touched
    assert "backbone.net.conv_head.weight" in touched


@pytest.mark.parametrize(
    ("mode", "moving"),
    [
        ("follow", {"layer3", "layer4"}),
        ("frozen", set()),
        ("thawed", {"bn1", "layer1", "layer2", "layer3", "layer4"}),
    ],
)
def test_statistics_move_where_the_mode_says(mode, moving):
    model = build_model(recipe("resnet18", trainable={"from": "layer3"}, batchnorm=mode))
    before = some_steps(model)
    touched = changed(model, before)
    assert {key.split(".")[2] for key in touched if is_statistic(key)} == moving
    weights = {key.split(".")[2] for key in touched if not is_statistic(key) and "net" in key}
    assert weights == {"layer3", "layer4"}


def test_the_modes_hold_in_a_cut_network():
    model = build_model(
        recipe("mobilenetv2_100", cut="block_5_add", trainable={"from": "block_4_depthwise"})
    )
    touched = changed(model, some_steps(model))
    assert {key.split("net.")[1].rsplit(".", 1)[0] for key in touched if is_statistic(key)} == {
        "blocks.2.1.bn2",
        "blocks.2.1.bn3",
        "blocks.2.2.bn1",
        "blocks.2.2.bn2",
        "blocks.2.2.bn3",
    }
    assert "backbone.net.blocks.2.1.conv_pw.weight" not in touched
    assert "backbone.net.blocks.2.1.conv_dw.weight" in touched


def test_frozen_layers_use_their_statistics_and_keep_their_dropout_still():
    model = build_model(recipe("vit_tiny_patch16_224", trainable="head"))
    model.train()
    images = torch.rand(2, 3, 64, 64)
    frozen = [m for m in model.backbone.modules() if isinstance(m, nn.Dropout | nn.BatchNorm2d)]
    assert frozen
    assert not any(module.training for module in frozen)
    assert torch.equal(model.backbone(images), model.backbone(images))
    assert model.head.training


def test_a_copy_keeps_its_own_layers_still():
    model = deepcopy(build_model(recipe("resnet18", trainable="head")))
    model.eval()
    model.train()
    assert not model.backbone.net.bn1.training
    assert model.training


def test_a_position_embedding_counts_as_before_every_layer():
    model = build_model(recipe("vit_tiny_patch16_224", trainable={"from": "blocks.11"}))
    net = model.backbone.net
    assert not net.pos_embed.requires_grad
    assert net.blocks[11].attn.qkv.weight.requires_grad
    assert net.norm.weight.requires_grad
    assert not net.blocks[10].attn.qkv.weight.requires_grad


def test_an_unknown_layer_lists_near_names():
    with pytest.raises(BlastscopeError, match=r"no layer block_100; near it are .*block_10"):
        build_model(recipe("mobilenetv2_100", trainable={"from": "block_100"}))
    with pytest.raises(BlastscopeError, match=r"no layer conv5; near it are conv"):
        build_model(recipe(trainable={"from": "conv5"}))


def test_a_trunk_from_scratch_can_be_trained_in_part():
    model = build_model(recipe(trainable={"from": "conv3"}))
    # (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64, two BatchNorms of 64, and the logit's 64 + 1.
    assert trained_count(model) == 18_496 + 36_928 + 2 * 128 + 65


def staged(architecture: str, cut: str | None, start: str, batchnorm: str) -> Classifier:
    """Return a network with random weights, a neuron on its pooled map, trained from ``start``."""
    backbone = network(architecture, cut)
    kept = freeze(backbone, From.model_validate({"from": start}), batchnorm)
    head = make_head(("gap",), backbone.shape)
    return Classifier(
        make_normalization(Input(size=64, normalization="imagenet"), {}), backbone, head, kept
    )


# The staged unfreezing of the paper, and what of the base it trains, counted by hand. Which layers
# these are by name, test_names holds against Keras's own order.
CUT_RESNET50 = (RESNET50, "conv4_block6_out")
STAGES = [
    (VGG16, None, "block5_conv3", vgg16_block(5, 1)),
    (VGG16, None, "block5", vgg16_block(5)),
    (VGG16, None, "block4", vgg16_block(4) + vgg16_block(5)),
    (VGG16, "block4", "block4_conv3", vgg16_block(4, 1)),
    (VGG16, "block4", "block4", vgg16_block(4)),
    (VGG16, "block4", "block3", vgg16_block(3) + vgg16_block(4)),
    (VGG16, "block4", "block2", 7_728_129 - 131_585),  # published, less the head
    (RESNET50, None, "conv5_block3_1_conv", resnet50_block(5, 3)),
    (*CUT_RESNET50, "conv4_block6_1_conv", resnet50_block(4, 6)),
    (*CUT_RESNET50, "conv4_block1_1_conv", resnet50_stage(4)),
    (*CUT_RESNET50, "conv3_block1_1_conv", resnet50_stage(3) + resnet50_stage(4)),
    (*CUT_RESNET50, "conv2_block1_1_conv", sum(map(resnet50_stage, (2, 3, 4)))),
    (MOBILENETV2, None, "block_16_expand", mobilenetv2_block(16) + 322 * 1280),
    (MOBILENETV2, None, "block_10_expand", sum(map(mobilenetv2_block, range(10, 17))) + 322 * 1280),
    (MOBILENETV2, "block_15_add", "block_15_depthwise_BN", 2 * 960 + 160 * 960 + 2 * 160),
]


@pytest.mark.parametrize(("architecture", "cut", "start", "by_hand"), STAGES)
def test_the_papers_stages_train_their_layers_and_leave_the_rest(architecture, cut, start, by_hand):
    model = staged(architecture, cut, start, "follow")
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained_count(model) == by_hand + model.backbone.shape[0] + 1
    touched = changed(model, some_steps(model, size=32))
    assert {key for key in touched if not is_statistic(key)} == trained
    # A BatchNorm learns its statistics where, and only where, it learns its scale.
    learned = {key.rpartition(".")[0] for key in touched if is_statistic(key)}
    assert learned == {norm for norm in normalisations(model) if f"{norm}.weight" in trained}


@pytest.mark.parametrize(
    ("architecture", "cut", "start"),
    [
        (RESNET50, None, "conv5_block3_1_conv"),
        (*CUT_RESNET50, "conv3_block1_1_conv"),
        (MOBILENETV2, None, "block_16_expand"),
        (MOBILENETV2, "block_15_add", "block_15_depthwise_BN"),
    ],
)
def test_thawed_statistics_move_in_the_frozen_part_as_well(architecture, cut, start):
    model = staged(architecture, cut, start, "thawed")
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    touched = changed(model, some_steps(model, size=32))
    assert {key for key in touched if not is_statistic(key)} == trained
    norms = normalisations(model)
    assert any(f"{norm}.weight" not in trained for norm in norms)
    assert {key.rpartition(".")[0] for key in touched if is_statistic(key)} == norms


def normalisations(model: nn.Module) -> set[str]:
    return {name for name, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
