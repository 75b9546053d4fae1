"""The first page of a report, and the decision that it leaves behind."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, f1_score
from typer.testing import CliRunner

from blastscope.api.evaluate import evaluate
from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings
from blastscope.decision.decision_file import read_decision
from blastscope.errors import BlastscopeError
from blastscope.evaluation.leakage import compare_out_of_fold, read_leakage
from blastscope.io.predictions import read_predictions, write_predictions
from blastscope.report.crossval_page import write_leakage
from blastscope.report.evaluation_text import detail_lines, leakage_text, verdict_lines
from blastscope.report.shortcut_text import power_text
from blastscope.report.text import escaped
from tests.evaluation.test_leakage import out_of_fold
from tests.report.decided_tables import decided_table, written


def test_decisions_are_fitted_on_validation_and_judged_on_test(tmp_path):
    found = evaluate(written(tmp_path / "p.parquet"), out=tmp_path / "out")
    kept = read_decision(tmp_path / "out" / "decision.json")
    test = decided_table().filter(pl.col("part") == "test")
    is_all, raw = (test["label"] == "all").to_numpy(), test["p_all"].to_numpy()
    decided = kept.decision.apply(raw)
    e = found.decisions.estimates
    assert e["brier_before"].value == pytest.approx(brier_score_loss(is_all, raw))
    assert e["brier"].value == pytest.approx(brier_score_loss(is_all, decided.p_all))
    assert e["brier"].value < e["brier_before"].value  # 2.5 times too sure
    weighted = f1_score(is_all, decided.called, average="weighted")
    assert e["weighted_f1"].value == pytest.approx(weighted)
    assert e["sensitivity"].value == pytest.approx(decided.called[is_all].mean())
    assert e["specificity"].value == pytest.approx((~decided.called[~is_all]).mean())
    wrong = decided.called != is_all
    assert e["kept_error"].value == pytest.approx(wrong[~decided.refer].mean())
    assert e["kept"].value == pytest.approx((~decided.refer).mean())
    validation = decided_table().filter(pl.col("part") == "validation")
    assert kept.decision.cells == validation.height
    reached = kept.decision.apply(validation["p_all"].to_numpy()).called
    assert reached[(validation["label"] == "all").to_numpy()].mean() >= 0.95


def test_the_page_says_first_what_a_lab_has_to_know(tmp_path):
    found = evaluate(written(tmp_path / "p.parquet"), out=tmp_path / "out")
    words = dict(detail_lines(found))
    assert list(words) == [
        "Tested on", "Normal subjects", "Next subject", "Power", "Leakage", "Calibration",
        "Operating point", "Referral", "Conformal sets", "Worst subjects",
    ]  # fmt: skip
    assert words["Tested on"].startswith(
        "240 test cells (120 ALL, 120 normal) of 12 subjects (6 ALL,"
    )
    assert "sensitivity of at least 0.95" in words["Operating point"]
    page = found.report.read_text()
    first = [f"<b>{line.label}</b>" for line in verdict_lines(found)]
    at = [page.index(word) for word in (*first, *(f"<dt>{word}</dt>" for word in words))]
    assert at == sorted(at)
    assert at[-1] < page.index("Confusion matrix")
    assert "Rogan and Gladen" in page
    assert {"reliability.svg", "risk-coverage.svg", "shares.svg"} <= {
        path.name for path in (tmp_path / "out" / "figures").iterdir()
    }


def test_the_page_says_of_how_many_subjects_no_share_is_corrected(tmp_path):
    same = decided_table().with_columns(
        subject=pl.when(pl.col("subject").is_in(["1", "H1"]))
        .then(pl.col("subject").replace_strict({"1": "2", "H1": "H2"}, default=None))
        .otherwise("subject")
    )
    found = evaluate(written(tmp_path / "p.parquet", same), out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert found.decisions.subject_shares["line"].null_count() == 2
    assert "not corrected for 2 subjects" in page


def test_an_earlier_evaluation_of_the_folder_changes_nothing(tmp_path):
    table, out = written(tmp_path / "p.parquet"), tmp_path / "out"
    evaluate(table, out=out, rule="specificity>=0.9", error=0.01)
    assert json.loads((out / "decision.json").read_text())["request"] == {
        "rule": "specificity>=0.9", "error": 0.01, "coverage": 0.9
    }  # fmt: skip
    evaluate(table, out=out, coverage=0.8)
    again = read_decision(out / "decision.json").decision
    assert str(again.point.rule) == "sensitivity>=0.95"
    assert (again.referral.wanted, again.conformal.promised) == (0.05, 0.8)
    (out / "decision.json").write_text("{}")  # whatever was there
    evaluate(table, out=out, coverage=0.8)
    assert read_decision(out / "decision.json").decision == again


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--rule", "accuracy>=1", "not a rule for an operating point"),
        ("--rule", "sensitivity>=1.2", "give a share between 0 and 1"),
        ("--error", "1.5", "error 1.5 is out of range"),
        ("--coverage", "0", "coverage 0 is out of range"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(tmp_path, option, value, said):
    table = written(tmp_path / "p.parquet")
    done = CliRunner().invoke(app, ["evaluate", str(table), option, value])
    assert isinstance(done.exception, BlastscopeError)
    assert said in str(done.exception)
    assert not (tmp_path / "p-evaluation").exists()


def test_without_validation_the_page_says_why_and_an_old_decision_goes(tmp_path):
    out = tmp_path / "out"
    evaluate(written(tmp_path / "p.parquet"), out=out)
    test = decided_table().filter(pl.col("part") == "test")
    found = evaluate(written(tmp_path / "q.parquet", test), out=out)
    assert "no validation cells of both classes" in dict(detail_lines(found))["Decisions"]
    assert not (out / "decision.json").exists()
    assert not (out / "figures" / "reliability.svg").exists()


def test_floors_are_fitted_on_training_cells_and_judged_on_those_reported(dataset, tmp_path):
    store = prepare(
        [dataset(subjects=4, per_subject=5)], tmp_path / "store", StoreSettings(size=32)
    )
    cells = pl.read_parquet(store.path / "cells.parquet")
    table = cells.select("cell", "subject", "label").with_columns(
        part=pl.when(pl.col("subject").is_in(["1", "H1"])).then(pl.lit("train")).otherwise(
            pl.lit("test")
        ),
        model=pl.lit("net"),
        p_all=pl.lit(0.5),
    )  # fmt: skip
    path = written(tmp_path / "p.parquet", table)
    found = evaluate(path, store=store.path, out=tmp_path / "out")
    baselines = {baseline.name: baseline.metrics for baseline in found.baselines}
    assert list(baselines) == ["always ALL", "size", "size and colour"]
    assert baselines["always ALL"]["weighted_f1"] == pytest.approx(1 / 3)
    assert baselines["size"]["weighted_f1"] == 1  # discs of radius 30 and 22
    assert baselines["size"]["n"] == 30
    assert (found.verdict.baselines, found.verdict.level) == ("behind", "bad")
    lead = dict(detail_lines(found))["Lead in AUC"]  # the model has .5, both baselines 1
    assert "−0.500 (−0.500 to −0.500) against size;" in lead
    assert "always ALL" not in lead
    assert len(evaluate(path, out=tmp_path / "out").baselines) == 1
    other = written(tmp_path / "q.parquet", table.with_columns(pl.col("cell") + "x"))
    with pytest.raises(BlastscopeError, match="lacks 30 of 30 cells"):
        evaluate(other, store=store.path)


def test_a_picture_without_stain_takes_the_floor_of_colour_and_leaves_that_of_size(
    dataset, tmp_path
):
    made = prepare([dataset(subjects=4)], tmp_path / "store", StoreSettings(size=32)).path
    pixels = np.load(made / "pixels.npy")
    pixels[0] = 0
    np.save(made / "pixels.npy", pixels)
    cells = pl.read_parquet(made / "cells.parquet").select("cell", "subject", "label")
    part = pl.when(pl.col("subject").is_in(["1", "H1"])).then(pl.lit("train"))
    table = cells.with_columns(
        part=part.otherwise(pl.lit("test")), model=pl.lit("net"), p_all=pl.lit(0.5)
    )
    found = evaluate(written(tmp_path / "p.parquet", table), store=made)
    assert [baseline.name for baseline in found.baselines] == ["always ALL", "size"]


def test_a_gauge_stands_in_the_report_of_its_recipe_and_in_no_other(tmp_path):
    known, unseen = tmp_path / "known.parquet", tmp_path / "unseen.parquet"
    out_of_fold(known, "matched", 1.5, seed=1)
    out_of_fold(unseen, "subject", 0.5, seed=2)
    made = compare_out_of_fold(known, unseen)
    write_leakage(made, "net", tmp_path / "leakage")
    recipe, again = read_leakage(tmp_path / "leakage" / "leakage.json")
    assert recipe == "net"
    assert leakage_text(again) == leakage_text(made)
    np.testing.assert_equal(again.as_json(), made.as_json())
    found = evaluate(unseen, out=tmp_path / "out", leakage=tmp_path / "leakage")
    assert dict(detail_lines(found))["Leakage"] == leakage_text(made)
    assert "What an image-level split hides" in found.report.read_text()
    assert evaluate(unseen, out=tmp_path / "out").leakage is None
    other = written(tmp_path / "p.parquet", decided_table().with_columns(model=pl.lit("other")))
    with pytest.raises(BlastscopeError, match="leakage of net, not of other"):
        evaluate(other, leakage=tmp_path / "leakage")
    longer = {"out_of_fold": "subject", "settings": {"training": {"epochs": 2}}}
    table, _ = read_predictions(unseen)
    write_predictions(table, tmp_path / "longer.parquet", longer)
    with pytest.raises(BlastscopeError, match="which settings"):
        evaluate(tmp_path / "longer.parquet", leakage=tmp_path / "leakage")
    path = tmp_path / "leakage" / "leakage.json"
    content = {**json.loads(path.read_text()), "settings": {"training": {"epochs": 1}}}
    path.write_text(json.dumps(content))
    with pytest.raises(BlastscopeError, match=r"training.epochs \(1, not 2\)"):
        evaluate(tmp_path / "longer.parquet", leakage=tmp_path / "leakage")
    (tmp_path / "leakage" / "leakage.json").write_text("{}")
    with pytest.raises(BlastscopeError, match=r"not a blastscope-leakage file"):
        evaluate(unseen, leakage=tmp_path / "leakage")


def test_the_card_carries_the_first_page_and_no_markup_of_a_models_name(tmp_path):
    table = decided_table().with_columns(model=pl.lit("my <b>net</b> | *v2*"))
    found = evaluate(written(tmp_path / "p.parquet", table), out=tmp_path / "out")
    card = (tmp_path / "out" / "card.md").read_text()
    assert card.startswith("# my \\<b\\>net\\</b\\> \\| \\*v2\\*\n")
    assert "not for decisions about patients" in card
    low, high = found.intervals.bounds["auc"]
    assert f"| AUC | {found.metrics['auc']:.3f} | {low:.3f} to {high:.3f} |" in card
    for word, sentence in detail_lines(found):
        assert f"**{word}.** {escaped(sentence)}" in card
    evaluate(written(tmp_path / "s.parquet", synthetic=True), out=tmp_path / "s")
    assert "Synthetic cells" in (tmp_path / "s" / "card.md").read_text()
    assert "C-NMC" not in (tmp_path / "s" / "card.md").read_text()


def test_where_some_cells_name_no_subject_the_page_says_that_cells_were_drawn(tmp_path):
    table = decided_table().with_columns(
        subject=pl.when(pl.col("label") == "all").then("subject").otherwise(None)
    )
    words = dict(
        detail_lines(evaluate(written(tmp_path / "p.parquet", table), out=tmp_path / "out"))
    )
    assert "of 6 subjects (6 ALL); 120 cells without a subject" in words["Tested on"]
    assert words["Calibration"].partition("on so many ")[2].startswith("cells")
    whole = dict(detail_lines(evaluate(written(tmp_path / "q.parquet"), out=tmp_path / "q")))
    assert "Folds" not in whole
    assert whole["Calibration"].partition("on so many ")[2].startswith("subjects")


def test_floors_of_a_table_whose_folds_are_known_in_part_alone_are_not_made_up(dataset, tmp_path):
    store = prepare([dataset(subjects=3, per_subject=4)], tmp_path / "s", StoreSettings(size=32))
    cells = pl.read_parquet(store.path / "cells.parquet").select("cell", "subject", "label")
    table = cells.with_columns(
        part=pl.lit("test"), model=pl.lit("net"), p_all=pl.lit(0.5), repeat=pl.lit(1),
        fold=pl.when(pl.int_range(pl.len()) > 0).then(pl.int_range(pl.len()) % 2),
    )  # fmt: skip
    path = written(tmp_path / "p.parquet", table, out_of_fold="image")
    found = evaluate(path, store=store.path, out=tmp_path / "out")
    assert "several networks" in dict(detail_lines(found))["Folds"]
    assert [baseline.name for baseline in found.baselines] == ["always ALL"]
    assert not found.verdict.all_compared


@pytest.mark.parametrize(
    ("name", "said"),
    [("seeds.json", "a series of seeds"), ("card.md", "holds card.md"),
     ("report.html", "holds report.html")],
)  # fmt: skip
def test_another_reports_folder_is_left_alone(tmp_path, name, said):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}")
    with pytest.raises(BlastscopeError, match=said):
        evaluate(written(tmp_path / "p.parquet"), out=out)
    assert [path.name for path in out.iterdir()] == [name]


@pytest.mark.parametrize(("detectable", "shown"), [(0.12, "below 0.12"), (1.84, "any difference")])
def test_no_difference_in_auc_above_one_is_told(detectable, shown):
    subjects = SimpleNamespace(auc=SimpleNamespace(subjects=2), deviation=0.1)
    text = power_text(SimpleNamespace(subjects=subjects, detectable=detectable))
    assert shown in text
    assert "1.84" not in text
