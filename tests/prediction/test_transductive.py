"""Predictions corrected by neighbours: the same for files and stores, and said everywhere."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import blastscope as bs
from blastscope.bundle.provenance import evaluation_entry
from blastscope.cli import app
from blastscope.decision.decision_file import read_decision
from blastscope.decision.neighbourhood import STATEMENT, corrected, store_features
from tests.api.conftest import unmarked

NAMES = ("weighted_f1", "auc", "recall_all", "recall_hem")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transductive") / "cells"
    bs.synthesize(folder, 80, 8, seed=5)
    (folder / "broken.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def store(cells):
    """A store with the settings of the model in the box."""
    size = bs.load().sizes[0]
    return bs.prepare(
        cells, out=cells.parent / "store", size=size, scale="keep", skip_bad=True
    ).path


@pytest.fixture(scope="module")
def plain(cells):
    return bs.predict(cells)


@pytest.fixture(scope="module")
def made(cells):
    return bs.predict(cells, transductive=True, out=cells.parent / "made.parquet")


def test_cells_in_distribution_are_corrected_from_their_pixels(plain, made, store):
    own, frame = plain.to_frame(), made.to_frame()
    assert frame["p_inductive"].to_list() == own["p_all"].to_list()
    assert frame["p_raw"].to_list() == own["p_raw"].to_list()
    inside = ~own["out_of_distribution"].fill_null(True)
    voters = own.filter(inside)
    features = store_features(store, voters)  # the same of a store as of files
    wanted = corrected(voters["p_all"].to_numpy(), features)
    assert frame.filter(inside)["p_all"].to_list() == pytest.approx(wanted.tolist())
    assert frame.filter(~inside)["p_all"].to_list() == own.filter(~inside)["p_all"].to_list()
    assert (frame["p_all"] != frame["p_inductive"]).sum() > 50


def test_they_are_called_by_what_was_corrected_and_have_no_shares(made):
    frame = made.to_frame()
    by = made.found.decision.decision
    known = frame.filter(pl.col("called").is_not_null())
    above = known["p_all"].to_numpy() > by.point.threshold
    assert (known["called"] == "all").to_list() == above.tolist()
    sure = np.where(above, known["p_all"], 1 - known["p_all"])
    assert known["refer"].to_list() == by.referral.refers(sure).tolist()
    assert made.found.tally.called_all == above.sum()
    assert made.subjects["share"].null_count() == len(made.subjects)
    assert made.subjects["called"].null_count() == 0


def test_the_order_of_the_files_changes_nothing(cells, made):
    files = sorted(cells.rglob("*.bmp"))
    backwards = bs.predict(files[::-1], transductive=True).to_frame()
    both = made.to_frame().join(backwards, on="cell", suffix="_back")
    assert len(both) == 80
    assert both["p_all"].to_list() == pytest.approx(both["p_all_back"].to_list())


def test_screen_page_table_and_json_say_so(plain, made):
    assert STATEMENT in made.notes()
    assert any("No share of blasts" in sentence for sentence in made.notes())
    page = unmarked(made.to_html())
    assert STATEMENT in page
    assert "No share of blasts" in page
    assert made.as_json()["transductive"]["note"] == STATEMENT
    assert "inductive" in made.to_text() or made.path is not None
    written = made.save(made.path.with_suffix(".json"))
    assert json.loads(written.read_text())["transductive"] == made.as_json()["transductive"]
    assert STATEMENT not in plain.notes()
    assert STATEMENT not in unmarked(plain.to_html())
    assert plain.as_json()["transductive"] is None
    assert "p_inductive" not in plain.to_frame().columns


def test_few_cells_and_a_pipe_are_refused(cells, tmp_path):
    few = sorted(cells.rglob("*.bmp"))[:49]
    with pytest.raises(bs.BlastscopeError, match="The batch has 49 cells"):
        bs.predict(few, transductive=True, out=tmp_path / "x.csv")
    assert not list(tmp_path.iterdir())
    words = ["predict", str(cells), "--transductive", "--out", "-"]
    refused = CliRunner().invoke(app, words)
    assert "give --out a file" in str(refused.exception)


def test_a_table_that_was_corrected_is_judged_beside_its_own(plain, made, store):
    found, own = bs.evaluate(made.path), bs.evaluate(plain.to_frame())
    for name in NAMES:
        assert found.inductive.own[name].value == pytest.approx(own.metrics[name], nan_ok=True)
        gain = found.metrics[name] - own.metrics[name]
        assert found.inductive.gain[name].value == pytest.approx(gain)
    assert own.inductive is None
    assert "inductive" not in own.as_json()
    with pytest.raises(bs.BlastscopeError, match="was corrected by neighbours before"):
        bs.evaluate(made.path, store=store, transductive=True)
    bad = made.to_frame().with_columns(p_inductive=pl.lit("high"))
    with pytest.raises(bs.BlastscopeError, match="p_inductive holds what is not a probability"):
        bs.evaluate(bad)


def test_evaluate_corrects_a_table_by_a_store(plain, store, tmp_path):
    table = plain.to_frame().filter(pl.col("p_all").is_not_null())
    table.write_csv(tmp_path / "p.csv")
    found = bs.evaluate(tmp_path / "p.csv", store=store, transductive=True)
    wanted = corrected(table["p_all"].to_numpy(), store_features(store, table))
    assert found.cells["p_all"].to_list() == pytest.approx(wanted.tolist())
    assert found.default_out == tmp_path / "p-evaluation-transductive"
    assert found.decisions.reason == "transductive"
    assert STATEMENT in found.notes()
    assert "corrected minus inductive" in found.to_text()
    saved = found.save(found.default_out)
    page = unmarked((saved / "report.html").read_text("utf-8"))
    assert STATEMENT in page
    assert "corrected minus inductive" in page
    assert STATEMENT in (saved / "card.md").read_text("utf-8")
    content = json.loads((saved / "metrics.json").read_text())
    assert content["inductive"]["own"].keys() == content["inductive"]["gain"].keys()
    assert not (saved / "decision.json").exists()
    with pytest.raises(bs.BlastscopeError, match="which no bundle gives"):
        evaluation_entry(saved, found.model, "sha256:0")
    with pytest.raises(bs.BlastscopeError, match="model's own probabilities: choose another"):
        found.save(tmp_path / "p-evaluation")
    with pytest.raises(bs.BlastscopeError, match="give their store"):
        bs.evaluate(tmp_path / "p.csv", transductive=True)
    other = table.with_columns(cell=pl.col("cell") + "x", label=None, subject=None)
    labelled = other.with_columns(label=table["label"])
    with pytest.raises(bs.BlastscopeError, match="lacks 80 of 80 cells"):
        bs.evaluate(labelled, store=store, transductive=True)


def test_the_command_has_it_for_both_verbs(plain, store, tmp_path):
    table = plain.to_frame().filter(pl.col("p_all").is_not_null())
    table.write_csv(tmp_path / "p.csv")
    words = ["evaluate", tmp_path / "p.csv", "--store", store, "--transductive"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "p-evaluation-transductive" / "report.html").is_file()
    assert not (tmp_path / "p-evaluation").exists()


def test_a_bundle_corrects_nothing_by_itself(made, tmp_path):
    """A decision knows nothing of the correction: it is of the one call that asked for it."""
    path = made.found.decision.path
    assert "transductive" not in json.dumps(read_decision(path).decision.as_json())
    assert bs.load().predict([np.zeros((8, 8, 3), np.uint8)]).columns.count("p_inductive") == 0
