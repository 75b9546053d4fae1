"""Decisions applied to new images: by the model's own, or another that is given."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.evaluate import evaluate
from blastscope.cli import app
from blastscope.decision.decision_file import read_decision
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions
from blastscope.prediction.decisions import decide, tally
from blastscope.prediction.predict import predict
from blastscope.training.finished_run import open_run
from tests.prediction.test_predict import images
from tests.report.decided_tables import decided_table, written

__all__ = ["images"]


def decided(out, settings=None):
    """Write the decision of a table that names no weights, of networks with these settings."""
    table = decided_table().with_columns(model=pl.lit("tiny #1"))
    evaluate(written(out.with_suffix(".parquet"), table, settings=settings), out=out)
    return out


@pytest.fixture
def decision(trained, tmp_path):
    """A decision of other networks of the same settings, as of a cross-validation."""
    return decided(tmp_path / "cv", open_run(trained.run).recipe.settings)


def test_one_is_of_the_same_settings_in_every_member_or_refused(
    trained, images, decision, tmp_path
):
    out, settings = tmp_path / "x.csv", open_run(trained.run).recipe.settings
    assert settings["training"]["seed"] == 0  # a repeat is of another seed
    longer = {**settings, "training": {**settings["training"], "epochs": 15}}
    for other, said in ((longer, "training.epochs"), (None, "does not say")):
        unfit = decided(tmp_path / "unfit", other)
        with pytest.raises(BlastscopeError, match=said):
            predict([images], [trained.run], out, device="cpu", decision=unfit)
    shutil.copytree(trained.run, tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace("rate: ", "rate: 1"))
    with pytest.raises(BlastscopeError, match=r"training\.rate"):  # a mean with another in it
        predict([images], [trained.run, tmp_path / "run"], out, device="cpu", decision=decision)
    assert not out.exists()


def test_a_given_decision_calibrates_calls_and_refers(trained, images, decision, tmp_path):
    made = predict(
        [images], [trained.run], tmp_path / "new.parquet", device="cpu", decision=decision
    )
    frame, about = read_predictions(made.path)
    kept = read_decision(decision / "decision.json").decision
    raw = [trained.p_all(trained.run)[cell] for cell in frame["cell"]]
    assert frame["p_raw"].to_list() == pytest.approx(raw, abs=1e-5)
    decided = kept.apply(frame["p_raw"].to_numpy())
    assert frame["p_all"].to_list() == decided.p_all.tolist()
    known = ~frame["out_of_distribution"].to_numpy()
    assert known.any()
    called = [kind if one else None for kind, one in zip(
        np.where(decided.called, "all", "hem").tolist(), known, strict=True)]  # fmt: skip
    assert frame["called"].to_list() == called
    assert (decided.called == (decided.p_all > kept.point.threshold)).all()
    assert frame["refer"].to_list() == (decided.refer | ~known).tolist()
    assert (made.tally.called_all, made.tally.referred) == (
        called.count("all"),
        frame["refer"].sum(),
    )
    assert about["threshold"] == kept.point.threshold
    assert about["rule"] == "sensitivity>=0.95"
    assert made.tally.subjects["cells"].sum() == known.sum()


def test_a_runs_own_is_taken_by_itself_and_of_other_weights_refused(
    trained, images, decision, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    content = json.loads((decision / "decision.json").read_text())
    content["checkpoint"] = json.loads((run / "environment.json").read_text())["checkpoint"]
    (run / "decision.json").write_text(json.dumps(content))
    made = predict([images], [run], tmp_path / "a.csv", device="cpu")
    assert made.decision.path == run / "decision.json"
    content["checkpoint"] = "sha256:0"
    (run / "decision.json").write_text(json.dumps(content))
    with pytest.raises(BlastscopeError, match="other weights"):
        predict([images], [run], tmp_path / "b.csv", device="cpu")
    assert not (tmp_path / "b.csv").exists()


def test_without_one_the_table_is_as_before(trained, images, tmp_path):
    made = predict([images], [trained.run], tmp_path / "new.parquet", device="cpu")
    frame, _ = read_predictions(made.path)
    assert made.decision is None
    assert "called" not in frame.columns
    with pytest.raises(BlastscopeError, match="cannot be read"):
        predict([images], [trained.run], tmp_path / "x.csv", device="cpu", decision=tmp_path / "no")


def test_what_is_no_cell_is_called_nothing_goes_to_the_expert_and_counts_for_nobody(decision):
    frame = pl.DataFrame(
        {
            "cell": ["a", "b", "c"],
            "subject": ["7", "7", "8"],
            "label": [None, None, None],
            "p_all": [0.999, 0.001, 0.999],
            "out_of_distribution": [False, False, True],
        },
        schema_overrides={"label": pl.String},
    )
    by = read_decision(decision / "decision.json")
    decided = decide(frame, by)
    assert decided["called"].to_list() == ["all", "hem", None]
    assert decided["refer"].to_list()[2] is True
    found = tally(decided, by)
    assert (found.called_all, found.out_of_distribution) == (1, 1)
    assert found.subjects.select("subject", "cells", "called", "covered", "wrong").rows() == [
        ("7", 2, 0.5, None, None)
    ]
    unknown = tally(frame.with_columns(out_of_distribution=pl.lit(None, pl.Boolean)), None)
    assert (unknown.called_all, unknown.out_of_distribution, unknown.subjects) == (2, None, None)
    # Where no cell was found, no detector is missing.
    assert tally(decide(frame.clear(), by), by).out_of_distribution == 0


def test_of_an_image_that_cannot_be_used_nothing_is_decided(decision):
    by = read_decision(decision / "decision.json")
    frame = pl.DataFrame(
        {
            "cell": ["a", "b"],
            "subject": ["7", "7"],
            "label": [None, None],
            "p_all": [0.999, None],
            "out_of_distribution": [False, None],
            "problem": [None, "is empty"],
        },
        schema_overrides={"label": pl.String},
    )
    decided = decide(frame, by)
    assert decided.columns[-1] == "problem"
    for column in ("p_all", "p_raw", "called", "confidence", "refer"):
        assert [value is None for value in decided[column]] == [False, True], column
    assert tally(decided, by).subjects["cells"].to_list() == [1]


def test_without_known_subjects_no_share_of_blasts_is_told_of(
    trained, images, tmp_path, monkeypatch
):
    monkeypatch.setattr("blastscope.api.prediction_result.FEW_CELLS", 1)
    nameless = (
        decided_table()
        .with_columns(model=pl.lit("tiny"))
        .with_columns(subject=pl.lit(None, pl.String))
    )
    settings = open_run(trained.run).recipe.settings
    evaluate(written(tmp_path / "p.parquet", nameless, settings=settings), out=tmp_path / "cv")
    where = ["--decision", tmp_path / "cv", "--out", tmp_path / "new.csv", "--device", "cpu"]
    words = ["predict", images, "--model", trained.run, *where]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "No share of blasts" in done.output
    assert "corrected for the errors" not in done.output


def test_a_decision_of_another_recipe_or_of_synthetic_cells(trained, images, decision, tmp_path):
    content = json.loads((decision / "decision.json").read_text())
    (decision / "decision.json").write_text(json.dumps({**content, "model": "other"}))
    with pytest.raises(BlastscopeError, match="fitted to other, not to tiny"):
        predict([images], [trained.run], tmp_path / "a.csv", device="cpu", decision=decision)
    marked = {**content, "model": "tiny #2 (synthetic)", "synthetic": True}
    (decision / "decision.json").write_text(json.dumps(marked))
    out = tmp_path / "b.parquet"
    made = predict([images], [trained.run], out, device="cpu", decision=decision)
    assert made.model == "tiny (synthetic)"
    assert read_predictions(out)[1]["synthetic"] is True
