"""Scoring predictions against labels that come in a table of their own."""

from __future__ import annotations

import csv
import json

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from blastscope.api.evaluate import evaluate
from blastscope.errors import BlastscopeError
from blastscope.io.submission import MEMBER, write_submission


@pytest.fixture(scope="module")
def published(shared):
    """The preliminary set's published labels: the file, and 0 or 1 in the order of the numbers."""
    path = shared / "data" / "cnmc_preliminary_labels.csv"
    if not path.is_file():
        pytest.skip(f"no preliminary labels: there is no {path}")
    with path.open() as file:
        rows = {int(row["file"][:-4]): int(row["label"]) for row in csv.DictReader(file)}
    assert sorted(rows) == list(range(1, 1868))
    return path, np.array([rows[number] for number in sorted(rows)])


def score(calls, labels, folder):
    write_submission(np.asarray(calls, bool), folder / "submission.zip", force=True)
    return evaluate(folder / "submission.zip", labels=labels)


def test_the_published_labels_are_the_papers_counts(published):
    # 1,219 ALL and 648 normal cells: the paper's table of the whole challenge.
    assert (published[1].sum(), len(published[1])) == (1219, 1867)


def test_constant_and_perfect_calls_on_the_published_labels(published, tmp_path):
    path, truth = published
    everything = score(np.ones(1867), path, tmp_path).metrics
    by_hand = (2 * 1219 / (1867 + 1219)) * 1219 / 1867  # F1 of ALL, by its share; normal has none
    assert everything["weighted_f1"] == pytest.approx(by_hand)
    assert everything["weighted_f1"] == pytest.approx(
        sk.f1_score(truth, np.ones(1867), average="weighted", zero_division=0)
    )
    assert (everything["auc"], everything["tp"], everything["fp"]) == (0.5, 1219, 648)
    perfect = score(truth, path, tmp_path).metrics
    assert (perfect["weighted_f1"], perfect["auc"], perfect["n"]) == (1, 1, 1867)


def test_noisy_calls_on_the_published_labels_are_sklearns_metrics(published, tmp_path):
    path, truth = published
    calls = np.where(np.random.default_rng(3).random(1867) < 0.2, 1 - truth, truth)
    (tmp_path / MEMBER).write_text("\n".join(map(str, calls)))
    out = tmp_path / "isbi_valid-evaluation"
    found = evaluate(tmp_path / MEMBER, labels=path, out=out)
    assert found.metrics["weighted_f1"] == pytest.approx(
        sk.f1_score(truth, calls, average="weighted")
    )
    assert found.metrics["auc"] == pytest.approx(sk.roc_auc_score(truth, calls))
    assert found.hard_calls
    content = json.loads((out / "metrics.json").read_text())
    assert content["model"] == "isbi_valid.predict (0/1 calls)"
    assert (content["part"], content["protocol"]) == ("test", None)


ROWS = "Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,2.bmp,1\nUID_h9_1_1_hem.bmp,1.bmp,0\n"


@pytest.fixture
def labels(tmp_path):
    """The challenge's own columns, three images, out of order."""
    path = tmp_path / "labels.csv"
    path.write_text(f"{ROWS}UID_58_1_2_all.bmp,10.bmp,1\n".replace("10.bmp", "3.bmp"))
    return path


def table(tmp_path, *rows):
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join(["cell,subject,label,part,model,p_all", *rows, ""]))
    return path


def test_a_table_gets_labels_and_subjects(labels, tmp_path):
    theirs = table(tmp_path, "3,,,test,net,0.2", "1,,,test,net,0.3", "2,,,test,net,0.9")
    found = evaluate(theirs, labels=labels)
    assert [found.metrics[key] for key in ("tn", "fp", "fn", "tp")] == [1, 0, 1, 1]
    assert found.metrics["auc"] == 0.5  # .9 and .2 against .3: one pair of two in order
    assert dict(found.cells.select("cell", "subject").iter_rows()) == {
        "3": "58",
        "1": "H9",
        "2": "57",
    }
    assert not found.hard_calls
    assert found.subjects.height == 3


def test_only_the_part_that_is_asked_for_is_labelled(labels, tmp_path):
    rows = [f"{k},,,test,net,0.{k}" for k in (1, 2, 3)]
    theirs = table(tmp_path, *rows, "1x,,hem,validation,net,0.1")
    found = evaluate(theirs, labels=labels)
    assert {part: values["n"] for part, values in found.parts.items()} == {
        "validation": 1,
        "test": 3,
    }


def test_one_of_several_models(labels, tmp_path):
    rows = [f"{k},,,test,{model},0.{k}" for k in (1, 2, 3) for model in ("a", "b")]
    theirs = table(tmp_path, *rows[:-1])
    assert evaluate(theirs, labels=labels, model="a").metrics["n"] == 3
    with pytest.raises(BlastscopeError, match="2 models"):
        evaluate(theirs, labels=labels)
    with pytest.raises(BlastscopeError, match=r"2 test cells and .* 3 labels, with 3 besides"):
        evaluate(theirs, labels=labels, model="b")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,,,test,net,.1", "2,,,test,net,.1"], r"2 test cells and .* 3 labels, with 3 besides"),
        ([f"{k},,,test,net,.1" for k in (1, 2, 3, 4)], r"3 labels, with no label for 4"),
        (
            ["1,,all,test,net,.1", "2,,all,test,net,.1", "3,,,test,net,.1"],
            r"contradict each other in the label of 1 cells, first of 1 \(all and hem\)",
        ),
        (
            ["1,H8,,test,net,.1", "2,,,test,net,.1", "3,,,test,net,.1"],
            r"contradict each other in the subject of 1 cells, first of 1 \(H8 and H9\)",
        ),
    ],
)
def test_labels_of_other_cells_or_other_labels_are_refused(labels, tmp_path, rows, message):
    theirs = table(tmp_path, *rows)
    with pytest.raises(BlastscopeError, match=message):
        evaluate(theirs, labels=labels)
    assert not (tmp_path / "theirs-evaluation").exists()


def test_a_submission_is_read_in_the_order_of_the_numbers(tmp_path):
    path = tmp_path / "labels.csv"
    names = [str(number) for number in range(1, 12)]
    rows = [f"{name}.bmp,{int(int(name) > 9)}" for name in sorted(names)]  # 1, 10, 11, 2…
    path.write_text("\n".join(["file,label", *rows]))
    assert score([False] * 9 + [True] * 2, path, tmp_path).metrics["accuracy"] == 1


def test_a_submission_of_another_length_is_refused(labels, tmp_path):
    with pytest.raises(BlastscopeError, match=r"has 4 lines and .*labels\.csv 3 labels"):
        score([True] * 4, labels, tmp_path)
    labels.write_text(ROWS + "UID_58_1_2_all.bmp,4.bmp,1\n")
    with pytest.raises(BlastscopeError, match=r"labels\.csv goes up to 4 but lacks 3"):
        score([True] * 3, labels, tmp_path)


def test_a_submission_without_labels_says_what_it_lacks(tmp_path):
    write_submission(np.array([True]), tmp_path / "submission.zip")
    with pytest.raises(BlastscopeError, match="give a table of labels"):
        evaluate(tmp_path / "submission.zip")


def test_labels_that_are_no_labels_table_are_refused(tmp_path):
    theirs = table(tmp_path, "1,,,test,net,.1")
    pl.DataFrame({"a": [1]}).write_csv(tmp_path / "labels.csv")
    with pytest.raises(BlastscopeError, match="is not a labels table"):
        evaluate(theirs, labels=tmp_path / "labels.csv")
