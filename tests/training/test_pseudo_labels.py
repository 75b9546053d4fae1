"""Pseudo-labels by hand, what is refused, and that whatever reports them says so."""

from __future__ import annotations

import numpy as np
import pytest

import blastscope as bs
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training.dataset import read_inputs
from blastscope.training.distillation import Teachers
from blastscope.training.pseudo_labels import with_pseudo_labels
from tests.training.test_distillation import table_of


@pytest.fixture
def inputs(material):
    recipe = load_recipe(str(material.recipe), ["training.balance=none"])
    return read_inputs(recipe, material.store, material.split)


def added(inputs, material, tmp_path, p_all):
    path = table_of(inputs, tmp_path / "first.parquet", p_all)
    recipe = load_recipe(str(material.recipe), ["training.balance=none"])
    return with_pseudo_labels(recipe, inputs, Teachers.at([path]))


def test_sure_test_cells_join_with_what_was_said_of_them(inputs, material, tmp_path):
    test = inputs.rows["test"]
    p_all = np.full(len(inputs.is_all), 0.5)
    p_all[test] = np.linspace(0.02, 0.97, len(test))
    found = added(inputs, material, tmp_path, p_all)
    more = found.inputs.training.rows[len(inputs.training.rows) :]
    assert set(more) == set(test[(p_all[test] >= 0.95) | (p_all[test] <= 0.05)])
    assert found.inputs.targets[more].tolist() == (p_all[more] >= 0.5).astype(float).tolist()
    train = inputs.rows["train"]
    assert (found.inputs.targets[train] == inputs.is_all[train]).all()
    assert found.before == pytest.approx(p_all[test], abs=1e-6)
    # The labels of the test cells change nothing.
    hidden = inputs.is_all.copy()
    hidden[test] = ~hidden[test]
    again = added(type(inputs)(**{**vars(inputs), "is_all": hidden}), material, tmp_path, p_all)
    assert (again.inputs.targets[more] == found.inputs.targets[more]).all()
    assert (again.inputs.training.rows == found.inputs.training.rows).all()


def test_no_more_cells_join_a_class_than_it_has_for_training(inputs, material, tmp_path):
    p_all = np.full(len(inputs.is_all), 0.999)
    few = inputs.training.rows[:3]
    small = type(inputs.training)(few, np.zeros(3, np.uint8))
    cut = type(inputs)(**{**vars(inputs), "training": small})
    found = added(cut, material, tmp_path, p_all)
    assert found.added == {"all": int(inputs.is_all[few].sum()), "hem": 0}


def test_without_a_sure_cell_it_is_refused(inputs, material, tmp_path):
    with pytest.raises(BlastscopeError, match=r"sure .* of none"):
        added(inputs, material, tmp_path, np.full(len(inputs.is_all), 0.6))


def test_a_run_with_pseudo_labels_says_so_and_joins_nothing(inputs, material, tmp_path):
    p_all = np.where(inputs.is_all, 0.97, 0.03)
    first = table_of(inputs, tmp_path / "first.parquet", p_all)
    run = tmp_path / "run"
    made = bs.train(
        str(material.recipe), material.store, material.split, out=run, device="cpu",
        settings={"training.epochs": 1}, pseudo_labels=[first],
    )  # fmt: skip
    table, about = read_predictions(run / "predictions.parquet")
    assert about["pseudo_labels"]["added"]["all"] > 0
    before = table.filter(table["part"] == "test")["p_inductive"]
    assert set(before.round(2)) == {0.97, 0.03}
    metrics = read_json(run / "metrics.json")
    assert metrics["inductive"]["by"] == "pseudo-labels"
    assert any("pseudo-labels" in line for line in made.evaluation.notes())
    assert "pseudo-labels" in (run / "report.html").read_text("utf-8")
    assert "pseudo-labels" in (run / "card.md").read_text("utf-8")
    with pytest.raises(BlastscopeError, match="pseudo-labels of its test cells"):
        bs.compare([run, first])
    with pytest.raises(BlastscopeError, match="transductive"):
        bs.make_bundle(run, tmp_path / "b.zip")
    with pytest.raises(BlastscopeError, match="pseudo-labels of its test cells"):
        bs.stress_test([run], material.store, out=tmp_path / "stress")
    with pytest.raises(BlastscopeError, match="choose another folder"):  # it is another run
        bs.train(
            str(material.recipe), material.store, material.split, out=run, device="cpu",
            settings={"training.epochs": 1},
        )  # fmt: skip
