from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from blastscope.api import evaluate as verb
from blastscope.api.evaluate import evaluate
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions, write_predictions

PLOTS = ("confusion-matrix", "roc", "precision-recall", "subjects", "learning-curves")


def test_a_run_folder(make_run):
    run = make_run()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    found = evaluate(run, out=run)
    content = json.loads((run / "metrics.json").read_text())
    assert content["format"] == "blastscope-metrics/2"
    assert content["model"] == "tiny (synthetic)"
    assert content["synthetic"] is True
    assert (content["part"], content["protocol"]) == ("test", "subject")
    assert list(content["parts"]) == ["train", "validation", "test"]
    test = content["parts"]["test"]
    # Two ALL right, two normal wrong (p .7), two normal right: accuracy 4/6, AUC 1.
    assert test["accuracy"] == pytest.approx(4 / 6)
    assert test["auc"] == 1
    assert test["n_subjects"] == 3
    assert content["parts"]["train"]["accuracy"] == 1
    assert content["parts"]["validation"]["auc"] is None
    assert found.metrics == test
    assert found.subjects["subject"][0] == "H2"
    assert found.overlap.kind == "disjoint"
    written = {path.name for path in (run / "figures").iterdir()}
    assert written == {f"{name}.{kind}" for name in PLOTS for kind in ("png", "svg")}
    assert {name: (run / name).read_bytes() for name in before} == before


def test_evaluating_twice_gives_the_same_bytes_and_drops_stale_plots(make_run):
    run = make_run()

    def derived() -> dict[str, bytes]:
        paths = [*run.glob("figures/*"), run / "metrics.json", run / "report.html"]
        return {path.name: path.read_bytes() for path in paths}

    evaluate(run, out=run)
    first = derived()
    evaluate(run, out=run)
    assert derived() == first
    (run / "figures" / "mine.svg").write_text("kept")
    evaluate(run, part="validation", out=run)
    left = {path.name for path in (run / "figures").iterdir()}
    assert "roc.svg" not in left
    assert {"mine.svg", "confusion-matrix.svg"} <= left


def test_a_stale_checkpoint_is_refused(make_run):
    run = make_run()
    (run / "checkpoint.safetensors").write_bytes(b"another run's weights")
    with pytest.raises(BlastscopeError, match=r"stale checkpoint.*train into a new folder"):
        evaluate(run)
    assert not (run / "metrics.json").exists()
    (run / "checkpoint.safetensors").unlink()
    with pytest.raises(BlastscopeError, match=r"no checkpoint\.safetensors"):
        evaluate(run)


def test_predictions_that_name_no_checkpoint_are_refused_in_a_run(make_run):
    run = make_run()
    frame, _ = read_predictions(run / "predictions.parquet")
    write_predictions(frame, run / "predictions.parquet")
    with pytest.raises(BlastscopeError, match="stale"):
        evaluate(run)


def test_an_unfinished_run_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(BlastscopeError, match="train command again, which resumes"):
        evaluate(tmp_path / "run")


def test_a_csv_alone(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text(
        "cell,subject,label,part,model,p_all\n"
        "a,,ALL,test,net,0.9\nb,,HEM,test,net,0.2\nc,,,test,net,0.4\nd,,,validation,net,0.4\n"
    )
    found = evaluate(path, out=tmp_path / "page")
    assert found.path == tmp_path / "page"
    assert found.default_out == tmp_path / "theirs-evaluation"
    assert not found.default_out.exists()
    assert not found.synthetic
    assert (found.checkpoint, found.protocol, found.unlabelled) == (None, None, 1)
    assert list(found.parts) == ["test"]
    assert found.metrics["n"] == 2
    assert found.overlap.kind == "unknown"
    page = found.report.read_text()
    assert "left out: 1 cell without a label" in page
    assert not (found.path / "figures" / "learning-curves.svg").exists()
    with pytest.raises(BlastscopeError, match=r"no labels for its 1 validation cells"):
        evaluate(path, part="validation")
    with pytest.raises(BlastscopeError, match=r"no train cells: it has validation; test"):
        evaluate(path, part="train")
    with pytest.raises(BlastscopeError, match=r"'holdout' is not a part"):
        evaluate(path, part="holdout")


def test_one_of_several_models_into_a_chosen_folder(tmp_path, make_run):
    frame, _ = read_predictions(make_run() / "predictions.parquet")
    both = pl.concat([frame, frame.with_columns(model=pl.lit("real"), p_all=1 - pl.col("p_all"))])
    path = tmp_path / "both.parquet"
    write_predictions(both, path)
    with pytest.raises(BlastscopeError, match=r"2 models \(real; tiny \(synthetic\)\)"):
        evaluate(path)
    found = evaluate(path, model="real", out=tmp_path / "out")
    assert found.metrics["auc"] == 0
    assert not found.synthetic
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("history.csv", "epoch,train_loss\n1,0.2\n", "not a learning history"),
        ("recipe.yaml", "a: [", "not valid YAML"),
        ("network.json", '{"layers": []}', "not what a run writes"),
        ("environment.json", "{", "not valid JSON"),
    ],
)
def test_broken_notes_are_named(make_run, name, content, message):
    run = make_run()
    (run / name).write_text(content)
    with pytest.raises(BlastscopeError, match=message):
        evaluate(run)
    assert not (run / "metrics.json").exists()


def test_corrected_cells_have_no_table_of_folds_that_were_not(tmp_path, monkeypatch):
    rows = pl.DataFrame(
        {
            "cell": ["a", "b", "c", "d"],
            "subject": ["S1", "S2", "H1", "H2"],
            "label": ["all", "all", "hem", "hem"],
            "part": "test",
            "model": "m",
            "p_all": [0.9, 0.4, 0.6, 0.1],
            "fold": [1, 2, 1, 2],
            "repeat": 1,
        }
    )
    write_predictions(rows, tmp_path / "predictions.parquet", {"out_of_fold": "subject"})
    (tmp_path / "crossval.json").write_text("{}")
    read = "blastscope.experiments.crossval_metrics.read_crossval_metrics"
    monkeypatch.setattr(read, lambda path: path.name)
    monkeypatch.setattr(verb, "folds_table", str)
    monkeypatch.setattr(
        verb,
        "_corrected",
        lambda opened, *_: replace(
            opened, predictions=opened.predictions.with_columns(p_inductive="p_all")
        ),
    )
    assert evaluate(tmp_path).folds == "crossval.json"
    corrected = evaluate(tmp_path, transductive=True)
    assert corrected.inductive is not None
    assert corrected.folds is None
