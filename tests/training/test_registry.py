"""Networks, losses and augmentations of one's own, trained through a recipe and read back."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blastscope import registry
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe, read_recipe
from blastscope.registry import register_augmentation, register_loss, register_network
from blastscope.training.train import train


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """Forget what a test registers."""
    monkeypatch.setattr(registry, "_registered", {kind: {} for kind in registry.BUILT_IN})


class Plain(nn.Module):
    """A backbone without anything of timm's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 5, stride=4)

    def forward(self, images):
        return self.conv(images).relu()


def own_network(size: int) -> nn.Module:
    return Plain()


def test_a_registered_network_has_the_recipes_head_on_its_feature_map():
    register_network("mine")(own_network)
    model = build_model(load_recipe("demo/cnn-small", ["model.backbone=mine"])).eval()
    assert model.backbone.shape == (6, 15, 15)  # (64 - 5) // 4 + 1
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    by_hand = model.head(model.backbone.net.conv(images / 255).relu()).squeeze(1)
    assert torch.allclose(model(images), by_hand, atol=1e-5)
    changed = load_recipe("demo/cnn-small", ["model.backbone=mine", "model.weights=imagenet"])
    with pytest.raises(BlastscopeError, match="mine has no ImageNet weights"):
        build_model(changed)


def test_a_loss_of_ones_own_equal_to_the_default_gives_equal_predictions(material, tmp_path):
    @register_loss("mine")
    def mine(logits, targets):
        return binary_cross_entropy_with_logits(logits, targets, reduction="none")

    found = []
    for name in ("bce", "mine"):
        recipe = load_recipe(str(material.recipe), ["training.epochs=2", f"training.loss={name}"])
        train(recipe, material.store, material.split, tmp_path / name, device="cpu")
        found.append(read_predictions(tmp_path / name / "predictions.parquet")[0]["p_all"])
    assert found[0].to_list() == found[1].to_list()


def test_a_loss_and_an_augmentation_of_ones_own_are_used_and_recorded(material, tmp_path):
    seen = []

    @register_augmentation("darker")
    def darker(pixels, rng):
        seen.append(rng.random())
        return pixels // 2

    @register_loss("focal")
    def focal(logits, targets):
        bce = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return (1 - torch.exp(-bce)) ** 2 * bce

    changes = ["training.epochs=2", "training.loss=focal", "training.augmentation=darker"]
    recipe = load_recipe(str(material.recipe), changes)
    train(recipe, material.store, material.split, tmp_path / "run", device="cpu")
    assert len(seen) > 2
    assert len(set(seen)) == len(seen)
    written = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "loss: focal" in written
    assert "augmentation: darker" in written


@pytest.mark.parametrize(
    ("register", "setting"),
    [(register_loss, "training.loss"), (register_augmentation, "training.augmentation")],
)
def test_wrong_shapes_are_refused_by_name(material, tmp_path, register, setting):
    register("short")(lambda first, second: first[:1])
    recipe = load_recipe(str(material.recipe), [f"{setting}=short"])
    with pytest.raises(BlastscopeError, match="'short' returned"):
        train(recipe, material.store, material.split, tmp_path / "run", device="cpu")


def test_a_run_of_a_network_that_is_not_registered_says_so(material, tmp_path):
    register_network("mine")(own_network)
    recipe = load_recipe(str(material.recipe), ["model.backbone=mine", "training.epochs=1"])
    train(recipe, material.store, material.split, tmp_path / "run", device="cpu")
    recorded = read_recipe(tmp_path / "run" / "recipe.yaml")
    assert build_model(recorded, pretrained=False).backbone.name == "mine"
    registry._registered["network"].clear()
    with pytest.raises(BlastscopeError, match=r"no backbone mine.*import the module that regist"):
        build_model(recorded, pretrained=False)


def test_unknown_names_suggest_near_ones():
    with pytest.raises(BlastscopeError, match=r"no loss 'bec' \(did you mean bce\?"):
        load_recipe("demo/cnn-small", ["training.loss=bec"])
    with pytest.raises(BlastscopeError, match=r"did you mean strong\?.*none, dihedral, str"):
        load_recipe("demo/cnn-small", ["training.augmentation=storng"])
    register_network("my-network")(own_network)
    with pytest.raises(BlastscopeError, match=r"my-netwrok \(did you mean my-network\?\)"):
        build_model(load_recipe("demo/cnn-small", ["model.backbone=my-netwrok"]))


def test_a_name_stands_for_one_function_and_a_notebooks_cell_may_run_again():
    register_loss("mine")(own_network)
    register_loss("mine")(own_network)
    for name, function in (("mine", np.mean), ("bce", own_network)):
        with pytest.raises(BlastscopeError, match=f"loss '{name}' exists already"):
            register_loss(name)(function)


def test_an_entry_point_registers_for_the_command_line(monkeypatch):
    def points(group):
        assert group == "blastscope"
        return [EntryPoint("any", "tests.training.registering", "blastscope")]

    monkeypatch.setattr(registry, "entry_points", points)
    sys.modules.pop("tests.training.registering", None)
    assert load_recipe("demo/cnn-small", ["training.loss=from-a-plugin"]).training.loss


def test_the_registry_does_not_import_torch():
    code = "import sys, blastscope.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
