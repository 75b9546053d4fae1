"""Tables in memory: the same numbers as from a file, and nothing is written."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

import blastscope as bs


def frame(seed: int, model: str = "net") -> pl.DataFrame:
    """90 test and 90 validation cells of 18 subjects."""
    rng = np.random.default_rng(seed)
    subjects = [f"{'A' if k % 3 else 'H'}{k}" for k in range(18) for _ in range(10)]
    is_all = np.array([name[0] == "A" for name in subjects])
    p_all = 1 / (1 + np.exp(rng.normal(0, 1.5, 180) - np.where(is_all, 1.2, -1.2)))
    return pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(180)],
            "subject": subjects,
            "label": np.where(is_all, "all", "hem"),
            "part": ["validation"] * 90 + ["test"] * 90,
            "model": model,
            "p_all": p_all,
        }
    )


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder that stays empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    assert list(folder.iterdir()) == []


def test_metrics_of_a_frame_are_those_of_the_same_csv_and_of_scikit_learn(tmp_path):
    table = frame(1)
    table.write_csv(tmp_path / "p.csv")
    found = bs.evaluate(table)
    assert found.path is None
    assert found.as_json() == bs.evaluate(tmp_path / "p.csv").as_json()
    test = table.filter(pl.col("part") == "test")
    truth, p_all = (test["label"] == "all").to_numpy(), test["p_all"].to_numpy()
    assert found.metrics["auc"] == pytest.approx(sk.roc_auc_score(truth, p_all))
    expected = sk.f1_score(truth, p_all > 0.5, average="weighted")
    assert found.metrics["weighted_f1"] == pytest.approx(expected)
    row = found.to_frame().row(
        by_predicate=(pl.col("metric") == "auc") & (pl.col("part") == "test")
    )
    assert row[2] == found.metrics["auc"]
    assert row[3] < row[2] < row[4]


def test_a_frame_needs_but_cells_labels_and_probabilities():
    table = frame(1).filter(pl.col("part") == "test")
    whole = bs.evaluate(table)
    bare = bs.evaluate(table.select("cell", "label", "p_all"))
    assert bare.metrics["auc"] == whole.metrics["auc"]
    assert (bare.model, bare.metrics["n_subjects"]) == ("model", None)
    with pytest.raises(bs.BlastscopeError, match=r"the table lacks the column p_all"):
        bs.evaluate(table.drop("p_all"))
    with pytest.raises(bs.BlastscopeError, match=r"the table, line 1: .* not a probability"):
        bs.evaluate(table.with_columns(p_all=pl.lit(2.0)))
    with pytest.raises(bs.BlastscopeError, match="neither a path nor a table"):
        bs.evaluate(3)


def test_a_pandas_frame_is_a_frame():
    pandas = pytest.importorskip("pandas")
    table = frame(2)
    theirs = pandas.DataFrame(table.to_dict(as_series=False))
    theirs.loc[0, "subject"] = None
    mine = table.with_columns(
        subject=pl.when(pl.col("cell") == "c0").then(None).otherwise("subject")
    )
    assert bs.evaluate(theirs).as_json() == bs.evaluate(mine).as_json()


def test_models_of_a_mapping_are_compared_under_their_names(tmp_path):
    tables = {"a": frame(1), "b": frame(2)}
    for name, table in tables.items():
        table.write_csv(tmp_path / f"{name}.csv")
    found = bs.compare(tables, resamples=200)
    files = bs.compare({name: tmp_path / f"{name}.csv" for name in tables}, resamples=200)
    assert found.models == ("a", "b")
    assert found.as_json() == files.as_json()
    assert found.pairs_frame()["weighted_f1_difference"].to_list() == [
        pytest.approx(
            bs.evaluate(tables["a"]).metrics["weighted_f1"]
            - bs.evaluate(tables["b"]).metrics["weighted_f1"]
        )
    ]
    with pytest.raises(bs.BlastscopeError, match="give a mapping of names to tables"):
        bs.compare([frame(1), frame(2)])


def test_a_result_shows_itself_and_is_saved_on_request(tmp_path):
    found = bs.evaluate(frame(1))
    assert "<EvaluationResult: net, test weighted F1 " in repr(found)
    assert "weighted_f1" in str(found)
    assert "<table>" in found._repr_html_()
    assert bs.DISCLAIMER in found._repr_html_()
    page = found.to_html()
    assert page.startswith("<!doctype html>")
    assert (found.save(tmp_path / "out") / "report.html").read_text() == page
    saved = bs.evaluate(frame(1), out=tmp_path / "again")
    assert saved.report == tmp_path / "again" / "report.html"
    with pytest.raises(bs.BlastscopeError, match="was not written"):
        bs.evaluate(found)


def test_json_does_not_say_where_a_result_was_written(tmp_path):
    boxes = tmp_path / "boxes.csv"
    names = [(label, subject, k) for subject, label in enumerate(3 * ["all", "hem"])
             for k in range(8)]  # fmt: skip
    rows = [
        f"UID_{'' if label == 'all' else 'H'}{subject}_{k}_1_{label}.bmp,{90 + 3 * k},{90 + k}"
        for label, subject, k in names
    ]
    boxes.write_text("\n".join(["file,width,height", *rows]))
    for found in (
        bs.compare({"a": frame(1), "b": frame(2, "other")}, resamples=100),
        bs.measure_baselines(boxes, folds=3, cuts=1),
    ):
        assert not {"path", "url"} & set(found.as_json())
