"""The leakage gauge: folds of equal sizes, metrics against scikit-learn, an interval by subject."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data.folds import make_folds
from blastscope.errors import BlastscopeError
from blastscope.evaluation.leakage import compare_out_of_fold
from blastscope.io.predictions import write_predictions
from tests.data.test_folds import cells_tested, table


def counts(cells: pl.DataFrame, plan) -> list[dict[tuple[str, str], int]]:
    """For each fold how many cells of each part and class there are."""
    return [
        {
            (part, label): n
            for part, label, n in cells.join(split.table, on="cell")
            .group_by("part", "label")
            .len()
            .iter_rows()
        }
        for split in plan.splits
    ]


def test_matched_folds_differ_from_those_by_subject_in_who_is_known_and_nothing_else():
    cells = table([30, 25, 20, 15, 10, 8, 7], [22, 17, 12])
    by_subject, matched = (make_folds(cells, by, 5, 24) for by in ("subject", "matched"))
    assert counts(cells, by_subject) == counts(cells, matched)
    assert sorted(cells_tested(matched)) == sorted(cells["cell"])
    for split in matched.splits:
        joined = cells.join(split.table, on="cell")
        here, learning = (
            set(joined.filter(pl.col("part") == part)["subject"]) for part in ("test", "train")
        )
        assert len(here & learning) >= 8
        assert split.protocol == "image"


def out_of_fold(path: Path, by: str, shift: float, repeats: int = 1, seed: int = 0) -> pl.DataFrame:
    """A table of 12 + 12 subjects of 20 cells; ``shift`` parts the classes' logits."""
    rng = np.random.default_rng(seed)
    frames = []
    for repeat in range(1, repeats + 1):
        is_all = np.repeat([True, False], 240)
        subjects = [f"{'' if flag else 'H'}{k // 20 % 12 + 1}" for k, flag in enumerate(is_all)]
        logits = rng.normal(0, 1, 480) + np.where(is_all, shift, -shift)
        frames.append(
            pl.DataFrame(
                {
                    "cell": [f"cell{k:03}" for k in range(480)],
                    "subject": subjects,
                    "label": np.where(is_all, "all", "hem"),
                    "part": "test",
                    "model": f"net #{repeat}",
                    "p_all": 1 / (1 + np.exp(-logits)),
                    "repeat": repeat,
                    "fold": 1,
                }
            )
        )
    made = pl.concat(frames)
    write_predictions(made, path, {"out_of_fold": by})
    return made


def test_the_metrics_are_scikit_learns_and_the_mean_over_repeats(tmp_path):
    known = out_of_fold(tmp_path / "known.parquet", "matched", 1.5, repeats=2, seed=1)
    unseen = out_of_fold(tmp_path / "unseen.parquet", "subject", 0.5, repeats=2, seed=2)
    found = compare_out_of_fold(tmp_path / "known.parquet", tmp_path / "unseen.parquet")
    for name, metric in (
        ("auc", lambda truth, p: roc_auc_score(truth, p)),
        ("weighted_f1", lambda truth, p: f1_score(truth, p > 0.5, average="weighted")),
    ):
        each = [
            [
                metric((rows["label"] == "all").to_numpy(), rows["p_all"].to_numpy())
                for rows in frame.partition_by("repeat", maintain_order=True)
            ]
            for frame in (known, unseen)
        ]
        gain = found.gains[name]
        assert gain.known.value == pytest.approx(np.mean(each[0]))
        assert gain.unseen.value == pytest.approx(np.mean(each[1]))
        assert gain.repeats == pytest.approx(np.subtract(*each))
        assert gain.difference.value == pytest.approx(np.mean(gain.repeats))
        assert gain.spread.deviation == pytest.approx(np.std(gain.repeats, ddof=1))
        assert gain.difference.low < gain.difference.value < gain.difference.high
        assert gain.difference.above_zero
    assert found.gains["weighted_f1"].difference.above_zero


def test_the_same_predictions_leak_nothing(tmp_path):
    out_of_fold(tmp_path / "known.parquet", "matched", 1.0, seed=3)
    out_of_fold(tmp_path / "unseen.parquet", "subject", 1.0, seed=3)
    found = compare_out_of_fold(tmp_path / "known.parquet", tmp_path / "unseen.parquet")
    difference = found.gains["weighted_f1"].difference
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert not found.gains["weighted_f1"].difference.above_zero


def test_an_interval_of_subjects_is_wider_than_one_of_cells_where_subjects_differ(tmp_path):
    """Half of the subjects are recognised only when known: a matter of subjects, not of cells."""
    known = out_of_fold(tmp_path / "known.parquet", "matched", 3.0, seed=4)
    hard = pl.col("subject").str.strip_prefix("H").cast(int) % 2 == 0
    is_all = pl.col("label") == "all"
    turned = pl.when(hard & is_all).then(0.1).when(hard).then(0.9).otherwise("p_all")
    unseen = known.with_columns(p_all=turned)
    write_predictions(unseen, tmp_path / "unseen.parquet", {"out_of_fold": "subject"})
    by_person = compare_out_of_fold(tmp_path / "known.parquet", tmp_path / "unseen.parquet")
    for name, frame in (("known", known), ("unseen", unseen)):
        alone = frame.with_columns(subject=pl.col("cell").str.to_uppercase())
        by = "matched" if name == "known" else "subject"
        write_predictions(alone, tmp_path / f"{name}-cells.parquet", {"out_of_fold": by})
    by_cell = compare_out_of_fold(
        tmp_path / "known-cells.parquet", tmp_path / "unseen-cells.parquet"
    )
    wide, narrow = (g.gains["recall_all"].difference for g in (by_person, by_cell))
    assert wide.value == pytest.approx(narrow.value)
    # 12 subjects, half of them lost: sd of the share sqrt(.25/12), against sqrt(.25/240) by cell.
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(20**0.5, rel=0.2)


def test_tables_that_do_not_fit_are_refused(tmp_path):
    known = out_of_fold(tmp_path / "known.parquet", "matched", 1.0)
    out_of_fold(tmp_path / "unseen.parquet", "subject", 1.0)
    with pytest.raises(BlastscopeError, match="is not an out-of-fold table by matched or image"):
        compare_out_of_fold(tmp_path / "unseen.parquet", tmp_path / "unseen.parquet")
    write_predictions(known.head(400), tmp_path / "few.parquet", {"out_of_fold": "matched"})
    with pytest.raises(BlastscopeError, match="have other cells in repeat 1"):
        compare_out_of_fold(tmp_path / "few.parquet", tmp_path / "unseen.parquet")
    other = {"out_of_fold": "matched", "settings": {"training": {"epochs": 2}}}
    write_predictions(known, tmp_path / "other.parquet", other)
    with pytest.raises(BlastscopeError, match="with other settings"):
        compare_out_of_fold(tmp_path / "other.parquet", tmp_path / "unseen.parquet")


def test_the_command_trains_both_ways_and_writes_a_page(asked, tmp_path):
    where = ["--store", str(asked.store), "--out", str(tmp_path / "gauge"), "--folds", "2"]
    how = ["--set", "training.epochs=1", "--device", "cpu"]
    told = CliRunner().invoke(app, ["leakage", str(tmp_path / "tiny.yaml"), *where, *how])
    assert told.exit_code == 0, told.output
    content = json.loads((tmp_path / "gauge" / "leakage.json").read_text())
    assert content["settings"]["training"]["epochs"] == 1
    assert "weighted F1 is" in " ".join(told.output.split())
    assert content["cells"] == 40
    assert "weighted F1 is" in (tmp_path / "gauge" / "report.html").read_text()
    again = CliRunner().invoke(
        app, ["leakage", str(tmp_path / "tiny.yaml"), *where, *how, "--repeats", "2"]
    )
    assert "2 of 4 are done already" in again.output
    content = json.loads((tmp_path / "gauge" / "leakage.json").read_text())
    moved = content["gains"]["auc"]["repeats"]
    spread = f"{np.mean(moved):+.4f} ± {np.std(moved, ddof=1):.4f}"
    assert spread in (tmp_path / "gauge" / "report.html").read_text()
    assert "Difference over 2 repeats ± standard deviation: weighted F1" in again.output
    assert f"AUC {spread}" in again.output


def test_another_kind_of_folder_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "crossval.json").write_text("{}")
    with pytest.raises(BlastscopeError, match=r"cross-validation \(crossval.json\)"):
        bs.measure_leakage("demo/cnn-small", tmp_path / "nothing", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["crossval.json"]
