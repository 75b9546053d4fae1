from __future__ import annotations

import pytest
import torch

from blastscope.explanation.target_layer import open_at_target_layer
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from tests.models.recipes import recipe

NETWORKS = {
    "plain": ("cnn4", 64, {}),
    "residual": ("resnet18", 64, {}),
    "inverted residual": ("mobilenetv2_035", 64, {}),
    "cut": ("mobilenetv2_035", 64, {"cut": "blocks.4.0"}),
    "dense": ("densenet121", 64, {}),
    "many branches": ("regnetx_002", 64, {}),
    "transformer": ("vit_tiny_patch16_224", 224, {}),
    "channels last": ("swin_tiny_patch4_window7_224", 96, {}),
    "convolutional, modern": ("convnext_atto", 64, {}),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("grid", [1, 5])
def test_an_opened_network_says_what_the_whole_one_says(name, grid):
    torch.manual_seed(0)
    backbone, size, model = NETWORKS[name]
    classifier = build_model(recipe(backbone, size=size, **model)).eval()
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        expected = classifier(images)
        opened = open_at_target_layer(classifier, size, grid)
        handed_on = opened.lower(images)
        torch.testing.assert_close(opened(images), expected)
        torch.testing.assert_close(opened.upper(handed_on), expected)
    assert tuple(handed_on.shape[1:]) == opened.shape
    if classifier.backbone.gives_maps or min(classifier.backbone.shape[1:]) >= grid:
        assert min(opened.shape[1:]) >= grid
    else:
        assert opened.layer == "the end of the base"  # of few positions, but the only map there is


def test_the_papers_networks_are_opened_at_their_ends():
    # Section 4.2: five positions a side for its own CNN, fourteen for VGG16 and ResNet-50 cut.
    for name, side in (
        ("paper/cnn-exp2", 5),
        ("paper/mobilenetv2-e7", 7),
        ("paper/resnet50-cut-e2", 14),
    ):
        chosen = load_recipe(name)
        classifier = build_model(chosen, pretrained=False)
        opened = open_at_target_layer(classifier, chosen.input.size)
        assert (opened.layer, opened.shape[1:]) == ("the end of the base", (side, side))


def test_a_residual_block_is_not_opened_beside_its_shortcut():
    classifier = build_model(recipe("resnet18", size=64))
    opened = open_at_target_layer(classifier, 64, 8)
    # After layer2's last addition and ReLU; what follows it has 4 × 4 positions.
    assert (opened.layer, opened.shape) == ("layer2.1.act2", (128, 8, 8))


def test_an_opened_network_shares_the_weights_and_asks_for_no_gradients():
    classifier = build_model(recipe("mobilenetv2_035", size=64))
    opened = open_at_target_layer(classifier, 64)
    theirs = {id(weight) for weight in classifier.parameters()}
    assert {id(weight) for weight in opened.parameters()} <= theirs
    assert not any(weight.requires_grad for weight in opened.parameters())
    assert not opened.training
