"""A training leaves a detector behind, whole or in halves, and predict reads it."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from blastscope.cli import app
from blastscope.errors import BlastscopeError
from blastscope.novelty.detector import fit
from blastscope.novelty.features import Kept, listening
from blastscope.novelty.file import read_novelty, write_novelty
from blastscope.predict.predict import predict
from blastscope.predict.runs import open_run
from blastscope.prepare.store import open_store
from blastscope.recipes.library import load_recipe
from blastscope.splits.parts import read_split
from blastscope.train import features
from blastscope.train.run import train
from tests.conftest import write_cell

HEADS = {
    "pooled": "[gap, {dropout: 0.3}]",
    "dense": "[flatten, {dropout: 0.3}, {dense: 24, activation: relu}]",
    "flat": "[flatten]",
}


def by_hand(run, material):
    """Features of the whole network, in one batch, of the training and validation cells."""
    opened, store = open_run(run), open_store(material.store)
    classifier = opened.classifier().eval()
    placed = store.cells.with_row_index("row").join(read_split(material.split).table, on="cell")
    rows = [placed.filter(pl.col("part") == part)["row"].to_list() for part in ("train",
        "validation")]  # fmt: skip
    pixels = torch.from_numpy(np.array(store.pixels[rows[0] + rows[1]])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        maps = classifier.backbone(classifier.normalise(pixels))
        kept = Kept()
        kept.add(classifier.head[:-1](maps))
    return fit(kept, *map(len, rows)), kept


@pytest.mark.parametrize("trainable", ["all", "head", "{from: blocks.4.0}"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_pass_that_predicts_leaves_a_detector_of_its_own_features(
    material, tmp_path, monkeypatch, head, trainable
):
    monkeypatch.setattr(features, "_LEAST_ON_A_CPU", 0)
    text = material.recipe.read_text().replace(HEADS["pooled"], head)
    material.recipe.write_text(text.replace("cnn4-small", "mobilenetv2_035"))
    changes = ["training.epochs=1", f"model.trainable={trainable}", "prediction.views=dihedral"]
    run = tmp_path / "run"
    recipe = load_recipe(str(material.recipe), changes)
    train(recipe, material.store, material.split, run, device="cpu")
    assert (material.store / "features").is_dir() == (trainable != "all")  # halves were fed
    found = open_run(run).novelty()
    wanted, kept = by_hand(run, material)
    assert found.cells == wanted.cells == 20
    assert found.threshold == pytest.approx(wanted.threshold, rel=1e-3)
    np.testing.assert_allclose(
        found.distance(kept.all()), wanted.distance(kept.all()), rtol=0.01, atol=1e-3
    )


@pytest.fixture
def images(trained, tmp_path):
    """Three training cells, noise, and words."""
    folder = tmp_path / "new"
    for path in sorted(trained.images.values())[:3]:
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
    noise = np.random.default_rng(0).integers(1, 256, (120, 120, 3), np.uint8)
    write_cell(folder / "noise.bmp", noise)
    return folder


def test_predict_says_how_far_an_image_is_from_what_the_runs_know(trained, images, tmp_path):
    out = tmp_path / "new.parquet"
    made = predict([images], [trained.run], out, device="cpu")
    table = pl.read_parquet(out)
    run = open_run(trained.run)
    assert table["novelty"].null_count() == 0
    assert table["unfamiliar"].to_list() == (table["novelty"] > 1).to_list()
    assert made.unfamiliar == table["unfamiliar"].sum()
    # a cell of the training store: its features again, by hand
    cell = table.filter(pl.col("cell") != "noise")["cell"][0]
    store = open_store(trained.run.parent / "store32")
    row = store.cells["cell"].to_list().index(cell)
    heard = Kept()
    classifier = run.classifier().eval()
    with torch.inference_mode(), listening(classifier, heard.add):
        classifier(torch.from_numpy(np.array(store.pixels[[row]])).permute(0, 3, 1, 2))
    by_hand = run.novelty().of(torch.from_numpy(heard.all()))[0]
    assert table.filter(pl.col("cell") == cell)["novelty"][0] == pytest.approx(by_hand, rel=1e-4)


def test_several_runs_give_their_median_and_older_ones_have_no_say(trained, images, tmp_path):
    def novelty(*runs):
        predict([images], list(runs), tmp_path / "o.parquet", device="cpu", force=True)
        return pl.read_parquet(tmp_path / "o.parquet")["novelty"].to_list()

    old = tmp_path / "old"
    shutil.copytree(trained.other, old)
    (old / "novelty.safetensors").unlink()
    one, two = novelty(trained.run), novelty(trained.other)
    middle = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
    assert novelty(trained.run, trained.other) == pytest.approx(middle)
    assert novelty(trained.run, old) == pytest.approx(one)
    assert novelty(old) == [None] * 4
    arguments = ["predict", images, "--model", old, "--out", tmp_path / "o.csv"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0
    assert "is not known here" in result.output
    strange = pl.read_csv(tmp_path / "o.csv")["unfamiliar"]
    assert strange.null_count() == 4


def test_a_damaged_or_foreign_file_is_refused_in_a_sentence(trained, tmp_path):
    source, checkpoint = trained.run / "novelty.safetensors", open_run(trained.run).checkpoint
    path = tmp_path / "novelty.safetensors"
    assert read_novelty(path, checkpoint) is None
    found = read_novelty(source, checkpoint)
    write_novelty(found, path, checkpoint)
    again = read_novelty(path, checkpoint)
    assert again.threshold == found.threshold
    assert np.array_equal(again.plane, found.plane)
    with pytest.raises(BlastscopeError, match="other weights than those beside it"):
        read_novelty(path, "sha256:0")
    path.write_bytes(source.read_bytes()[:-8])
    with pytest.raises(BlastscopeError, match="is damaged"):
        read_novelty(path, checkpoint)
    shutil.copy(trained.run / "checkpoint.safetensors", path)
    with pytest.raises(BlastscopeError, match="is no blastscope-novelty/1 file"):
        read_novelty(path, checkpoint)
    about = {"format": "blastscope-novelty/1", "cells": "20", "checkpoint": checkpoint}
    tensors = load_file(source)
    for change in ({"mean": torch.zeros(3)}, {"threshold": torch.tensor(0.0)}):
        save_file(tensors | change, path, about)
        with pytest.raises(BlastscopeError, match="does not hold what it should"):
            read_novelty(path, checkpoint)
    save_file({"mean": tensors["mean"]}, path, about)
    with pytest.raises(BlastscopeError, match="does not hold what it should"):
        read_novelty(path, checkpoint)
