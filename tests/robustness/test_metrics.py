"""The metrics of steps, and of the OOD flag, compared with scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.overlap import Overlap
from blastscope.report.robustness_page import model_text, tone, value_text, verdict_text
from blastscope.robustness.metrics import STRESS, measure, table
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.perturbations import PERTURBATIONS, steps
from blastscope.robustness.summary import ModelRobustness, judge_ood

TAKEN = tuple(steps())


def made(n=240, worse=0.0, seed=0):
    """Probabilities at every step; those of blur are moved towards chance by ``worse``."""
    rng = np.random.default_rng(seed)
    is_all = rng.random(n) < 0.6
    subjects = [f"{'A' if a else 'H'}{rng.integers(12)}" for a in is_all]
    logit = 2 * is_all - 1 + rng.normal(size=n)
    columns = []
    for step in TAKEN:
        hurt = worse * step.strength if step.name == "blur" else 0
        columns.append(1 / (1 + np.exp(-(logit + hurt * rng.normal(size=n)))))
    return is_all, subjects, np.column_stack(columns)


def test_every_metric_is_scikit_learns():
    is_all, subjects, p_all = made(worse=0.8)
    ood = np.random.default_rng(1).random(p_all.shape) * 2
    found = measure(is_all, subjects, TAKEN, p_all, ood, 200)
    rows = table("m", len(is_all), found)
    assert dict(rows.schema) == dict(STRESS.columns)
    for k in (0, 3, 30, 40):
        called, row = p_all[:, k] > 0.5, rows.row(k, named=True)
        assert row["weighted_f1"] == pytest.approx(f1_score(is_all, called, average="weighted"))
        assert row["auc"] == pytest.approx(roc_auc_score(is_all, p_all[:, k]))
        assert row["sensitivity"] == pytest.approx(recall_score(is_all, called))
        assert row["specificity"] == pytest.approx(recall_score(~is_all, ~called))
        assert row["auc_drop"] == pytest.approx(rows["auc"][0] - row["auc"])
        assert row["mean_change"] == pytest.approx(np.abs(p_all[:, k] - p_all[:, 0]).mean())
        assert row["calls_changed"] == pytest.approx((called != (p_all[:, 0] > 0.5)).mean())
        assert row["out_of_distribution"] == pytest.approx((ood[:, k] > 1).mean())
    first = rows.row(0, named=True)
    assert [first[f"auc_drop{end}"] for end in ("", "_low", "_high")] == [0, 0, 0]


def test_what_costs_nothing_has_no_drop_and_what_costs_much_has_one_above_zero():
    is_all, subjects, p_all = made(400, worse=1.5)
    found = measure(is_all, subjects, TAKEN, p_all, np.full(p_all.shape, np.nan), 500)
    summary = ModelRobustness("m", 400, Overlap("disjoint", "subjects", "test", 9), found, None)
    blur = next(one for one in PERTURBATIONS if one.name == "blur")
    worst = summary.worst(blur)
    assert worst.drops["auc"].above_zero
    assert worst.drops["auc"].low < worst.drops["auc"].value < worst.drops["auc"].high
    assert all(one.drops["auc"].value == 0 for one in found.steps if one.step.perturbation != blur)
    (noticed,) = summary.noticed(blur)
    weaker = [one for one in summary.of(blur) if one.step.strength < noticed.step.strength]
    assert all(one.drops["auc"].value < 0.02 <= noticed.drops["auc"].value for one in weaker)
    assert summary.dearest("auc") == worst
    assert summary.dearest("weighted_f1").step.perturbation is blur
    shown = value_text(blur, worst.step.value)
    assert verdict_text(summary).startswith(f"m: blur ({shown}) costs most: AUC falls by")
    _, noticed_text, _ = model_text(summary)
    assert (
        "never with stain hue, stain intensity, exposure, JPEG, rotation or scale" in noticed_text
    )
    assert np.isnan(worst.out_of_distribution)


def test_a_large_fall_that_is_not_certain_is_not_shown_as_good():
    assert tone(Estimate(0.3, 0.1, 0.5)) == "training"
    assert tone(Estimate(0.3, -0.1, 0.5)) == ""
    assert tone(Estimate(0.01, -0.02, 0.04)) == "disjoint"


def test_of_one_class_weighted_f1_says_what_costs_most():
    is_all, subjects, p_all = made(60, worse=2)
    only = is_all.nonzero()[0]
    names = [subjects[k] for k in only]
    found = measure(is_all[only], names, TAKEN, p_all[only], p_all[only], 100)
    summary = ModelRobustness(
        "m", len(only), Overlap("disjoint", "subjects", "test", 9), found, None
    )
    assert summary.judged == "weighted_f1"
    assert model_text(summary) == (f"{len(only)} cells. No test subject is in training.",)
    assert "weighted F1 falls by" in verdict_text(summary)


def test_the_flag_is_judged_as_scikit_learn_would():
    rng = np.random.default_rng(0)
    cells = pl.DataFrame(
        {
            "subject": ["A", "A", "B", "B", None] * 20,
            "label": ["all", "all", "hem", "hem", "hem"] * 20,
            "ood_score": rng.random(100) * 1.1,
        }
    )
    far = {"noise": rng.random(40) + 0.9, "black": np.array([0.5])}
    strange = pl.concat(
        [pl.DataFrame({"cell": [kind] * len(v), "ood_score": v}) for kind, v in far.items()]
    )
    found = judge_ood(cells, strange)
    known = cells["ood_score"].to_numpy()
    for kind in found.kinds:
        v = far[kind.kind]
        truth = [0] * 100 + [1] * len(v)
        assert kind.auroc == pytest.approx(roc_auc_score(truth, np.r_[known, v]))
        assert kind.flagged == (v > 1).mean()
    assert found.flagged == (known > 1).mean()
    subject, share, count = found.worst
    mine = known[[s == subject for s in cells["subject"]]]
    assert (share, count) == ((mine > 1).mean(), 40)
    by_hand = {
        label: (known[(cells["label"] == label).to_numpy()] > 1).mean() for label in ("all", "hem")
    }
    assert found.by_class == pytest.approx(by_hand)
    assert judge_ood(cells.with_columns(ood_score=pl.lit(None, pl.Float64)), strange) is None


def test_non_cell_images_are_what_they_are_called():
    drawn, again = non_cell_images(48, 5), non_cell_images(48, 5)
    assert all(np.array_equal(drawn[kind], again[kind]) for kind in drawn)
    for kind, pixels in drawn.items():
        assert pixels.dtype == np.uint8
        assert pixels.shape == (1 if kind == "black" else 5, 48, 48, 3)
    assert drawn["black"].max() == 0
    for kind in ("photograph on black", "one colour on black"):
        corners = drawn[kind][:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max() == 0
    for disc in drawn["one colour on black"]:
        assert len(np.unique(disc.reshape(-1, 3), axis=0)) == 2
