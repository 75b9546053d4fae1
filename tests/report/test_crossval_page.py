"""The folds of a cross-validation as rows and as a line."""

from __future__ import annotations

from statistics import fmean, stdev

from blastscope.data.folds import FoldCut
from blastscope.experiments.crossval_metrics import CrossvalMetrics, FoldMetrics
from blastscope.report.crossval_page import folds_table
from blastscope.report.text import HEADLINE

TESTED = {"all": ["S1"], "hem": ["H1"]}


def made(aucs):
    """Folds with these AUCs, None for a fold that tests one class."""
    folds = [
        FoldMetrics(1, k, TESTED, dict.fromkeys(HEADLINE, 0.8) | {"n": 10.0, "auc": auc})
        for k, auc in enumerate(aucs, 1)
    ]
    pooled = dict.fromkeys(HEADLINE, 0.8) | {"n": 30.0}
    return CrossvalMetrics(tuple(folds), (pooled,), FoldCut("subject", len(aucs), len(aucs)))


def test_a_mean_over_fewer_folds_than_there_are_says_so():
    found = folds_table(made([0.9, None, 0.7]))
    text = f"AUC {fmean([0.9, 0.7]):.4f} ± {stdev([0.9, 0.7]):.4f} (of 2 folds)"
    assert text in found.headline
    assert text.removeprefix("AUC ") in found.spread[0]
    assert found.headline.count("of 2 folds") == 1  # the other metrics are of all three


def test_a_mean_over_all_folds_and_one_over_none():
    assert " folds)" not in folds_table(made([0.9, 0.8, 0.7])).headline
    assert "AUC" not in folds_table(made([None, None])).headline
