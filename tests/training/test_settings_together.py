"""Runs with the newer settings: they resume to the same weights, and predict as they recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import blastscope as bs
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training.class_balance import balanced
from blastscope.training.dataset import read_inputs, subject_batches
from blastscope.training.run_folder import RunFolder
from tests.training.test_train import history, interrupt, run_of

MIXED = (
    "training.schedule=one_cycle",
    "training.optimizer=sgd",
    "training.momentum=.9",
    "training.mixup=.4",
    "training.augmentation={rotate: 20, light: .1, cutout: {squares: 1, side: .2}}",
    "training.label_smoothing=.1",
    "training.epochs=3",
)
BY_SUBJECT = (
    "training.heterogeneity={weight: .1, subjects: 2}",
    "training.balance=none",
    "training.schedule={steps: {2: .1}}",
    "training.loss={focal: {alpha: .4, gamma: .5}}",
    "training.rates={head: .02, conv3: .001}",
    "training.epochs=3",
)


@pytest.mark.parametrize("settings", [MIXED, BY_SUBJECT], ids=["mixed", "by subject"])
def test_an_interrupted_run_ends_as_a_whole_one(settings, material, tmp_path):
    run_of(material, tmp_path / "whole", *settings)
    interrupt(material, tmp_path / "broken", 1, *settings)
    run_of(material, tmp_path / "broken", *settings)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert history(whole) == history(broken)
    first, second = (load_file(run / "checkpoint.safetensors") for run in (whole, broken))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_rates_that_the_history_records_follow_the_steps(material, tmp_path):
    run_of(material, tmp_path / "run", *BY_SUBJECT)
    # The largest rate is that of the head; the schedule has changed it after the last batch.
    rates = [row["rate"] for row in history(tmp_path / "run")]
    assert rates == pytest.approx([0.002, 0.002, 0.002])


def test_oversampling_repeats_the_smaller_class():
    rows = np.arange(17)
    is_all = rows < 12
    found = balanced(rows, is_all, "oversample", 24)
    assert is_all[found.rows].sum() == (~is_all[found.rows]).sum() == 12
    assert not found.operations.any()
    counts = np.bincount(found.rows, minlength=17)
    assert (counts[:12] == 1).all()
    assert set(counts[12:]) == {2, 3}


@pytest.mark.parametrize(
    ("subjects", "left", "remedy"),
    [(9, 2, r"heterogeneity\.subjects=2"), (2, 1, "choose a split")],
)
def test_a_class_of_too_few_subjects_is_refused(material, subjects, left, remedy):
    recipe = load_recipe(
        str(material.recipe),
        [
            f"training.heterogeneity={{weight: .1, subjects: {subjects}}}",
            "training.balance=none",
            "training.batch=64",
        ],
    )
    inputs = read_inputs(recipe, material.store, material.split)
    assert recipe.training.heterogeneity is not None
    rows = inputs.training.rows
    names = inputs.store.cells["subject"][rows.tolist()].to_numpy().astype(str)
    normal = names[~inputs.is_all[rows]]
    keep = inputs.is_all[rows] | np.isin(names, np.unique(normal)[:left])
    few = replace(inputs, training=replace(inputs.training, rows=rows[keep]))
    with pytest.raises(bs.BlastscopeError, match=remedy):
        subject_batches(few, recipe.training.heterogeneity)


def test_cells_without_a_subject_are_not_taken_for_those_of_one(material):
    settings = ["training.heterogeneity={weight: .1, subjects: 2}", "training.balance=none"]
    recipe = load_recipe(str(material.recipe), [*settings, "training.batch=8"])
    inputs = read_inputs(recipe, material.store, material.split)
    assert recipe.training.heterogeneity is not None
    assert subject_batches(inputs, recipe.training.heterogeneity).each == 2
    last = int(inputs.training.rows[-1])
    unnamed = pl.when(pl.int_range(pl.len()) != last).then("subject").alias("subject")
    store = replace(inputs.store, cells=inputs.store.cells.with_columns(unnamed))
    with pytest.raises(bs.BlastscopeError, match="1 training cells name no subject"):
        subject_batches(replace(inputs, store=store), recipe.training.heterogeneity)


def test_eight_rotations_are_the_same_in_training_prediction_and_a_bundle(
    material, dataset, tmp_path
):
    run = tmp_path / "run"
    bs.train(
        str(material.recipe), material.store, material.split, out=run, device="cpu",
        settings={"prediction.views": "rotations8", "training.epochs": 1},
    )  # fmt: skip
    recorded = dict(read_predictions(RunFolder(run).predictions)[0].select("cell", "p_all").rows())
    upright = tmp_path / "upright"
    bs.train(
        str(material.recipe), material.store, material.split, out=upright, device="cpu",
        settings={"training.epochs": 1},
    )  # fmt: skip
    plain = dict(read_predictions(RunFolder(upright).predictions)[0].select("cell", "p_all").rows())
    assert max(abs(recorded[cell] - plain[cell]) for cell in plain) > 1e-5  # views matter
    bundle = bs.make_bundle(run, tmp_path / "tiny.zip")
    for model in (run, bundle):
        table = bs.predict(tmp_path / "data", model, device="cpu").to_frame()
        found = dict(table.select("cell", "p_all").rows())
        assert found.keys() == recorded.keys()
        assert all(abs(found[cell] - recorded[cell]) < 2e-4 for cell in found)
