"""Two sources that contradict each other stop the work; what was assumed of a table is said."""

from __future__ import annotations

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.analyze_errors import analyze_errors
from blastscope.api.compare import compare
from blastscope.api.evaluate import evaluate
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.cli import app
from blastscope.data.contradictions import refuse_contradictions
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import write_predictions
from blastscope.io.submission import write_submission

NAMES = [f"UID_{1 + k}_1_1_all" for k in range(4)] + [f"UID_H{1 + k}_1_1_hem" for k in range(4)]
LABELS = ["all"] * 4 + ["hem"] * 4


def named(**columns):
    """Predictions of eight cells with names of C-NMC's form."""
    rows = {"cell": NAMES, "label": LABELS, "p_all": [0.9, 0.8, 0.7, 0.4, 0.1, 0.2, 0.3, 0.6]}
    return pl.DataFrame(rows).with_columns(**{key: pl.Series(v) for key, v in columns.items()})


def test_a_table_that_contradicts_the_names_of_its_cells_is_refused(tmp_path):
    turned = named(label=LABELS[::-1])
    turned.with_columns(subject=None, part=pl.lit("test"), model=pl.lit("net")).write_csv(
        tmp_path / "t.csv"
    )
    for source in (turned, tmp_path / "t.csv"):
        with pytest.raises(BlastscopeError, match=r"label of 8 cells.* and 5 more"):
            evaluate(source)
    assert evaluate(turned, believe="name").metrics["auc"] == evaluate(named()).metrics["auc"]
    assert evaluate(turned, believe="table").metrics["auc"] < 0.5
    with pytest.raises(BlastscopeError, match="label of 8 cells"):
        compare({"a": named(), "b": turned})
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / "t.csv"), "--believe", "name"])
    assert done.exit_code == 0, done.output


def test_subjects_that_a_table_calls_otherwise_throughout_are_no_contradiction():
    assert evaluate(named(subject=list("abcdefgh"))).subjects.height == 8
    with pytest.raises(BlastscopeError, match="subject of 1 cells"):
        evaluate(named(subject=["1", "2", "3", "3", "H1", "H2", "H3", "H4"]))


def test_what_blastscope_made_of_a_store_keeps_the_labels_that_were_believed(tmp_path):
    turned = named(label=LABELS[::-1]).with_columns(
        subject=pl.lit(None, pl.String), part=pl.lit("test"), model=pl.lit("net")
    )
    write_predictions(turned, tmp_path / "p.parquet", {"store": "sha256:1"})
    assert evaluate(tmp_path / "p.parquet").metrics["auc"] < 0.5


def test_labels_that_contradict_names_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    rows = [f"{name}.bmp,{label}" for name, label in zip(NAMES, LABELS[::-1], strict=True)]
    path.write_text("\n".join(["file,label", *rows]))
    with pytest.raises(BlastscopeError, match="label of 8 cells"):
        evaluate(named().drop("label").with_columns(label=pl.lit(None, pl.String)), labels=path)
    rows = [f"{name}.bmp,{k}.bmp,{k % 2}" for k, name in enumerate(NAMES, 1)]
    path.write_text("\n".join(["Patient_ID,new_names,labels", *rows]))
    write_submission(pl.Series(LABELS).eq("all").to_numpy(), tmp_path / "s.zip")
    with pytest.raises(BlastscopeError, match="label of 4 cells"):
        evaluate(tmp_path / "s.zip", labels=path)
    assert evaluate(tmp_path / "s.zip", labels=path, believe="name").metrics["accuracy"] == 1


def test_subjects_are_compared_in_their_one_spelling():
    a = pl.DataFrame({"cell": ["x", "y"], "label": ["all", "hem"], "subject": ["7", "nan"]})
    b = a.with_columns(subject=pl.Series(["7.0", "3"]))
    refuse_contradictions(a, "A", b, "B")
    with pytest.raises(BlastscopeError, match=r"A and B .* of 1 cells, first of x \(7 and 8"):
        refuse_contradictions(a, "A", b.with_columns(subject=pl.Series(["8", "3"])), "B")


def test_zeros_that_a_spreadsheet_removed_are_named():
    a = pl.DataFrame({"cell": ["x", "y"], "label": ["all", "hem"], "subject": ["007", "12"]})
    with pytest.raises(BlastscopeError, match=r"\(007 and 7\): write the leading zeros"):
        refuse_contradictions(a, "A", a.with_columns(subject=pl.Series(["7", "12"])), "B", "x")
    with pytest.raises(BlastscopeError, match=r"\(007 and 7\), y \(12 and 13\): x\."):
        refuse_contradictions(a, "A", a.with_columns(subject=pl.Series(["7", "13"])), "B", "x")


def test_an_auc_far_below_one_half_gets_a_hint(tmp_path):
    plain = pl.DataFrame(
        {
            "cell": [str(k) for k in range(40)],
            "label": ["all", "hem"] * 20,
            "p_all": [0.2, 0.7] * 20,
        }
    )
    found = evaluate(plain, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["hints"] == ["exchanged"]
    assert "exchanged" in found.to_text()
    assert "exchanged" in (tmp_path / "out" / "report.html").read_text()
    right = plain.with_columns(p_all=1 - pl.col("p_all"))
    assert evaluate(right).as_json()["hints"] == []
    both = compare({"a": plain, "b": right}, out=tmp_path / "both")
    assert both.as_json()["hints"] == {"exchanged": ["a"]}
    assert "exchanged" in (tmp_path / "both" / "report.html").read_text()
    middling = plain.with_columns(p_all=pl.Series([0.5] * 40))
    assert not evaluate(middling).exchanged


def test_what_was_assumed_and_joined_is_said_everywhere(tmp_path):
    rows = [f"c{k};{subject};{'all' if k % 2 else 'hem'};test;net;0,{k + 1}"
            for k, subject in enumerate(("7", "7.0", "8", "nan"))]  # fmt: skip
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["cell;subject;label;part;model;p_all", *rows]))
    found = evaluate(path, out=tmp_path / "e")
    told = found.as_json()["readings"][str(path)]
    assert told["joined"] == {"7": ["7", "7.0"]}
    assert any("semicolons" in one for one in told["assumed"])
    assert found.cells["subject"].to_list() == ["7", "7", "8", None]
    pages = [(found.to_text(), tmp_path / "e")]
    models = {"a": path, "b": path}
    for verb, out in ((compare, tmp_path / "c"), (analyze_errors, tmp_path / "x")):
        made = verb(models, out=out)
        assert str(path) in made.as_json()["readings"]
        pages.append(("\n".join(made.notes()), out))
    for screen, out in pages:
        for text in (screen, (out / "report.html").read_text()):
            assert "semicolons" in text
            assert "7.0" in text


@pytest.mark.parametrize("in_memory", [False, True])
def test_labelled_cells_that_could_not_be_used_are_counted_everywhere(tmp_path, in_memory):
    rows = [
        (f"c{k}", f"S{k % 7}", label, "test", model, None if bad else p, bad)
        for model, p in (("m", 0.2), ("n", 0.6))
        for k in range(40)
        for label in [("ALL", "0", "")[k % 3]]
        for bad in ["is too dark" if k < 12 and k % 3 != 1 else None]
    ]
    names = ["cell", "subject", "label", "part", "model", "p_all", "problem"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    given = {"a": table}
    if not in_memory:
        table.write_csv(tmp_path / "t.csv")
        given = {"a": tmp_path / "t.csv"}
    left_out = [
        {"model": model, "part": "test", "label": label, "cells": 4}
        for model in ("m", "n")
        for label in (None, "all")
    ]
    found = evaluate(next(iter(given.values())), model="m")
    assert found.metrics["n"] == 40 - 8 - 9
    assert found.unlabelled == 9
    results = [(found.as_json(), found.to_text())]
    for verb, more in ((compare, {}), (analyze_errors, {}), (fit_ensemble, {"method": "mean"})):
        made = verb(given, **more)
        content = made.as_json()
        results.append((content.get("comparison", content), "\n".join(made.notes())))
    for content, screen in results:
        told = [one["unusable"] for one in content["readings"].values()]
        assert told
        assert all(one == left_out for one in told)
        assert "4 ALL and 0 normal test cells" in screen
    if not in_memory:
        assert "could not be used by m" in analyze_errors(given).to_html()
