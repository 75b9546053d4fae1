"""Targets of a student by hand, teachers that are refused, a student that follows its teacher."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

import blastscope as bs
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, write_json
from blastscope.io.predictions import read_predictions, write_predictions
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from blastscope.training.dataset import read_inputs
from blastscope.training.distillation import Teachers, soft_targets
from blastscope.training.run_folder import load_checkpoint
from blastscope.training.teacher_networks import teacher_networks
from blastscope.training.train import run_identity, train


@pytest.fixture
def inputs(material):
    return read_inputs(load_recipe(str(material.recipe)), material.store, material.split)


def recipe(material, share: float, *more: str):
    return load_recipe(str(material.recipe), [f"training.distillation={share}", *more])


def table_of(inputs, path, p_all, parts=None):
    """A teacher's table: its probability of each cell, in the order of the store."""
    split = inputs.split.table
    cells = inputs.store.cells.join(split, on="cell", maintain_order="left")
    frame = cells.select("cell", "subject", "label").with_columns(
        part=cells["part"] if parts is None else pl.Series(parts),
        model=pl.lit("teacher"),
        p_all=pl.Series(p_all),
    )
    write_predictions(frame, path, {"synthetic": inputs.store.synthetic})
    return path


def test_a_target_is_its_label_and_the_teachers_mean_log_odds(inputs, material, tmp_path):
    n = inputs.store.cells.height
    rng = np.random.default_rng(2)
    first, second = rng.uniform(0.05, 0.95, (2, n))
    paths = [table_of(inputs, tmp_path / f"{k}.parquet", p) for k, p in enumerate((first, second))]
    found = soft_targets(recipe(material, 0.7), inputs, Teachers.at(paths))
    odds = (np.log(first / (1 - first)) + np.log(second / (1 - second))) / 2
    by_hand = 0.3 * inputs.is_all + 0.7 / (1 + np.exp(-odds))
    training = inputs.rows["train"]
    assert found[training] == pytest.approx(by_hand[training], abs=1e-6)
    others = np.setdiff1d(np.arange(n), training)
    assert (found[others] == inputs.is_all[others]).all()


def test_a_teacher_that_was_trained_on_test_cells_is_refused(inputs, material, tmp_path):
    n = inputs.store.cells.height
    path = table_of(inputs, tmp_path / "t.parquet", np.full(n, 0.5), ["train"] * n)
    with pytest.raises(BlastscopeError, match="validation cells"):
        soft_targets(recipe(material, 0.5), inputs, Teachers.at([path]))


def test_a_teacher_that_was_chosen_by_test_cells_is_refused(inputs, material, tmp_path):
    table = inputs.store.cells.join(inputs.split.table, on="cell", maintain_order="left")
    swapped = table["part"].replace({"test": "validation", "validation": "test"})
    path = table_of(inputs, tmp_path / "t.parquet", np.full(table.height, 0.5), swapped)
    with pytest.raises(BlastscopeError, match="test cells"):
        soft_targets(recipe(material, 0.5), inputs, Teachers.at([path]))


def test_a_teacher_that_is_given_twice_is_refused(inputs, tmp_path):
    """Its opinion would count twice; a copy is the same teacher."""
    p_all = np.full(inputs.store.cells.height, 0.5)
    paths = [table_of(inputs, tmp_path / f"{name}.parquet", p_all) for name in ("a", "b")]
    with pytest.raises(BlastscopeError, match="once"):
        Teachers.at(paths)


def test_a_cross_validation_is_no_teacher(inputs, material, tmp_path):
    """Its networks predict each cell unseen, but were trained on the labels of all others."""
    n = inputs.store.cells.height
    path = table_of(inputs, tmp_path / "t.parquet", np.full(n, 0.5), ["test"] * n)
    rows, about = read_predictions(path)
    write_predictions(rows, path, {**about, "out_of_fold": 5})
    with pytest.raises(BlastscopeError, match="cross-validation"):
        soft_targets(recipe(material, 0.5), inputs, Teachers.at([path]))


def test_a_teacher_that_learnt_from_pseudo_labels_is_refused(inputs, material, tmp_path):
    path = table_of(inputs, tmp_path / "t.parquet", np.full(inputs.store.cells.height, 0.5))
    rows, about = read_predictions(path)
    write_predictions(rows, path, {**about, "pseudo_labels": {"sure": 0.9}})
    with pytest.raises(BlastscopeError, match="pseudo-labels"):
        soft_targets(recipe(material, 0.5), inputs, Teachers.at([path]))


def test_a_cross_validation_takes_teachers_only_if_its_recipe_does(material, tmp_path):
    for share, teachers in ((0.5, []), (0.0, [tmp_path / "cv"])):
        with pytest.raises(BlastscopeError, match="--teacher"):
            bs.cross_validate(
                recipe(material, share), material.store, out=tmp_path / "out", teachers=teachers
            )
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_lacks_training_cells_is_refused(inputs, material, tmp_path):
    path = table_of(inputs, tmp_path / "t.parquet", np.full(inputs.store.cells.height, 0.5))
    rows, about = read_predictions(path)
    first = rows.filter(pl.col("part") == "train")["cell"][0]
    write_predictions(rows.filter(pl.col("cell") != first), path, about)
    with pytest.raises(BlastscopeError, match="lacks 1 of"):
        soft_targets(recipe(material, 0.5), inputs, Teachers.at([path]))


@pytest.mark.parametrize(("share", "teachers"), [(0.5, 0), (0.0, 1)])
def test_recipe_and_teacher_go_together(inputs, material, tmp_path, share, teachers):
    path = table_of(inputs, tmp_path / "t.parquet", np.full(inputs.store.cells.height, 0.5))
    with pytest.raises(BlastscopeError):
        train(
            recipe(material, share), material.store, material.split, tmp_path / "run",
            device="cpu", teachers=[path] * teachers,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_student_follows_a_teacher_that_contradicts_the_labels(inputs, material, tmp_path):
    """If all of the target is the teacher's, and the teacher exchanges the classes, so does it."""
    wrong = np.where(inputs.is_all, 0.01, 0.99)
    path = table_of(inputs, tmp_path / "t.parquet", wrong)
    torch.manual_seed(1)
    settings = ("training.epochs=12", "training.patience=12", "training.augmentation=none")
    student, plain = (
        train(
            recipe(material, share, *settings), material.store, material.split,
            tmp_path / f"run{share}", device="cpu", teachers=[path] if share else (),
        ).path
        for share in (1.0, 0.0)
    )  # fmt: skip
    gaps = []
    for run in (student, plain):
        rows = read_predictions(run / "predictions.parquet")[0].filter(pl.col("part") == "train")
        means = dict(rows.group_by("label").agg(pl.col("p_all").mean()).iter_rows())
        gaps.append(means["all"] - means["hem"])
    assert gaps[0] < 0 < gaps[1]
    identity = read_json(student / "environment.json")["identity"]
    assert identity["teachers"] == Teachers.at([path]).hashes
    assert "teachers" not in read_json(plain / "environment.json")["identity"]


def test_networks_judge_a_mixed_picture_by_their_mean_logit(inputs, material, tmp_path):
    """The share of the target is by hand; a term of size has no part in it."""
    runs = [
        train(
            recipe(material, 0.0, f"training.seed={seed}", "training.epochs=1"), material.store,
            material.split, tmp_path / f"run{seed}", device="cpu",
        ).path
        for seed in (1, 2)
    ]  # fmt: skip
    identity = run_identity(recipe(material, 0.0), inputs)
    found = teacher_networks(runs, identity, torch.device("cpu"))
    pixels = torch.rand(5, 3, *inputs.store.pixels.shape[1:3]) * 255
    by_hand = torch.zeros(5)
    for run in runs:
        own = build_model(recipe(material, 0.0), pretrained=False).eval()
        own.load_state_dict(load_checkpoint(run / "checkpoint.safetensors"))
        with torch.no_grad():
            by_hand += own.head(own.backbone(own.normalise(pixels))).squeeze(1) / 2
    assert torch.allclose(found.probabilities(pixels), torch.sigmoid(by_hand), atol=1e-6)
    assert not any(one.requires_grad for net in found.networks for one in net.parameters())


def test_a_student_follows_networks_that_exchange_the_classes(inputs, material, tmp_path):
    """Labels have no share, so the student learns what its teacher says and not what is true."""
    wrong = np.where(inputs.is_all, 0.01, 0.99)
    table = table_of(inputs, tmp_path / "t.parquet", wrong)
    long = ("training.epochs=12", "training.patience=12", "training.augmentation=none")
    teacher = train(
        recipe(material, 1.0, *long), material.store, material.split, tmp_path / "teacher",
        device="cpu", teachers=[table],
    ).path  # fmt: skip
    more = ("training.teachers_see=augmented", "training.mixup=1.0")
    student = train(
        recipe(material, 1.0, *long, *more), material.store, material.split, tmp_path / "student",
        device="cpu", teachers=[teacher],
    ).path  # fmt: skip
    rows = read_predictions(student / "predictions.parquet")[0].filter(pl.col("part") == "train")
    means = dict(rows.group_by("label").agg(pl.col("p_all").mean()).iter_rows())
    assert means["all"] < means["hem"]


@pytest.mark.parametrize("kind", ["table", "other split"])
def test_a_teacher_of_augmented_cells_is_a_run_of_the_same_split(inputs, material, tmp_path, kind):
    chosen = recipe(material, 0.5, "training.teachers_see=augmented", "training.epochs=1")
    teacher = table_of(inputs, tmp_path / "t.parquet", np.full(inputs.store.cells.height, 0.5))
    if kind == "other split":
        teacher = train(
            recipe(material, 0.0, "training.epochs=1"), material.store, material.split,
            tmp_path / "run", device="cpu",
        ).path  # fmt: skip
        path = teacher / "environment.json"
        about = read_json(path)
        about["identity"]["split"] = "sha256:0"
        write_json(path, about)
    with pytest.raises(BlastscopeError, match=r"is not a run|another split"):
        train(
            chosen, material.store, material.split, tmp_path / "student", device="cpu",
            teachers=[teacher],
        )  # fmt: skip
    assert not (tmp_path / "student").exists()


def test_what_teachers_see_needs_distillation(material):
    with pytest.raises(BlastscopeError, match="distillation"):
        recipe(material, 0.0, "training.teachers_see=augmented")
