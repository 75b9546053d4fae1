"""ImageNet weights from a folder, from the hub, and from nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from blastscope.errors import BlastscopeError
from blastscope.models import pretrained
from blastscope.models.classifier import build_model
from tests.models.recipes import recipe

NAME = "resnet18.a1_in1k"
FILE = f"{NAME}.safetensors"


@pytest.fixture(scope="module")
def half() -> dict[str, torch.Tensor]:
    """The tensors of a random ResNet-18 with its classifier, in half precision."""
    torch.manual_seed(5)
    state = timm.create_model("resnet18").state_dict()
    return {
        key: tensor.half() if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }


def wanting(backbone: str = NAME, **model: object):
    return recipe(backbone, weights="imagenet", **model)


def test_half_precision_is_read_into_single(half, tmp_path):
    save_file(half, tmp_path / FILE)
    state = build_model(wanting(), tmp_path).backbone.net.state_dict()
    assert state["conv1.weight"].dtype == torch.float32
    assert all(torch.equal(state[key], half[key].to(state[key].dtype)) for key in state)
    assert set(half) - set(state) == {"fc.weight", "fc.bias"}


def test_a_name_without_a_tag_wants_timms_default(half, tmp_path):
    save_file(half, tmp_path / FILE)
    net = build_model(wanting("resnet18", cut="layer2"), tmp_path).backbone.net
    found = net.get_parameter("layer2.1.conv2.weight")
    assert torch.equal(found, half["layer2.1.conv2.weight"].float())


def test_a_missing_file_is_named_and_the_hub_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pretrained, "hf_hub_download", lambda *_, **__: pytest.fail("asked the hub")
    )
    with pytest.raises(BlastscopeError, match=rf"put {FILE} into it, or choose weights: none"):
        build_model(wanting(), tmp_path)


def test_without_a_folder_the_hub_is_asked_for_safetensors(half, tmp_path, monkeypatch):
    save_file(half, tmp_path / "model.safetensors")
    asked = []

    def download(repository: str, file: str, **options: object) -> str:
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    net = build_model(wanting()).backbone.net
    assert asked == [(f"timm/{NAME}", "model.safetensors")]
    assert torch.equal(net.conv1.weight, half["conv1.weight"].float())


def test_whether_weights_are_at_hand_is_asked_without_a_download(tmp_path, monkeypatch):
    config = {"architecture": "resnet10t", "tag": "c3_in1k", "hf_hub_id": "timm/resnet10t.c3_in1k"}
    monkeypatch.setattr(pretrained, "hf_hub_download", lambda *_, **__: pytest.fail("downloaded"))
    assert not pretrained.weights_at_hand(config, tmp_path)
    (tmp_path / "resnet10t.c3_in1k.safetensors").touch()
    assert pretrained.weights_at_hand(config, tmp_path)
    asked = []
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(pretrained, "get_hf_file_metadata", asked.append)
    assert pretrained.weights_at_hand(config, None)
    assert asked[0].startswith("https://")
    assert "timm/resnet10t.c3_in1k" in asked[0]

    def unreachable(address):
        raise OSError("no network")

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", unreachable)
    assert not pretrained.weights_at_hand(config, None)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda *_: "/cache/model.safetensors")
    assert pretrained.weights_at_hand(config, None)


def test_a_network_that_nobody_trained_has_no_weights_at_hand(monkeypatch):
    monkeypatch.setattr(pretrained, "get_hf_file_metadata", lambda *_: pytest.fail("asked the hub"))
    config = timm.get_pretrained_cfg("efficientnet_b6").to_dict()
    assert config["tag"] == "untrained"
    assert not pretrained.weights_at_hand(config, None)


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch):
    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(pretrained, "hf_hub_download", unreachable)
    with pytest.raises(BlastscopeError) as caught:
        build_model(wanting())
    said = str(caught.value)
    assert f"put {FILE} into a folder and give --weights-dir, or choose weights: none." in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("layer3.0.bn1.running_var"), r"lacks layer3\.0\.bn1\.running_var"),
        (
            lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}),
            r"conv1\.weight in the shape \[64, 3, 3, 3\], and the network needs \[64, 3, 7, 7\]",
        ),
        (
            lambda state: state.update({"layer5.weight": torch.zeros(1)}),
            r"holds layer5\.weight, which this network does not have",
        ),
        (
            lambda state: state.update({"bn1.bias": torch.full((64,), float("nan"))}),
            r"NaN or infinity in bn1\.bias",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(half, tmp_path, spoil, message):
    spoiled = dict(half)
    spoil(spoiled)
    save_file(spoiled, tmp_path / FILE)
    with pytest.raises(BlastscopeError, match=message):
        build_model(wanting(), tmp_path)


def test_a_pickle_is_not_opened(tmp_path):
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / FILE).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BlastscopeError, match="cannot be read as safetensors"):
        build_model(wanting(), tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_weights_are_not_read_for_a_network_that_a_checkpoint_will_fill(tmp_path):
    model = build_model(wanting(), tmp_path, pretrained=False)
    assert model.backbone.shape == (512, 2, 2)


@pytest.mark.parametrize(
    "name", ["mobilenetv2_100.ra_in1k", "tf_efficientnet_lite0.in1k", "vgg16.tv_in1k"]
)
def test_the_weights_at_hand_are_read(shared, name):
    folder = shared / "weights"
    if not folder.is_dir():
        pytest.skip(f"no weights: there is no {folder}")
    held = load_file(folder / f"{name}.safetensors")
    given = build_model(wanting(name, normalization="imagenet"), folder).backbone.net.state_dict()
    assert all(torch.equal(tensor, held[key].to(tensor.dtype)) for key, tensor in given.items())
    assert {key.split(".")[0] for key in held.keys() - given.keys()} <= {"classifier"}
