"""Feature maps against plain forward passes of the same layers."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from blastscope.errors import BlastscopeError
from blastscope.explanation.activations import feature_maps
from blastscope.explanation.layer_choice import choose_layers
from blastscope.explanation.result import Note, NoteCode
from blastscope.models.classifier import Classifier, build_model
from blastscope.models.normalization import make_normalization
from blastscope.recipes.schema import Input
from tests.explanation.handmade import model_of
from tests.models.networks import MOBILENETV2, RESNET50, VGG16, network
from tests.models.recipes import recipe


def images(size: int, count: int = 2):
    drawn = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, size, size), generator=drawn, dtype=torch.uint8)


def dressed(backbone, size: int):
    normalise = make_normalization(Input(size=size, normalization="unit"), {})
    return model_of(Classifier(normalise, backbone, nn.Sequential(nn.Flatten())), size)


def of(backbone: str, size: int, **model):
    torch.manual_seed(3)
    return model_of(build_model(recipe(backbone, size, **model)), size)


def maps_of(model, asked=None, count: int = 2):
    (chosen,) = choose_layers([model], asked)
    return feature_maps(model, images(model.size, count), chosen.layers), chosen.notes


def test_the_first_layers_are_convolution_normalisation_activation_and_pooling():
    model = of("cnn4-small", 32)
    net = model.classifier.backbone.net
    net.norm1.running_mean.uniform_(-1, 1)
    net.norm1.running_var.uniform_(0.5, 2)
    (first, pooled), notes = maps_of(model)
    x = functional.conv2d(images(32) / 255, net.conv1.weight, net.conv1.bias, padding=1)
    scale = (net.norm1.running_var + net.norm1.eps).sqrt()[:, None, None]
    x = functional.relu((x - net.norm1.running_mean[:, None, None]) / scale)
    np.testing.assert_allclose(first.maps, x.numpy(), atol=1e-5)
    np.testing.assert_allclose(pooled.maps, functional.max_pool2d(x, 2).numpy(), atol=1e-5)
    assert (first.layer.title, pooled.layer.title) == (
        "first convolution (conv1 to relu1)",
        "first pooling (pool1)",
    )
    assert (first.layer.shape, pooled.layer.shape) == ((16, 32, 32), (16, 16, 16))
    assert notes == ()


def test_a_layer_that_writes_in_its_place_does_not_spoil_the_one_before():
    model = dressed(network(VGG16), 32)
    conv = model.classifier.backbone.net.features[0]
    assert model.classifier.backbone.net.features[1].inplace
    (raw, keras), _ = maps_of(model, ["features.0", "block1_conv1"])
    x = functional.conv2d(images(32) / 255, conv.weight, conv.bias, padding=1)
    np.testing.assert_allclose(raw.maps, x.numpy(), atol=1e-5)
    np.testing.assert_allclose(keras.maps, functional.relu(x).numpy(), atol=1e-5)  # as Keras has it
    assert raw.maps.min() < 0


def test_a_cut_network_shows_the_block_that_the_whole_one_has():
    whole = network(RESNET50)
    cut = deepcopy(whole)
    cut.cut_at("conv3_block2_out", 32)
    one, other = dressed(whole, 32), dressed(cut, 32)
    (expected,), _ = maps_of(one, ["layer1.1"])
    for name in ("conv2_block2_out", "layer1.1"):
        (found,), _ = maps_of(other, [name])
        np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    (first, pooled), _ = maps_of(other)
    assert (first.layer.name, pooled.layer.name) == ("act1", "maxpool")
    with pytest.raises(BlastscopeError, match="has no layer conv5_block1_out"):
        choose_layers([other], ["conv5_block1_out"])


def test_a_dead_map_does_not_vary_and_is_counted_image_by_image():
    model = of("cnn4", 64)
    conv = model.classifier.backbone.net.conv1
    conv.bias[3] = -1e6  # never above zero
    conv.weight[7], conv.bias[7] = 0.0, 0.4  # the same everywhere, and not zero
    conv.weight[9], conv.bias[9] = torch.zeros(()), -0.5
    conv.weight[9, 0, 1, 1] = 1.0  # alive where red is above a half
    given = images(64)
    given[1, 0] = 100
    (first, _) = feature_maps(model, given, choose_layers([model])[0].layers)
    assert first.dead[:, [3, 7]].all()
    assert first.dead[:, 9].tolist() == [False, True]
    by_hand = [[len(np.unique(one)) == 1 for one in maps] for maps in first.maps]
    assert first.dead.tolist() == by_hand
    assert 2 <= first.dead[0].sum() < 32


def test_tokens_are_laid_out_without_the_class_token():
    model = of("vit_tiny_patch16_224", 48)
    net = model.classifier.backbone.net
    (patches, block), _ = maps_of(model, ["patch_embed", "blocks.0"])
    with torch.no_grad():
        x = functional.conv2d(
            images(48) / 255, net.patch_embed.proj.weight, net.patch_embed.proj.bias, 16
        )
        np.testing.assert_allclose(patches.maps, x.numpy(), atol=1e-4)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = torch.cat([net.cls_token.expand(2, -1, -1), tokens], dim=1) + net.pos_embed
        after = net.blocks[0](net.norm_pre(tokens))[:, 1:]
    row, column = 2, 1
    np.testing.assert_allclose(
        block.maps[:, :, row, column], after[:, 3 * row + column].numpy(), atol=1e-4
    )
    (first,), notes = maps_of(model)
    assert first.layer.title == "first convolution (patch_embed.proj)"
    assert [note.code for note in notes] == [NoteCode.NO_POOLING]


def test_channels_last_are_laid_out_as_maps():
    model = of("swin_tiny_patch4_window7_224", 224)
    (embedded, stage), notes = maps_of(model, ["patch_embed", "layers.0"], count=1)
    net = model.classifier.backbone.net
    with torch.no_grad():
        given = net.patch_embed(images(224, 1) / 255)
        after = net.layers[0](given)
    np.testing.assert_allclose(embedded.maps, given.permute(0, 3, 1, 2).numpy(), atol=1e-4)
    np.testing.assert_allclose(stage.maps, after.permute(0, 3, 1, 2).numpy(), atol=1e-3)
    assert notes == ()


def test_one_layer_by_two_names_is_shown_once():
    model = dressed(network(MOBILENETV2), 32)
    found, notes = maps_of(model, ["bn_Conv1", "Conv1_relu"])
    assert [one.layer.name for one in found] == ["bn1"]
    assert found[0].maps.min() == 0  # the activation that timm has with it
    assert notes == ()


def test_a_layer_without_a_map_is_noted():
    model = of("cnn4-small", 16)
    found, notes = maps_of(model, ["pool4", "pool3"])
    assert [one.layer.name for one in found] == ["pool3"]
    details = ("pool4", "64 × 1 × 1")
    assert notes == (Note(NoteCode.LAYER_WITHOUT_MAP, "by hand", details),)


def test_a_name_that_some_models_have_is_shown_for_those():
    one, other = of("cnn4-small", 32), dressed(network(VGG16), 32)
    mine, theirs = choose_layers([one, other], ["norm2"])
    assert [layer.name for layer in mine.layers] == ["norm2"]
    assert theirs.layers == ()
    (note,) = theirs.notes
    assert note.code is NoteCode.LAYER_ABSENT
    assert "norm2" in note.details[0]
    with pytest.raises(BlastscopeError, match=r"^No model has a layer nrm2: .*norm2.*; vgg16 has"):
        choose_layers([one, other], ["norm2", "nrm2"])
    with pytest.raises(BlastscopeError, match=r"^cnn4-small has no layer nrm2; near .*norm2"):
        choose_layers([one], ["nrm2"])


def test_a_network_is_left_when_the_last_layer_has_spoken():
    model = of("cnn4-small", 32)
    chosen = choose_layers([model])[0]
    heard = []
    hook = model.classifier.backbone.net.conv2.register_forward_hook(lambda *_: heard.append(1))
    feature_maps(model, images(32), chosen.layers)
    hook.remove()
    assert heard == []
    assert not any(module._forward_hooks for module in model.classifier.modules())
