"""Whole comparisons: the paper's two ensembles, verdicts that the metrics bear out, the JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import blastscope as bs
from blastscope.evaluation.aligned_predictions import ModelSource, align_predictions
from blastscope.evaluation.comparison import ModelPair, compare
from blastscope.evaluation.confidence_intervals import Estimate, intervals
from blastscope.evaluation.metrics import compute_metrics
from blastscope.evaluation.next_subject import smallest_difference
from blastscope.io.predictions import write_predictions
from blastscope.report.comparison_page import comparison_view, headline, verdict
from tests.evaluation.tables import published, scores_of


@pytest.fixture(scope="module")
def paper():
    return compare(published(), "test", resamples=1000)


@pytest.fixture(scope="module")
def several():
    """Four models of rising noise on the cells of 14 subjects."""
    rng = np.random.default_rng(2)
    subjects = [f"{'A' if i < 8 else 'H'}{i}" for i in range(14) for _ in range(20)]
    is_all = np.array([name[0] == "A" for name in subjects])
    logits = np.where(is_all, 1, -1) + rng.normal(0, 1, 280)
    models = {
        name: 1 / (1 + np.exp(-logits - rng.normal(0, noise, 280)))
        for name, noise in (("a", 0.1), ("b", 0.2), ("c", 2.5), ("d", 6.0))
    }
    return scores_of(is_all, models, subjects, protocol="subject", checkpoint="sha256:1")


def test_the_papers_metrics(paper):
    told = {
        model: {n: e.value for n, e in found.items()} for model, found in paper.estimates.items()
    }
    assert told["mean"]["weighted_f1"] == pytest.approx(0.9503, abs=5e-5)
    weighted = {
        "weighted_f1": 0.9552,
        "precision_hem": 0.9478,
        "recall_hem": 0.9138,
        "precision_all": 0.9590,
        "recall_all": 0.9756,
    }
    assert {name: told["weighted"][name] for name in weighted} == pytest.approx(weighted, abs=6e-5)
    assert paper.counts["mean"] == {"tn": 619, "fp": 77, "fn": 28, "tp": 1409}
    assert paper.counts["weighted"] == {"tn": 636, "fp": 60, "fn": 35, "tp": 1402}


def test_the_papers_gain_is_ten_cells_at_the_edge_of_noise(paper):
    (pair,) = paper.pairs
    assert (pair.only_first, pair.only_second) == (7, 17)
    assert pair.mcnemar_p == pair.mcnemar_p_holm == pytest.approx(0.0639, abs=5e-5)
    # By hand: a gain g cells with 24 that differ has the standard deviation √(24 - 10²/2133).
    half = 1.96 * np.sqrt(24 - 100 / 2133) / 2133
    assert pair.weighted_f1.high - pair.weighted_f1.low == pytest.approx(2 * half, rel=0.12)
    words = verdict(pair, paper)
    assert words.startswith(
        "weighted is ahead of mean by 0.0050 weighted F1 (10 more cells right of 2,133), 95 % "
    )
    assert "beyond noise" not in words
    assert "0.064" in words
    assert headline(paper) == words
    assert paper.sampling.unit == "cell"


def test_estimates_are_compute_metrics_and_lie_in_their_intervals(several):
    comparison = compare(several, "test", resamples=400)
    for column, model in enumerate("abcd"):
        expected = compute_metrics(several.is_all, several.p_all[:, column])
        for name, estimate in comparison.estimates[model].items():
            assert estimate.value == pytest.approx(expected[name], abs=1e-12)
            assert estimate.low <= estimate.value <= estimate.high
            assert estimate.low < estimate.high
    assert (comparison.cells, comparison.cells_all, comparison.subjects) == (280, 160, 14)
    assert (comparison.sampling.unit, comparison.protocol) == ("subject", "subject")


def test_every_two_models_or_the_pairs_asked_for(several):
    every = compare(several, "test", resamples=100)
    assert [(p.first, p.second) for p in every.pairs] == [
        ("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d"),
    ]  # fmt: skip
    one = compare(several, "test", resamples=100, pairs=[("d", "a")])
    (pair,) = one.pairs
    assert pair.weighted_f1.value == -every.pairs[2].weighted_f1.value
    assert pair.mcnemar_p_holm == pair.mcnemar_p == every.pairs[2].mcnemar_p
    assert every.pairs[2].mcnemar_p_holm == pytest.approx(6 * pair.mcnemar_p)  # the smallest of six


def test_intervals_of_differences_are_paired(several):
    """a and b err on nearly the same cells: their difference is far surer than either."""
    comparison = compare(several, "test", resamples=600)
    pair = comparison.pairs[0]
    own = comparison.estimates["a"]["auc"]
    assert pair.auc.high - pair.auc.low < 0.5 * (own.high - own.low)


def test_a_metric_has_the_interval_that_evaluate_gives_it(several):
    comparison = compare(several, "test")
    for column, model in enumerate("abcd"):
        alone = intervals(several.is_all, several.p_all[:, column], several.subjects)
        found = {name: (e.low, e.high) for name, e in comparison.estimates[model].items()}
        assert found == alone.bounds
        assert comparison.sampling == alone.sampling


def test_a_difference_that_no_draw_shows_has_no_width():
    rng = np.random.default_rng(1)
    is_all = np.repeat([True, False], 30)
    p_all = rng.random(60)
    sooner = np.where(p_all > 0.5, 0.5 + p_all / 2, p_all / 2)  # the same calls in the same order
    subjects = [f"{k // 10}" for k in range(60)]
    (found,) = compare(scores_of(is_all, {"a": p_all, "b": sooner}, subjects), "test").pairs
    assert found.alike
    assert found.weighted_f1 == found.auc == Estimate(0.0, 0.0, 0.0)


def test_the_cells_of_a_lone_subject_make_intervals():
    rng = np.random.default_rng(2)
    is_all = np.repeat([True, False], [80, 40])
    subjects = [f"A{k // 20}" for k in range(80)] + ["H"] * 40
    models = {name: rng.normal(0.5 + 0.2 * is_all, 0.2).clip(0, 1) for name in "ab"}
    found = compare(scores_of(is_all, models, subjects), "test", resamples=500)
    assert found.sampling.counts == {"all": 4, "hem": 1}
    for estimate in (*found.estimates["a"].values(), found.pairs[0].weighted_f1):
        assert estimate.low < estimate.value < estimate.high


def test_the_same_seed_gives_the_same_and_no_more_models_change_it(several):
    both = compare(several, "test", 200, pairs=[("a", "d")])
    fewer = replace(
        several, members=(several.members[0], several.members[3]), p_all=several.p_all[:, [0, 3]]
    )
    assert compare(fewer, "test", 200).pairs == both.pairs
    assert compare(several, "test", 200, seed=1).pairs[2] != both.pairs[0]


def test_the_headline_counts_who_is_behind(several):
    comparison = compare(several, "test", resamples=400)
    told = headline(comparison)
    values = [comparison.estimates[name]["weighted_f1"].value for name in "abcd"]
    best = "abcd"[int(np.argmax(values))]
    assert (
        f"Of 4 models {best} has the highest weighted F1 on the test cells, {max(values):.4f}"
        in told
    )
    with_best = [p.led() for p in comparison.pairs if best in (p.first, p.second)]
    behind = sum(p.weighted_f1.low > 0 and p.mcnemar_p_holm <= 0.05 for p in with_best)
    assert behind in (1, 2)
    assert told.endswith(
        f"against {behind} of the 3 others, on the same cells that it was chosen on."
    )


def pair(low, value, high, p=0.2, only=(9, 0)):
    nothing = Estimate(np.nan, np.nan, np.nan)
    return ModelPair("new", "old", Estimate(value, low, high), nothing, *only, p, p, np.nan, np.nan)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pair(-0.004, 0.012, 0.031), "0.0120 weighted F1 (9 more cells right of 2,133), "
         "95 % interval −0.0040 to 0.0310: within noise."),
        (pair(0.001, 0.012, 0.031, p=0.01), "beyond noise for these cells"),
        (pair(0.001, 0.012, 0.031, p=0.06), "not certain, because the interval"),
        (pair(0.001, 0.012, 0.031, p=0.0504), "(p = 0.05040) does not show a difference"),
        (pair(0.00003, 0.012, 0.031, p=0.01), "95 % interval 0.0000 to 0.0310: within noise"),
        (pair(-0.004, 0.012, 0.031, p=0.0001), "within noise by the interval, although McNemar's "
         "exact test of the calls (p < 0.001)"),
        (pair(-0.031, -0.012, 0.004, only=(0, 1)), "old is ahead of new by 0.0120 weighted F1 (1 "
         "more cell right of 2,133), 95 % interval −0.0040 to 0.0310"),
        (pair(-0.02, 0.01, 0.03, only=(3, 5)), "(2 fewer cells right of 2,133)"),
        (pair(-0.02, 0.01, 0.03, only=(4, 4)), "(the same number of cells right, of 2,133)"),
        (pair(-0.02, 0.0, 0.03, only=(4, 4)), "new and old have the same weighted F1"),
        (pair(0.0, 0.0, 0.0, p=1, only=(0, 0)), "new and old call every cell alike."),
    ],
)  # fmt: skip
def test_the_verdict_goes_by_the_interval(paper, given, words):
    one, other = list(paper.estimates.values())[:2]
    assert words in verdict(given, replace(paper, estimates={"new": one, "old": other}))


def of_subjects(comparison, fewest):
    sampling = replace(comparison.sampling, unit="subject", counts={"all": 20, "hem": fewest})
    return replace(comparison, sampling=sampling)


def test_a_lead_over_subjects_is_plain(paper):
    assert verdict(pair(0.001, 0.012, 0.031, p=0.01), of_subjects(paper, 10)).endswith(
        ": beyond noise."
    )


@pytest.mark.parametrize(
    ("fewest", "words"),
    [
        (1, "one class has one subject"),
        (3, "but with 3 of a class such intervals contain"),
        (9, "but with 9 of a class"),
    ],
)
def test_a_lead_over_few_subjects_says_how_few(paper, fewest, words):
    assert words in verdict(pair(0.001, 0.012, 0.031, p=0.01), of_subjects(paper, fewest))


def test_one_class_only_leaves_what_needs_both_undefined():
    scores = scores_of([True] * 40, {"a": np.linspace(0, 1, 40), "b": np.linspace(1, 0.3, 40)})
    comparison = compare(scores, "test", resamples=100)
    (pair,) = comparison.pairs
    assert not pair.auc.known
    assert np.isnan([pair.delong_p, pair.delong_p_holm]).all()
    assert pair.weighted_f1.known
    told = json.loads(json.dumps(comparison.as_json(), allow_nan=False))
    assert told["pairs"][0]["auc_difference"] == {"value": None, "low": None, "high": None}
    assert told["estimates"]["a"]["recall_hem"]["value"] is None


def test_the_json_says_what_was_done(several):
    told = compare(several, "test", resamples=100, seed=3).as_json()
    assert told["format"] == "blastscope-comparison/2"
    assert (told["seed"], told["threshold"]) == (3, 0.5)
    assert (told["sampling"]["resamples"], told["sampling"]["unit"]) == (100, "subject")
    assert told["checkpoints"] == dict.fromkeys("abcd", "sha256:1")
    assert told["pairs"][0].keys() >= {"weighted_f1_difference", "auc_difference", "mcnemar_p_holm"}


def test_overlap_and_cells_without_a_label_are_told():
    scores = scores_of([True, False] * 20, {"a": np.linspace(0, 1, 40)}, ["S", "H"] * 20)
    more = scores.cells.head(3).with_columns(
        cell=pl.format("x{}", "cell"),
        part=pl.Series(["train", "test", "test"]),
        label=pl.Series(["all", None, None], dtype=pl.String),
    )
    wider = replace(
        scores,
        cells=pl.concat([scores.cells, more]),
        p_all=np.vstack([scores.p_all, [[0.5]] * 3]),
    )
    comparison = compare(wider, "test", resamples=100)
    assert (comparison.cells, comparison.unlabelled) == (40, 2)
    assert comparison.overlap.kind == "shared"
    assert (comparison.overlap.shared, comparison.overlap.subjects) == (1, 2)
    assert comparison.pairs == ()


def test_better_models_are_listed_by_their_lead(several):
    from blastscope.evaluation.comparison import by_lead

    leads = [p.weighted_f1.value for p in by_lead(compare(several, "test", 100).pairs)]
    assert all(a >= b >= 0 for a, b in pairwise(leads))


def test_the_smallest_difference_follows_from_how_subjects_differ():
    rng = np.random.default_rng(5)
    names = np.repeat([f"s{k}" for k in range(10)], 20)
    is_all = np.repeat([True, False], 100)
    first, second = (np.clip(rng.normal(np.where(is_all, 0.6, 0.4), 0.2), 0, 1) for _ in range(2))
    frames = [
        pl.DataFrame(
            {
                "cell": [f"c{k}" for k in range(200)], "subject": names,
                "label": np.where(is_all, "all", "hem"), "part": "test", "model": name, "p_all": p,
            }
        )
        for name, p in (("a", first), ("b", second))
    ]  # fmt: skip
    (pair,) = bs.compare({"a": frames[0], "b": frames[1]}).pairs
    apart = []
    for name in sorted(set(names[~is_all])):
        here = is_all | (names == name)
        apart.append(
            roc_auc_score(is_all[here], first[here]) - roc_auc_score(is_all[here], second[here])
        )
    by_hand = smallest_difference(np.std(apart, ddof=1), 5)
    assert pair.detectable == pytest.approx(by_hand)


def folded(tmp_path, name, noise, seed):
    """Cells of six normal and six ALL subjects in three folds, whose networks' scales differ."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"{kind}{k}" for kind in "AH" for k in range(6)], 15)
    is_all = np.array([one[0] == "A" for one in names])
    fold = np.array([int(one[1]) % 3 + 1 for one in names])
    odds = np.where(is_all, 1.5, -1.5) + rng.normal(0, noise, 180) + 4.0 * (fold - 2)
    frame = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(180)], "subject": names,
            "label": np.where(is_all, "all", "hem"), "part": "test", "model": name,
            "p_all": 1 / (1 + np.exp(-odds)), "fold": fold,
        }
    )  # fmt: skip
    write_predictions(frame, tmp_path / f"{name}.parquet", {"out_of_fold": "subject"})
    return is_all, names, fold, odds


def test_subjects_of_a_cross_validation_are_ranked_within_their_fold(tmp_path):
    is_all, names, fold, first = folded(tmp_path, "a", 0.5, 1)
    *_, second = folded(tmp_path, "b", 1.5, 2)
    found = bs.compare([tmp_path / "a.parquet", tmp_path / "b.parquet"], resamples=100)
    apart = []
    for name in sorted(set(names[~is_all])):
        here = (is_all | (names == name)) & (fold == fold[names == name][0])
        apart.append(
            roc_auc_score(is_all[here], first[here]) - roc_auc_score(is_all[here], second[here])
        )
    by_hand = smallest_difference(np.std(apart, ddof=1), 6)
    assert found.pairs[0].detectable == pytest.approx(by_hand)
    assert found.estimates["a"]["auc"].value == pytest.approx(roc_auc_score(is_all, first))
    assert found.overlap.reason == "out-of-fold"
    assert found.pooled == ("a", "b")
    assert found.as_json()["pooled"] == ["a", "b"]
    assert any("a and b: AUC pools" in note for note in found.notes())
    assert any("a and b: AUC pools" in text for text in comparison_view(found, {})["read"])


def test_models_made_of_folds_are_on_the_scale_of_their_folds(tmp_path):
    folded(tmp_path, "a", 0.5, 1)
    *_, fold, _ = folded(tmp_path, "b", 0.5, 2)
    scores = align_predictions([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert scores.fold.tolist() == np.column_stack([fold, fold]).tolist()
    mean = ModelSource("mean", tmp_path, {"derived": True})
    wider = scores.with_models([mean], scores.p_all.mean(axis=1, keepdims=True))
    assert wider.pooled == ("a", "b", "mean")
    same = wider.fold[:, 2][:, None] == wider.fold[:, 2]
    assert (same == (fold[:, None] == fold)).all()
    assert wider.take(fold == 1).fold.shape == (60, 3)
    single = tmp_path / "single.parquet"
    write_predictions(pl.read_parquet(tmp_path / "a.parquet").drop("fold"), single)
    assert align_predictions([single]).fold is None
    assert align_predictions([single]).pooled == ()
