"""The objective, held against scikit-learn and pairs counted by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from blastscope.errors import BlastscopeError
from blastscope.tuning.objective import ScoredPart, choose_objective


def cells(n: int = 60, seed: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_all = np.arange(n) % 2 == 0
    table = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(n)],
            "subject": [f"{'A' if blast else 'N'}{k % 6}" for k, blast in enumerate(is_all)],
            "label": np.where(is_all, "all", "hem"),
            "size": rng.normal(200, 12, n) + 10 * is_all,
        }
    )
    return table, np.clip(rng.normal(0.5, 0.2, n) + 0.1 * is_all, 0, 1)


def test_scores_are_those_of_scikit_learn():
    table, p_all = cells()
    truth, called = (table["label"] == "all").to_numpy(), p_all > 0.5
    score = {name: ScoredPart(table, name).score(p_all) for name in ("auc", "weighted-f1")}
    assert score["auc"] == pytest.approx(roc_auc_score(truth, p_all))
    assert score["weighted-f1"] == pytest.approx(f1_score(truth, called, average="weighted"))
    balanced = ScoredPart(table, "balanced-accuracy").score(p_all)
    assert balanced == pytest.approx(balanced_accuracy_score(truth, called))


def test_equal_size_counts_pairs_of_about_the_same_size_in_the_same_fold():
    table, p_all = cells()
    table = table.with_columns(fold=pl.int_range(pl.len()) % 3)
    is_all = (table["label"] == "all").to_numpy()
    size, fold = table["size"].to_numpy(), table["fold"].to_numpy()
    good = total = 0.0
    for a in np.flatnonzero(is_all):
        for b in np.flatnonzero(~is_all):
            same = abs(size[a] - size[b]) <= 0.05 * (size[a] + size[b]) / 2
            if same and fold[a] == fold[b]:
                total += 1
                good += (p_all[a] > p_all[b]) + 0.5 * (p_all[a] == p_all[b])
    part = ScoredPart(table, "equal-size-auc")
    assert part.pairs() == total
    assert part.score(p_all) == pytest.approx(good / total)
    assert set(part.up_to_fold(1).cells["fold"]) == {0, 1}
    assert np.isnan(part.score(np.full(len(p_all), np.nan)))


@pytest.mark.parametrize("name", ["equal-size-auc", "auc", "weighted-f1"])
def test_two_models_are_compared_in_pairs(name):
    table, p_all = cells()
    part = ScoredPart(table, name)
    other = np.random.default_rng(5).permutation(p_all)
    winner, base, difference = part.compare(p_all, other)
    assert (winner.value, base.value) == pytest.approx((part.score(p_all), part.score(other)))
    assert difference.value == pytest.approx(winner.value - base.value)
    assert winner.low < winner.value < winner.high
    *_, same = part.compare(p_all, p_all)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_default_goes_by_what_the_store_knows():
    table, _ = cells()
    assert choose_objective(None, table) == "equal-size-auc"
    unsized = table.with_columns(size=pl.lit(None, pl.Float64))
    assert choose_objective(None, unsized) == "auc"
    assert choose_objective("weighted-f1", unsized) == "weighted-f1"
    with pytest.raises(BlastscopeError):
        choose_objective("equal-size-auc", unsized)
    apart = table.with_columns(size=pl.when(pl.col("label") == "all").then(300.0).otherwise(100.0))
    with pytest.raises(BlastscopeError):
        choose_objective(None, apart)
    with pytest.raises(BlastscopeError):
        choose_objective("loss", table)
