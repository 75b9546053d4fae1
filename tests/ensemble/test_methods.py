from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from blastscope.ensemble import methods
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import (
    METHODS,
    UNFITTED,
    fit,
    greedy_weights,
    grid_weights,
    simplex_grid,
)
from blastscope.ensemble.objective import CALL
from blastscope.errors import BlastscopeError
from tests.ensemble.scores import correlated

QUICK = GeneticSettings(population=20, generations=10, runs=2)


def weighted_f1(p, is_all, fitted):
    called = fitted.combination.apply(p) > 0.5
    return f1_score(is_all, called, average="weighted", zero_division=0)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=6, deadline=None)
@given(order=st.permutations(range(3)), seed=st.integers(0, 50))
def test_permuting_the_models_permutes_the_weights(method, order, seed):
    p, is_all = correlated(80, 3, seed)
    before = fit(method, p, is_all, QUICK).combination
    after = fit(method, p[:, order], is_all, QUICK).combination
    assert after.weights == tuple(before.weights[i] for i in order)
    assert after.intercept == before.intercept
    np.testing.assert_allclose(after.apply(p[:, order]), before.apply(p), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_equal_models_share_their_weight(method):
    p, is_all = correlated(80, 2)
    weights = fit(method, p[:, [0, 1, 0]], is_all, QUICK).combination.weights
    assert weights[0] == pytest.approx(weights[2], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_notes_are_true(method):
    p, is_all = correlated(150, 3)
    fitted = fit(method, p, is_all, QUICK)
    assert fitted.combination.method == method
    assert len(fitted.combination.weights) == 3
    if "weighted_f1" in fitted.notes:
        assert fitted.notes["weighted_f1"] == pytest.approx(weighted_f1(p, is_all, fitted))
    if fitted.combination.kind == "weights":
        assert sum(fitted.combination.weights) == pytest.approx(1, abs=1e-12)


def test_weights_by_auc():
    p, is_all = correlated(100, 3)
    p[:, 2] = 1 - p[:, 2]  # worse than a coin
    gains = [roc_auc_score(is_all, p[:, 0]) - 0.5, roc_auc_score(is_all, p[:, 1]) - 0.5, 0]
    found = fit("auc", p, is_all).combination.weights
    assert found == pytest.approx([gain / sum(gains) for gain in gains])
    assert fit("auc", np.full((4, 2), 0.3), np.array([True, False] * 2)).combination.weights == (
        0.5,
        0.5,
    )


def test_stacking_is_scikit_learns_regression():
    p, is_all = correlated(200, 3)
    logits = np.log(p / (1 - p))
    model = LogisticRegression(C=1.0, max_iter=1000).fit(logits, is_all)
    found = fit("stacking", p, is_all).combination
    np.testing.assert_allclose(found.apply(p), model.predict_proba(logits)[:, 1], atol=1e-3)


def test_greedy_selection_begins_with_the_best_and_goes_up():
    p, is_all = correlated(200, 4)
    weights, found = greedy_weights(p, is_all)
    history, rounds, score = found["history"], found["rounds"], found["weighted_f1"]
    singles = [f1_score(is_all, column > 0.5, average="weighted") for column in p.T]
    assert history[0] == pytest.approx(max(singles))
    assert score == history.max() == history[rounds - 1]
    assert (history[: rounds - 1] < score).all()
    counts = weights * rounds
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert score == pytest.approx(f1_score(is_all, p @ weights > 0.5, average="weighted"))


def test_greedy_selection_against_a_plain_loop(monkeypatch):
    p, is_all = correlated(150, 3, seed=4)
    bag, reached = [], []
    for _ in range(12):
        scores = []
        for model in range(3):
            mean = p[:, [*bag, model]].mean(axis=1)
            gain = f1_score(is_all, mean > 0.5, average="weighted")
            scores.append((round(gain, 12), -log_loss(is_all, mean), -model))
        bag.append(-max(scores)[2])
        reached.append(max(scores)[0])
    best = reached.index(max(reached)) + 1
    monkeypatch.setattr(methods, "_CHOICES", 12)
    weights, found = greedy_weights(p, is_all)
    np.testing.assert_allclose(found["history"], reached, atol=1e-9)
    assert found["rounds"] == best
    np.testing.assert_allclose(weights, np.bincount(bag[:best], minlength=3) / best)


def test_greedy_selection_by_hand():
    """The first errs on cell 1, the second on 2 and 3; one of each gets all four right."""
    p = np.array([[0.9, 0.8], [0.45, 0.95], [0.05, 0.6], [0.1, 0.7]])
    is_all = np.array([True, True, False, False])
    weights, found = greedy_weights(p, is_all)
    np.testing.assert_array_equal(weights, [0.5, 0.5])
    assert (found["weighted_f1"], found["rounds"]) == (1, 2)


@pytest.mark.parametrize("method", METHODS)
def test_one_model(method):
    p, is_all = correlated(40, 1)
    combination = fit(method, p, is_all, QUICK).combination
    assert (combination.apply(p) > 0.5).shape == (40,)
    if method != "stacking":
        assert combination.weights == (1.0,)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in UNFITTED])
def test_one_class_is_refused(method):
    with pytest.raises(BlastscopeError, match="5 cells to fit on are normal only"):
        fit(method, np.full((5, 2), 0.4), np.zeros(5, dtype=bool))


def test_what_no_ensemble_is_made_of():
    assert fit("mean", np.full((5, 2), 0.4), np.zeros(5, dtype=bool)).combination.weights == (
        0.5,
        0.5,
    )
    with pytest.raises(BlastscopeError, match="choose mean"):
        fit("median", *correlated(10, 2))
    with pytest.raises(BlastscopeError, match="0 cells"):
        fit("mean", np.empty((0, 2)), np.empty(0, dtype=bool))


@pytest.mark.parametrize(("models", "steps"), [(1, 5), (2, 100), (3, 10), (4, 7), (6, 1)])
def test_the_grid_is_whole(models, steps):
    grid = simplex_grid(models, steps)
    assert grid.shape == (math.comb(steps + models - 1, models - 1), models)
    assert len(np.unique(grid, axis=0)) == len(grid)
    np.testing.assert_allclose(grid.sum(axis=1), 1, atol=1e-12)
    assert grid.min() >= 0


@pytest.mark.parametrize(("models", "steps"), [(2, 100), (4, 100), (12, 9)])
def test_the_grid_grows_no_larger_than_it_may(models, steps):
    """C(103, 3) = 176,851 and C(20, 11) = 167,960, but C(21, 11) = 352,716."""
    p, is_all = correlated(20, models)
    assert grid_weights(p, is_all)[1]["steps"] == steps


def test_the_best_of_a_coarse_grid_by_hand(monkeypatch):
    p, is_all = correlated(60, 3)
    monkeypatch.setattr(methods, "_FINEST", 4)
    weights, notes = grid_weights(p, is_all)
    grid = simplex_grid(3, 4)
    scores = [f1_score(is_all, p @ row > CALL, average="weighted", zero_division=0) for row in grid]
    assert notes["steps"] == 4
    assert notes["weighted_f1"] == pytest.approx(max(scores))
    called = p @ weights > CALL
    assert max(scores) == pytest.approx(f1_score(is_all, called, average="weighted"))
