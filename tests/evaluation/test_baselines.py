"""Baselines: the published boxes' metrics, scikit-learn, brute force."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.baseline_rules import AlwaysAll, Logistic, SizeRule
from blastscope.evaluation.baselines import baselines
from blastscope.evaluation.cell_measurements import CellMeasurements, measure_cells
from blastscope.evaluation.model_baselines import model_baselines


def test_the_published_boxes_give_the_known_floors(shared):
    """Metrics of the 10,661 boxes: AUC .796, weighted F1 .790 at 196 px, .553 for always-ALL."""
    found = baselines(measure_cells(shared / "data" / "cnmc_training_boxes.csv"), cuts=2)
    always, size = found.baselines
    assert (found.cells, found.subjects) == (10_661, 73)
    assert always.in_sample["weighted_f1"] == pytest.approx(0.553, abs=5e-4)
    assert size.threshold == 196
    assert size.in_sample["weighted_f1"] == pytest.approx(0.790, abs=5e-4)
    assert size.in_sample["auc"] == pytest.approx(0.796, abs=5e-4)
    mean, spread = size.folds["weighted_f1"].mean, size.folds["weighted_f1"].deviation
    assert mean == pytest.approx(0.78, abs=0.006)
    assert 0.01 < spread < 0.05


sizes = st.lists(st.tuples(st.integers(1, 30), st.booleans()), min_size=4, max_size=60)


@given(sizes)
def test_no_other_size_would_have_given_a_higher_weighted_f1(cells):
    size, is_all = (np.array(column) for column in zip(*cells, strict=True))
    features = size[:, None].astype(float)
    rule = SizeRule().fit(features, is_all.astype(bool))
    scores = rule.score(features)
    assert ((scores > 0.5) == (size >= rule.threshold)).all()
    best = f1_score(is_all, scores > 0.5, average="weighted", zero_division=0.0)
    every = [
        f1_score(is_all, size >= cut, average="weighted", zero_division=0.0) for cut in set(size)
    ]
    assert best == pytest.approx(max(every))


def test_sizes_that_are_not_whole_are_called_by_the_threshold():
    size = np.array([7.2, 7.8, 7.9, 8.1, 8.4, 9.0])
    is_all = size > 8
    rule = SizeRule().fit(size[:, None], is_all)
    assert rule.threshold == 8.1
    called = rule.score(size[:, None]) > 0.5
    assert f1_score(is_all, called, average="weighted") == 1.0
    others = np.array([8.0999, 7.61, 8.1001])  # of cells that it was not fitted on
    assert (rule.score(others[:, None]) > 0.5).tolist() == [False, False, True]


@given(st.lists(st.integers(1, 400), min_size=2, max_size=40, unique=True), st.integers(1, 7))
def test_sizes_in_fractions_keep_their_order_and_the_threshold(found, parts):
    rule, size = SizeRule(), np.sort(np.array(found)) / parts
    rule.threshold = float(size[len(size) // 2])
    score = rule.score(size[:, None])
    assert (np.diff(score) > 0).all()
    assert ((score > 0.5) == (size >= rule.threshold)).all()
    if parts == 1:  # of whole sizes, what a baseline has always had
        over = size - rule.threshold + 0.5
        assert (score == (1 + over / (1 + np.abs(over))) / 2).all()


@given(st.lists(st.integers(1, 400), min_size=2, max_size=40, unique=True))
def test_the_score_rises_with_size_so_that_auc_is_of_the_size(found):
    size = np.sort(np.array(found, float))[:, None]
    rule = SizeRule()
    rule.threshold = 196.0
    score = rule.score(size)
    assert (np.diff(score) > 0).all()
    assert ((score > 0) & (score < 1)).all()


def test_the_regression_is_scikit_learns():
    rng = np.random.default_rng(3)
    features = rng.normal(5, 3, (80, 4))
    is_all = features[:, 0] + rng.normal(0, 2, 80) > 5
    scaled = StandardScaler().fit_transform(features)
    theirs = LogisticRegression(max_iter=1000).fit(scaled, is_all).predict_proba(scaled)[:, 1]
    np.testing.assert_allclose(Logistic().fit(features, is_all).score(features), theirs)
    assert (AlwaysAll().fit(features, is_all).score(features) == 1).all()


def test_a_store_has_colours_and_its_own_table_has_none(dataset, tmp_path):
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=48)).path
    found = baselines(measure_cells(store), folds=2, cuts=2)
    assert [baseline.name for baseline in found.baselines] == [
        "always ALL",
        "size",
        "size and colour",
    ]
    plain = baselines(measure_cells(store / "cells.parquet"), folds=2, cuts=2)
    assert plain.baselines == found.baselines[:2]
    table = measure_cells(store).cells
    is_all = (table["label"] == "all").to_numpy()
    assert found.baselines[1].in_sample["auc"] == pytest.approx(
        roc_auc_score(is_all, table["size"])
    )
    lifted = prepare([dataset()], tmp_path / "clahe", StoreSettings(size=48, clahe=True)).path
    assert not measure_cells(lifted).has_colours  # CLAHE changes the stain


def test_unseen_subjects_are_unseen(tmp_path):
    """Each subject has a size of their own: known, it tells them apart; unseen, it says nothing."""
    rows = [
        (f"UID_{mark}{subject}_{k}_1_{label}.bmp", 100 + 20 * subject + 10 * (label == "all"), 90)
        for label, mark in (("all", ""), ("hem", "H"))
        for subject in range(1, 9)
        for k in range(1, 11)
    ]
    table = pl.DataFrame(rows, ["file", "width", "height"], orient="row")
    table.write_csv(tmp_path / "boxes.csv")
    found = baselines(measure_cells(tmp_path / "boxes.csv"), folds=4, cuts=3)
    size = found.baselines[1]
    assert size.folds["auc"].mean <= size.in_sample["auc"] + 0.05
    assert (found.cells, found.subjects) == (160, 16)


def test_across_folds_the_auc_of_size_is_that_of_the_size_itself(tmp_path):
    """Each fold fits another threshold; the AUC does not depend on that."""
    rng = np.random.default_rng(5)
    is_all, fold = np.arange(120) % 2 == 0, np.arange(120) // 40
    size = rng.normal(200 + 25 * is_all + 30 * fold * ~is_all, 15)
    table = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(120)],
            "subject": [f"{'a' if blast else 'n'}{k % 3}" for k, blast in enumerate(is_all)],
            "label": np.where(is_all, "all", "hem"),
            "part": "test",
            "p_all": rng.uniform(size=120),
            "fold": fold,
        }
    )
    measured = CellMeasurements(
        tmp_path, table.select("cell", size=pl.Series(size)), table.select("cell", "label")
    )
    about = {"out_of_fold": "subject"}
    by_name = {one.name: one for one in model_baselines(measured, table, "test", about, 100)}
    found = by_name["size"]
    assert found.metrics["auc"] == pytest.approx(roc_auc_score(is_all, size))
    assert found.estimates["auc"].value == pytest.approx(roc_auc_score(is_all, size))
    own = roc_auc_score(is_all, table["p_all"])
    assert found.lead["auc"].value == pytest.approx(own - roc_auc_score(is_all, size))
    called = np.empty(120, bool)
    for k in range(3):
        rule = SizeRule().fit(size[fold != k, None], is_all[fold != k])
        called[fold == k] = size[fold == k] >= rule.threshold
    f1 = f1_score(is_all, called, average="weighted")
    assert found.estimates["weighted_f1"].value == pytest.approx(f1)


def test_json_and_table_say_the_same(dataset, tmp_path):
    store = prepare([dataset()], tmp_path / "store", StoreSettings(size=48)).path
    told = CliRunner().invoke(app, ["baselines", str(store), "--folds", "2", "--json"])
    content = json.loads(told.stdout)
    assert content["format"] == "blastscope-baselines/2"
    table = CliRunner().invoke(app, ["baselines", str(store), "--folds", "2"])
    assert f"{content['baselines'][1]['in_sample']['auc']:.3f}" in table.stdout
    assert "40 cells of 8 subjects" in table.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,width,height\nUID_1_1_1_all.bmp,,40\n", "has no box of a size above zero"),
        ("file,width,height\nUID_1_1_1_all.bmp,0,0\n", "has no box of a size above zero"),
        ("file,width,height\nmine.bmp,30,40\n", "is not of the form"),
        ("file,width,height\nUID_1_1_1_all.bmp,30,40\n", "No cell is labelled hem"),
        ("file,side\nUID_1_1_1_all.bmp,30\n", "boxes.csv"),
    ],
)
def test_a_table_that_is_no_use_is_one_sentence(tmp_path, text, said):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(BlastscopeError, match=said):
        baselines(measure_cells(tmp_path / "boxes.csv"))
