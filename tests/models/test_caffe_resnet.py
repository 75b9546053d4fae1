"""ResNet-50 version 1 against the published arithmetic, and against plain convolutions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, max_pool2d
from torch.utils.flop_counter import FlopCounterMode

from blastscope.errors import BlastscopeError
from blastscope.models.backbones import make_backbone
from blastscope.models.caffe_resnet import NAME
from blastscope.models.classifier import build_model
from blastscope.models.pretrained import network_config, weights_at_hand
from tests.models.networks import RESNET50_BLOCKS
from tests.models.recipes import recipe

PART = f"{NAME}_layer3.safetensors"


def plain_forward(t: dict[str, Tensor], images: Tensor) -> list[tuple[str, Tensor]]:
    """He 2016, table 1, by hand: the output of the first pooling and of every block."""

    def unit(x: Tensor, conv: str, bn: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = conv2d(x, t[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var = t[f"{bn}.running_mean"], t[f"{bn}.running_var"]
        return batch_norm(x, mean, var, t[f"{bn}.weight"], t[f"{bn}.bias"])

    x = max_pool2d(unit(images, "conv1", "bn1", 2, 3).relu(), 3, 2, 1)
    found = [("maxpool", x)]
    for layer in range(1, 5):
        for block in range(RESNET50_BLOCKS[layer + 1][0]):
            own = f"layer{layer}.{block}"
            if f"{own}.conv1.weight" not in t:
                return found
            stride = 2 if layer > 1 and block == 0 else 1  # in the first 1 x 1: version 1
            y = unit(x, f"{own}.conv1", f"{own}.bn1", stride).relu()
            y = unit(y, f"{own}.conv2", f"{own}.bn2", padding=1).relu()
            y = unit(y, f"{own}.conv3", f"{own}.bn3")
            if block == 0:
                x = unit(x, f"{own}.downsample.0", f"{own}.downsample.1", stride)
            x = (x + y).relu()
            found.append((own, x))
    return found


def outputs(net: torch.nn.Module, images: Tensor, names: list[str]) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    for name in names:
        net.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: kept.__setitem__(name, out)
        )
    with torch.no_grad():
        net.eval().forward_features(images)  # type: ignore[operator]
    return kept


def part_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key: tensor
        for key, tensor in state.items()
        if key.split(".")[0] not in ("layer4", "fc") and not key.endswith("num_batches_tracked")
    }


def varied_state() -> dict[str, Tensor]:
    """Random weights whose every layer matters: timm begins each block's last scale at zero."""
    torch.manual_seed(3)
    net = timm.create_model("resnet50", num_classes=0)
    state = net.state_dict()
    for key, tensor in state.items():
        if key.endswith(("bn1.weight", "bn2.weight", "bn3.weight", "downsample.1.weight")):
            tensor.uniform_(0.4, 0.8)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2)
        elif key.endswith(("running_mean", "bias")):
            tensor.normal_(0, 0.1)
    return state


def test_every_layer_gives_what_plain_convolutions_give():
    state = varied_state()
    backbone = make_backbone(recipe(NAME, 64).model, 64)
    backbone.net.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    expected = plain_forward(state, images)
    found = outputs(backbone.net, images, [name for name, _ in expected])
    assert len(expected) == 1 + 3 + 4 + 6 + 3
    for name, tensor in expected:
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-4, msg=name)
    # timm's own strides give the same shapes and other numbers.
    other = timm.create_model("resnet50", num_classes=0)
    other.load_state_dict(state)
    there = outputs(other, images, ["layer1.2", "layer2.0"])
    torch.testing.assert_close(there["layer1.2"], found["layer1.2"], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(there["layer2.0"], found["layer2.0"], rtol=0.1, atol=0.1)


def test_shapes_are_the_published_ones():
    with torch.device("meta"):
        assert make_backbone(recipe(NAME).model, 224).shape == (2048, 7, 7)
        cut = make_backbone(recipe(NAME, cut="conv4_block6_out").model, 224)
    assert cut.shape == (1024, 14, 14)


def multiply_adds(size: int, stages: int) -> int:
    """Count the multiply-adds of convolutions by hand (He 2016, table 1), strides as version 1."""
    side = size // 2
    count, side = 49 * 3 * 64 * side**2, side // 2
    before = 64
    for stage in range(2, 2 + stages):
        blocks, width = RESNET50_BLOCKS[stage]
        side = side if stage == 2 else side // 2
        for block in range(blocks):
            inner = before * width + 9 * width**2 + 4 * width**2
            count += (inner + (4 * before * width if block == 0 else 0)) * side**2
            before = 4 * width
    return count


@pytest.mark.parametrize(("cut", "stages"), [(None, 4), ("conv4", 3)])
def test_multiply_adds_are_the_published_ones(cut, stages):
    with torch.device("meta"):
        backbone = make_backbone(recipe(NAME, cut=cut).model, 224)
        images = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.eval()(images)
    assert counter.get_total_flops() == 2 * multiply_adds(224, stages)
    # Table 1 prints 3.8e9 for ResNet-50, with its classifier; timm's strides make 4.1e9 of it.
    assert multiply_adds(224, 4) + 2048 * 1000 == pytest.approx(3.8e9, rel=0.02)


def test_a_cut_network_takes_the_first_part_and_a_whole_one_does_not(tmp_path):
    state = varied_state()
    save_file(part_of(state), tmp_path / PART)
    wanted = recipe(NAME, weights="imagenet", cut="conv4_block6_out")
    built = build_model(wanted, tmp_path).backbone
    assert built.initial == tmp_path / PART
    own = built.net.state_dict()
    assert len(own) > 215
    assert all(own[key].equal(state[key]) for key in part_of(state))
    shorter = build_model(recipe(NAME, weights="imagenet", cut="layer2.1"), tmp_path).backbone
    assert shorter.shape[0] == 512
    config = network_config(NAME)
    assert config is not None
    assert weights_at_hand(config, tmp_path, "conv4")
    for cut in (None, "conv5_block1_out", "layer4.0"):
        assert not weights_at_hand(config, tmp_path, cut)
        with pytest.raises(BlastscopeError, match=r"up to conv4 only.*caffe_in1k\.safetensors"):
            build_model(recipe(NAME, weights="imagenet", cut=cut), tmp_path)
    save_file(state, tmp_path / f"{NAME}.safetensors")
    whole = build_model(recipe(NAME, weights="imagenet"), tmp_path).backbone
    assert whole.net.state_dict()["layer4.2.conv3.weight"].equal(state["layer4.2.conv3.weight"])
    assert build_model(wanted, tmp_path).backbone.initial == tmp_path / f"{NAME}.safetensors"


def test_without_a_folder_it_is_said_that_the_hub_lacks_them():
    with pytest.raises(BlastscopeError, match="hub has no weights"):
        build_model(recipe(NAME, weights="imagenet", cut="conv4"))


def test_the_published_weights_fit_their_preprocessing_and_their_strides(shared: Path):
    """BatchNorms see the statistics that they store, on photographs, only if all is right."""
    path = shared / "weights" / PART
    if not path.is_file():
        pytest.skip(f"no weights: there is no {path}")
    sample_images = pytest.importorskip("sklearn.datasets").load_sample_images().images
    wanted = recipe(NAME, 224, "imagenet", weights="imagenet", cut="conv4_block6_out")
    classifier = build_model(wanted, path.parent).eval()
    squares = [cv2.resize(image[:, 100:527], (224, 224)) for image in sample_images]
    images = torch.from_numpy(np.stack(squares))
    images = images.permute(0, 3, 1, 2)
    with torch.no_grad():
        normalized = classifier.normalise(images)
        ours = classifier.backbone(normalized)
    tensors = {key: tensor.float() for key, tensor in load_file(path).items()}
    name, expected = plain_forward(tensors, normalized)[-1]
    assert name == "layer3.5"
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)
    first = conv2d(normalized, tensors["conv1.weight"], stride=2, padding=3)
    var = tensors["bn1.running_var"]
    off = (first.mean((0, 2, 3)) - tensors["bn1.running_mean"]).abs() / var.sqrt()
    spread = first.std((0, 2, 3)) / var.sqrt()
    assert off.mean() < 0.15
    assert 0.8 < spread.mean() < 1.3
