"""``compare --store``: AUC at equal size and leads over size, against evaluate and a plain loop."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data.store import open_store
from blastscope.evaluation.cell_measurements import cell_measurements
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.equal_size import CALIPER
from blastscope.io.predictions import write_predictions
from tests.report.test_html import Page

TRAITS = ["size", "lightness", "a_star", "b_star"]
RULES = ("size", "size and colour")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    cells = bs.synthesize(folder / "cells", 84, 12, seed=5)
    return bs.prepare(cells, out=folder / "store", size=32).path


@pytest.fixture(scope="module")
def tables(store, tmp_path_factory):
    """``knows`` ranks by class, ``ruler`` by size; of six subjects each to train and to test."""
    folder = tmp_path_factory.mktemp("tables")
    cells = open_store(store).cells
    size = cell_measurements(store).of(cells["cell"])["size"].to_numpy()
    is_all = (cells["label"] == "all").to_numpy()
    rng = np.random.default_rng(2)
    subjects = cells.select("subject", "label").unique().sort("label", "subject")["subject"]
    trained = pl.Series(subjects.to_list()[::2])
    part = pl.when(cells["subject"].is_in(trained.implode())).then(pl.lit("train"))
    rows = cells.select("cell", "subject", "label", part=part.otherwise(pl.lit("test")))
    logits = {
        "knows": np.where(is_all, 1.5, -1.5) + rng.normal(0, 1, len(is_all)),
        "ruler": (size - size.mean()) / 10 + rng.normal(0, 0.01, len(is_all)),
    }
    fold = rows.select(pl.col("subject").rank("dense").cast(pl.Int64)).to_series() % 3 + 1
    found = {}
    for name, logit in logits.items():
        table = rows.with_columns(model=pl.lit(name), p_all=pl.Series(1 / (1 + np.exp(-logit))))
        found[name] = folder / f"{name}.parquet"
        write_predictions(table, found[name], {"protocol": "subject"})
        folds = table.with_columns(part=pl.lit("test"), fold=fold)
        found[f"{name}-folds"] = folder / f"{name}-folds.parquet"
        known = {"protocol": "subject", "out_of_fold": "subject"}
        write_predictions(folds, found[f"{name}-folds"], known)
    return found


@pytest.fixture(scope="module")
def made(store, tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "out"
    return bs.compare([tables["knows"], tables["ruler"]], out=out, store=store), out


def bounds(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def same(one: Estimate, other: Estimate) -> bool:
    return bounds(one) == pytest.approx(bounds(other), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", ["", "-folds"])
def test_each_model_has_the_numbers_that_evaluate_gives_it(made, store, tables, kind):
    given = {name: tables[f"{name}{kind}"] for name in ("knows", "ruler")}
    found = bs.compare(given, store=store) if kind else made[0]
    for name, path in given.items():
        alone = bs.evaluate(path, store=store)
        equal, expected = found.equal_size[name], alone.shortcuts.equal_size
        assert same(equal.matched, expected.matched)
        assert same(equal.size, expected.size)
        assert equal.pairs == expected.pairs
        assert [one.name for one in found.baselines[name]] == ["always ALL", *RULES]
        for one, other in zip(found.baselines[name], alone.baselines, strict=True):
            assert all(same(one.lead[key], other.lead[key]) for key in ("auc", "weighted_f1"))


def test_values_are_those_of_a_plain_loop_and_scikit_learn(made, store, tables):
    found, _ = made
    table = pl.read_parquet(tables["knows"])
    train, test = (table.filter(pl.col("part") == part) for part in ("train", "test"))
    measured = cell_measurements(store)
    x_train, x_test = (measured.of(part["cell"], TRAITS).to_numpy() for part in (train, test))
    truth, p_all = (test["label"] == "all").to_numpy(), test["p_all"].to_numpy()
    size, ordered = x_test[:, 0], []
    for i, j in product(np.flatnonzero(truth), np.flatnonzero(~truth)):
        if abs(size[i] - size[j]) <= CALIPER * (size[i] + size[j]) / 2:
            ordered.append((p_all[i] > p_all[j]) + (p_all[i] == p_all[j]) / 2)
    equal = found.equal_size["knows"]
    assert equal.matched.value == pytest.approx(np.mean(ordered))
    assert equal.pairs == len(ordered)
    rules = {one.name: one for one in found.baselines["knows"]}
    auc = roc_auc_score(truth, p_all)
    assert rules["size"].lead["auc"].value == pytest.approx(auc - roc_auc_score(truth, size))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    p_rule = model.fit(x_train, train["label"] == "all").predict_proba(x_test)[:, 1]
    lead = rules["size and colour"].lead
    assert lead["auc"].value == pytest.approx(auc - roc_auc_score(truth, p_rule))
    own, rule = (f1_score(truth, p > 0.5, average="weighted") for p in (p_all, p_rule))
    assert lead["weighted_f1"].value == pytest.approx(own - rule)


def test_a_pair_differs_at_equal_size_by_what_the_models_have(made):
    found, _ = made
    (pair,) = found.pairs
    one, other = (found.equal_size[name].matched for name in (pair.first, pair.second))
    assert pair.auc_equal_size.value == pytest.approx(one.value - other.value)
    assert pair.auc_equal_size.low <= pair.auc_equal_size.value <= pair.auc_equal_size.high
    turned = replace(pair, weighted_f1=Estimate(-0.1, -0.2, 0.0)).led()
    assert turned.first == pair.second
    assert turned.auc_equal_size == pair.auc_equal_size.negated()


def test_pairs_with_other_folds_differ_over_the_pairs_of_cells_that_both_have(store, tables):
    """A model without folds is held against one with folds within the folds."""
    folds = pl.read_parquet(tables["knows-folds"])
    rows = folds.drop("fold").with_columns(p_all=pl.Series(folds["p_all"].to_numpy()[::-1].copy()))
    found = bs.compare({"folds": tables["ruler-folds"], "one": rows}, store=store)
    truth, fold = (folds["label"] == "all").to_numpy(), folds["fold"].to_numpy()
    size = cell_measurements(store).of(folds["cell"])["size"].to_numpy()
    ruler = pl.read_parquet(tables["ruler-folds"])["p_all"].to_numpy()
    aucs = []
    for p_all in (ruler, rows["p_all"].to_numpy()):
        ordered = [
            (p_all[i] > p_all[j]) + (p_all[i] == p_all[j]) / 2
            for i, j in product(np.flatnonzero(truth), np.flatnonzero(~truth))
            if fold[i] == fold[j] and abs(size[i] - size[j]) <= CALIPER * (size[i] + size[j]) / 2
        ]
        aucs.append(np.mean(ordered))
    assert found.pairs[0].auc_equal_size.value == pytest.approx(aucs[0] - aucs[1])
    assert [one.name for one in found.baselines["one"]] == ["always ALL"]
    assert any("Not compared with size: one" in text for text in found.answers())


def test_a_model_against_itself_has_a_difference_of_zero(store, tables):
    found = bs.compare({"a": tables["knows"], "b": tables["knows"]}, store=store, resamples=200)
    assert bounds(found.pairs[0].auc_equal_size) == (0, 0, 0)


def test_files_page_and_text_have_the_numbers(made):
    found, out = made
    rows = {(r["model"], r["metric"]): r for r in pl.read_csv(out / "models.csv").to_dicts()}
    told = json.loads((out / "comparison.json").read_text())
    text, page = found.to_text(), Page((out / "report.html").read_text()).text
    for name in found.models:
        equal = found.equal_size[name].matched
        assert rows[name, "auc_equal_size"]["value"] == pytest.approx(equal.value)
        assert told["equal_size"][name]["matched"]["low"] == pytest.approx(equal.low)
        assert f"{equal.value:.3f}{equal.low:.3f} to {equal.high:.3f}" in page
        assert f"{equal.value:.3f} ({equal.low:.3f} to {equal.high:.3f})" in text
        for one in found.baselines[name][1:]:
            row = rows[name, f"auc_lead_over_{one.name.replace(' ', '_')}"]
            assert (row["low"], row["high"]) == pytest.approx(bounds(one.lead["auc"])[1:])
            lead = told["baselines"][name][one.name]["lead"]["weighted_f1"]
            assert lead["value"] == pytest.approx(one.lead["weighted_f1"].value)
    pairs = pl.read_csv(out / "pairs.csv")
    assert pairs["auc_equal_size_difference"][0] == pytest.approx(
        told["pairs"][0]["auc_equal_size_difference"]["value"]
    )


def test_who_is_not_clearly_ahead_of_size_is_named(made):
    """``ruler`` is size itself: its lead is about zero, and at equal size it knows little."""
    found, out = made
    lead = next(one for one in found.baselines["ruler"] if one.name == "size").lead["auc"]
    assert lead.low <= 0.00005
    said = [text for text in found.answers()[1:] if "size" in text and "ruler" in text]
    assert said
    page = Page((out / "report.html").read_text()).text
    assert all(text in page.split("Metrics with 95 % intervals")[0] for text in said)


def test_without_a_store_it_says_that_size_was_not_measured(tables, tmp_path):
    found = bs.compare([tables["knows"], tables["ruler"]], out=tmp_path / "out", resamples=100)
    assert (found.equal_size, found.baselines) == ({}, {})
    assert found.pairs[0].auc_equal_size is None
    assert "--store" in found.answers()[1]
    assert found.answers()[1] in Page((tmp_path / "out" / "report.html").read_text()).text
    assert found.to_frame().height == 2 * 10
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["pairs"][0]["auc_equal_size_difference"] is None


def test_cells_of_one_class_have_no_auc_at_equal_size(store, tables):
    rows = [pl.read_parquet(tables[name]) for name in ("knows", "ruler")]
    drop = (pl.col("part") == "test") & (pl.col("label") == "hem")
    found = bs.compare([one.filter(~drop) for one in rows], store=store, resamples=100)
    assert set(found.equal_size.values()) == {None}
    assert any("not measured for knows and ruler" in text for text in found.answers())
    json.dumps(found.as_json(), allow_nan=False)


def test_a_store_of_other_cells_or_labels_is_refused_and_nothing_is_written(
    store, tables, tmp_path
):
    given = [pl.read_parquet(tables[name]) for name in ("knows", "ruler")]
    turned = pl.col("label").replace({"all": "hem", "hem": "all"})
    renamed = pl.concat_str(pl.lit("x"), "cell")
    for change, words in ((turned.alias("label"), "contradict"), (renamed.alias("cell"), "lacks")):
        changed = {"a": given[0].with_columns(change), "b": given[1].with_columns(change)}
        with pytest.raises(bs.BlastscopeError, match=words):
            bs.compare(changed, out=tmp_path / "out", store=store)
    assert not (tmp_path / "out").exists()


def test_the_command_takes_the_store(store, tables, tmp_path):
    given = [str(tables["knows"]), str(tables["ruler"])]
    options = ["--store", str(store), "--out", str(tmp_path / "out"), "--resamples", "100"]
    told = CliRunner().invoke(app, ["compare", *given, *options, "--json"])
    assert told.exit_code == 0, told.output
    assert set(json.loads(told.stdout)["equal_size"]) == {"knows", "ruler"}
