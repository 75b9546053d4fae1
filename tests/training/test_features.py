"""Frozen parts computed once: the same outcome as without, nothing twice, nothing stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from blastscope.data.store import open_store
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.models.classifier import build_model
from blastscope.models.dihedral import dihedral_views
from blastscope.models.frozen_split import split_frozen
from blastscope.recipes.library import load_recipe
from blastscope.training import features
from blastscope.training.batches import PixelViews, ViewList
from blastscope.training.train import train
from blastscope.training.trainer import TrainingWatch
from tests.models.recipes import recipe

FROZEN = """
title: A network of which a part is frozen
input: {size: 32, normalization: imagenet}
model:
  backbone: mobilenetv2_035
  weights: imagenet
  head: [gap, {dropout: 0.3}]
  trainable: head
training: {optimizer: adam, rate: 0.01, batch: 8, epochs: 3, balance: paper}
"""
PARTS_OF_NETWORKS = {
    "head": ("mobilenetv2_035", {"trainable": "head"}),
    "map": ("mobilenetv2_035", {"trainable": "head", "head": ["flatten", {"dropout": 0.2}]}),
    "block": ("mobilenetv2_035", {"trainable": {"from": "blocks.4.0"}}),
    # within a residual block: what enters it is handed on beside what the frozen layers make of it
    "residual": (
        "mobilenetv2_035",
        {"trainable": {"from": "blocks.5.2.bn2"}, "cut": "blocks.5.2"},
    ),
    "resnet": ("resnet10t", {"trainable": {"from": "layer3.0.conv2"}, "cut": "layer3"}),
    "tokens": ("vit_tiny_patch16_224", {"trainable": {"from": "blocks.10"}}),
}


@pytest.fixture(autouse=True)
def small_networks_are_worth_it(monkeypatch):
    """A tiny image costs so little that reading what became of it would be as slow."""
    monkeypatch.setattr(features, "_LEAST_ON_A_CPU", 0)


@pytest.fixture
def frozen(material, tmp_path):
    """Material whose recipe freezes its backbone, and the weights that it asks for."""
    torch.manual_seed(1)
    text = FROZEN.replace("weights: imagenet", "weights: none")
    path = tmp_path / "frozen.yaml"
    path.write_text(text)
    net = build_model(load_recipe(str(path))).backbone.net
    weights = {key: value.contiguous() for key, value in net.state_dict().items()}
    (tmp_path / "weights").mkdir()
    save_file(weights, tmp_path / "weights" / "mobilenetv2_035.untrained.safetensors")
    path.write_text(FROZEN)
    return material._replace(recipe=path)


def run_of(material, run: Path, *overrides: str, **more):
    chosen = load_recipe(str(material.recipe), overrides)
    weights = material.recipe.parent / "weights"
    return train(
        chosen, material.store, material.split, run, device="cpu", weights_dir=weights, **more
    )


def predicted(run: Path) -> np.ndarray:
    return pl.read_parquet(run / "predictions.parquet").sort("cell")["p_all"].to_numpy()


@pytest.mark.parametrize("name", PARTS_OF_NETWORKS)
def test_the_halves_give_what_the_whole_gives(name):
    torch.manual_seed(0)
    backbone, model = PARTS_OF_NETWORKS[name]
    size = 224 if backbone.startswith("vit") else 64
    classifier = build_model(recipe(backbone, size=size, **model))
    split = split_frozen(classifier, size)
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    classifier.eval()
    with torch.no_grad():
        handed_on = split.frozen(images)
        assert len(handed_on) == (2 if name in ("residual", "resnet") else 1)
        torch.testing.assert_close(split.upper(*handed_on), classifier(images))
    # They share the weights, so what is learnt in the upper half is the classifier's.
    trained = {id(p) for p in classifier.parameters() if p.requires_grad}
    assert trained <= {id(p) for p in split.upper.parameters()}
    assert not trained & {id(p) for p in split.frozen.parameters()}


def test_the_shapes_that_the_papers_networks_hand_on():
    extraction = build_model(load_recipe("paper/mobilenetv2-e3"), pretrained=False)
    assert [f.shape for f in split_frozen(extraction, 224).frozen(torch.zeros(2, 3, 224, 224))] == [
        (2, 1280)
    ]
    tuning = build_model(load_recipe("paper/mobilenetv2-e7"), pretrained=False)
    # Block 10 of MobileNetV2 takes 64 channels at a sixteenth of the side (Sandler 2018, table 2).
    assert [f.shape for f in split_frozen(tuning, 224).frozen(torch.zeros(2, 3, 224, 224))] == [
        (2, 64, 14, 14)
    ]


@pytest.mark.parametrize(
    "model",
    [
        {"trainable": "all"},
        {"trainable": {"from": "conv_stem"}},
        {"trainable": "head", "batchnorm": "thawed"},  # the first layers' statistics change
    ],
)
def test_what_is_not_frozen_is_not_kept(model):
    split = split_frozen(build_model(recipe("mobilenetv2_035", **model)), 64)
    assert split is None or [tuple(f.shape) for f in split.frozen(torch.zeros(1, 3, 64, 64))] == [
        (1, 16, 32, 32)  # but the first convolution, which has no statistics
    ]
    assert (split is None) == (model["trainable"] != "head")


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        # Statistics over eight cells alike, and Adam, would make steps of nothing but rounding.
        (
            "model.trainable={from: blocks.5.0}",
            "model.batchnorm=frozen",
            "training.rate=0.01",
            "training.optimizer=sgd",
        ),
        ("training.augmentation=dihedral", "prediction.views=dihedral"),
    ],
    ids=["head", "blocks", "eight views"],
)
def test_a_run_from_the_cache_equals_one_without(frozen, tmp_path, overrides):
    run_of(frozen, tmp_path / "cached", *overrides)
    assert list(frozen.store.glob("features/*/info.json"))
    run_of(frozen, tmp_path / "plain", *overrides, keep_features=False)
    np.testing.assert_allclose(
        predicted(tmp_path / "cached"), predicted(tmp_path / "plain"), atol=1e-4
    )
    one, other = (
        load_file(tmp_path / name / "checkpoint.safetensors") for name in ("cached", "plain")
    )
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=1e-4, rtol=1e-3)


def test_frozen_weights_and_statistics_do_not_change_by_a_bit(frozen, tmp_path):
    run_of(frozen, tmp_path / "run", "model.trainable={from: blocks.5.0}")
    before = load_file(tmp_path / "weights" / "mobilenetv2_035.untrained.safetensors")
    after = load_file(tmp_path / "run" / "checkpoint.safetensors")
    kept = [key for key in before if key.startswith(("conv_stem", "bn1", "blocks.0", "blocks.1"))]
    assert kept
    assert all(torch.equal(before[key], after[f"backbone.net.{key}"]) for key in kept)
    assert not torch.equal(
        before["blocks.6.0.conv_pw.weight"], after["backbone.net.blocks.6.0.conv_pw.weight"]
    )


def counted(monkeypatch) -> list[int]:
    """Count the views that are computed."""
    seen: list[int] = []
    compute = features._Compute.__call__

    def count(self, views):
        seen.append(len(views.rows))
        return compute(self, views)

    monkeypatch.setattr(features._Compute, "__call__", count)
    return seen


def test_each_view_is_computed_once_and_shared_by_recipes(frozen, tmp_path, monkeypatch):
    seen = counted(monkeypatch)
    run_of(frozen, tmp_path / "one")
    chosen = pl.read_parquet(frozen.split).filter(pl.col("part") == "train").height
    normal = chosen // 2  # balanced data: no copies are needed beyond the classes' own cells
    assert sum(seen) - 1 >= 40  # one view tells the shapes
    first = sum(seen) - 1
    seen.clear()
    # Another head on the same base needs nothing new: one view for the shapes, eight are checked.
    run_of(frozen, tmp_path / "two", "training.optimizer=rmsprop", "training.seed=24")
    assert sum(seen) <= 1 + 8
    assert first <= 40 + normal


def test_a_kill_loses_no_whole_piece(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_PIECE_VIEWS", 8)
    monkeypatch.setattr(features, "BATCH", 4)
    asked = []

    def stop(done, total):
        asked.append(done)
        if len(asked) == 5:  # in the third piece of eight, four views at a time
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(frozen, tmp_path / "run", watch=TrainingWatch(on_features=stop))
    (folder,) = (path for path in frozen.store.glob("features/*") if path.is_dir())
    assert len(list(folder.glob("*.views.npy"))) == 2
    (folder / "00002.0.npy").write_bytes(b"half")  # as a kill between the two files leaves it
    seen = counted(monkeypatch)
    run_of(frozen, tmp_path / "run")
    total = sum(len(np.load(path)) for path in folder.glob("*.views.npy"))
    assert sum(seen) == total - 16 + 1 + 8
    run_of(frozen, tmp_path / "plain", keep_features=False)
    np.testing.assert_allclose(
        predicted(tmp_path / "run"), predicted(tmp_path / "plain"), atol=1e-4
    )


def test_a_killed_training_goes_on_with_the_frozen_weights_it_began_with(frozen, tmp_path):
    """The folder of weights is gone, so what is frozen can only come from the run's own state."""
    settings = ("model.trainable={from: blocks.5.0}", "training.rate=0.001")
    run_of(frozen, tmp_path / "whole", *settings)

    def stop(row):
        raise KeyboardInterrupt

    class AfterTheFirst:
        seen = 0

        def __call__(self, cells, loss):
            self.seen += 1
            if self.seen == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(
            frozen, tmp_path / "killed", *settings, watch=TrainingWatch(on_batch=AfterTheFirst())
        )
    assert (tmp_path / "killed" / "resume.ckpt").is_file()
    shutil.rmtree(tmp_path / "weights")
    run_of(frozen, tmp_path / "killed", *settings)
    np.testing.assert_array_equal(predicted(tmp_path / "whole"), predicted(tmp_path / "killed"))


def test_other_weights_or_pixels_are_another_cache(frozen, tmp_path):
    run_of(frozen, tmp_path / "one", "training.epochs=1")
    weights = tmp_path / "weights" / "mobilenetv2_035.untrained.safetensors"
    changed = {key: value.clone() for key, value in load_file(weights).items()}
    changed["bn1.running_mean"] += 0.1  # a statistic alone
    save_file(changed, weights)
    run_of(frozen, tmp_path / "two", "training.epochs=1")
    infos = [read_json(path) for path in frozen.store.glob("features/*/info.json")]
    assert len(infos) == 2
    assert len({info["weights"] for info in infos}) == 2
    assert {info["store"] for info in infos} == {open_store(frozen.store).fingerprint}


def test_damage_is_said(frozen, tmp_path):
    run_of(frozen, tmp_path / "one", "training.epochs=1")
    (piece,) = frozen.store.glob("features/*/00000.0.npy")
    values = np.load(piece)
    np.save(piece, values[::-1] + 1)
    with pytest.raises(BlastscopeError, match="damaged features: remove the folder"):
        run_of(frozen, tmp_path / "two", "training.epochs=1")
    piece.write_bytes(b"")
    with pytest.raises(BlastscopeError, match="cannot be read"):
        run_of(frozen, tmp_path / "three", "training.epochs=1")


def test_without_room_the_network_is_fed_pixels(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "memory", lambda: 1000.0)
    run_of(frozen, tmp_path / "run", "training.epochs=1")
    assert not list(frozen.store.glob("features/*/*.npy"))
    assert len(predicted(tmp_path / "run")) == 40


def test_what_is_cheap_to_compute_is_not_kept(frozen, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_LEAST_ON_A_CPU", 2000)
    run_of(frozen, tmp_path / "run", "training.epochs=1")
    assert not list(frozen.store.glob("features/*"))
    # At its full size MobileNetV2 takes some 600 million operations for 5 KB (Sandler 2018, table
    # 4: 300 million products); VGG16's first block 3.9 billion for 3.2 MB, read in every epoch.
    for name, worth in (("paper/mobilenetv2-e3", True), ("paper/vgg16-e12", False)):
        split = split_frozen(build_model(load_recipe(name), pretrained=False), 224)
        compute = features._Compute(split.frozen.eval(), _Black(224), torch.device("cpu"))
        shapes, operations = features._measure(compute)
        cache = features.FeatureCache(tmp_path, shapes)
        found = features._is_worth_it(cache, operations, 10, tmp_path, torch.device("cpu"))
        assert found == worth


class _Black:
    def __init__(self, size: int) -> None:
        self.size = size

    def take(self, rows, operations):
        return torch.zeros(len(rows), 3, self.size, self.size, dtype=torch.uint8)


def test_a_store_that_may_only_be_read(frozen, tmp_path, monkeypatch):
    run_of(frozen, tmp_path / "one")
    monkeypatch.setattr(features.os, "access", lambda *_: False)
    seen = counted(monkeypatch)
    run_of(frozen, tmp_path / "two", "training.optimizer=rmsprop")  # all of it is there
    assert sum(seen) == 1
    run_of(frozen, tmp_path / "three", "model.head=[flatten]")  # and here nothing: pixels
    assert len(list(frozen.store.glob("features/*/info.json"))) == 1


def test_a_block_that_is_traced_as_one_step_is_not_frozen_while_its_layers_train():
    """timm needs some blocks whole; what they hold must count."""
    classifier = build_model(recipe("nf_resnet26", size=64, trainable={"from": "stages.3"}))
    split = split_frozen(classifier, 64)
    trained = {id(p) for p in classifier.parameters() if p.requires_grad}
    assert trained
    assert split is None or not trained & {id(p) for p in split.frozen.parameters()}


def test_two_cuts_that_no_weight_tells_apart_are_two_caches():
    kinds = [
        split_frozen(build_model(recipe("resnet10t", trainable="head", cut=cut)), 64).description
        for cut in ("layer1.0.bn1", "layer1.0.act1")
    ]
    assert kinds[0] != kinds[1]


def test_predictions_are_of_single_precision_whatever_trained(frozen, tmp_path):
    run_of(frozen, tmp_path / "run", "training.precision=bf16")
    classifier = build_model(load_recipe(str(frozen.recipe)), pretrained=False).eval()
    classifier.load_state_dict(load_file(tmp_path / "run" / "checkpoint.safetensors"))
    store = open_store(frozen.store)
    with torch.no_grad():
        logits = classifier(torch.from_numpy(store.pixels[:].copy()).permute(0, 3, 1, 2)).double()
    table = store.cells.select("cell").with_columns(p=torch.sigmoid(logits).numpy())
    expected = table.sort("cell")["p"].to_numpy()
    np.testing.assert_allclose(predicted(tmp_path / "run"), expected, atol=1e-5)


def test_a_view_that_was_never_computed_is_not_another_cells(frozen, tmp_path):
    run_of(frozen, tmp_path / "run")
    (folder,) = (path for path in frozen.store.glob("features/*") if path.is_dir())
    shapes = [tuple(shape) for shape in read_json(folder / "info.json")["shapes"]]
    cache = features.FeatureCache(folder, shapes)
    cache.load(40)
    with pytest.raises(IndexError, match="never computed"):
        cache.take(np.array([0]), np.array([7], np.uint8))


def test_a_run_says_what_it_began_with_and_what_its_frozen_part_took(frozen, tmp_path):
    run_of(frozen, tmp_path / "run")
    told = read_json(tmp_path / "run" / "environment.json")
    weights = tmp_path / "weights" / "mobilenetv2_035.untrained.safetensors"
    assert told["initial_weights"] == {"file": weights.name, "sha256": sha256_of(weights)}
    assert told["feature_seconds"] > 0


def test_a_view_is_the_pixels_laid_so(material):
    store = open_store(material.store)
    views = ViewList(np.array([3, 3, 7]), np.array([0, 5, 2], np.uint8))
    taken = PixelViews(store.pixels).take(views.rows, views.operations)
    whole = torch.from_numpy(store.pixels[[3, 3, 7]]).permute(0, 3, 1, 2)
    assert torch.equal(taken, dihedral_views(whole, torch.tensor([0, 5, 2])))
