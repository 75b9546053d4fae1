from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from blastscope.ensemble.combination import Combination
from blastscope.ensemble.methods import simplex_grid
from blastscope.ensemble.objective import Objective
from tests.ensemble.scores import correlated


def expected(p, is_all, weights):
    calls = (Combination("", "weights", tuple(w)).apply(p) > 0.5 for w in weights)
    return [f1_score(is_all, call, average="weighted", zero_division=0) for call in calls]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans())
def test_equals_scikit_learn(seed, models, simplex):
    rng = np.random.default_rng(seed)
    cells = int(rng.integers(2, 60))
    p, is_all = rng.random((cells, models)), rng.random(cells) < 0.6
    weights = rng.random((6, models))
    if simplex:
        weights /= weights.sum(axis=1, keepdims=True)
    found = Objective(p, is_all, simplex=simplex).scores(weights)
    np.testing.assert_allclose(found, expected(p, is_all, weights), atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([[0.0, 1.0], [0.0, 0.5, 1.0], [0.5]]))
def test_hard_calls_and_exact_ties(seed, values):
    """Quarters are exact in binary, so p @ w is, and scikit-learn judges p @ w > .5 itself."""
    rng = np.random.default_rng(seed)
    p, is_all = rng.choice(values, (50, 4)), rng.random(50) < 0.6
    weights = simplex_grid(4, 4)
    called = p @ weights.T > 0.5
    plain = [f1_score(is_all, call, average="weighted", zero_division=0) for call in called.T]
    for simplex in (True, False):
        found = Objective(p, is_all, simplex=simplex).scores(weights)
        np.testing.assert_allclose(found, plain, atol=1e-12)


def test_hundredths_that_sum_to_a_half_are_a_tie():
    """Some of these sums come out above .5 in floating point; an exact half is normal."""
    shares = [(a, b, 50 - a - b) for a in range(1, 49) for b in range(1, 50 - a)]
    weights = np.column_stack([np.array(shares), np.full(len(shares), 50)]) / 100
    p, is_all = (
        np.array([[1.0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]),
        np.array([False, False, True]),
    )
    assert max(weights @ p[0]) > 0.5  # what the rule is there for
    assert (Objective(p, is_all).scores(weights) == 1).all()
    applied = [Combination("", "weights", tuple(row)).apply(p[:1])[0] for row in weights]
    assert set(applied) == {0.5}


def test_agreed_cells_do_not_follow_weights_that_sum_to_less():
    """Four models at .51 agree on ALL, but the paper's weights make .4994 of it: normal."""
    published = np.array([[0.36858, 0.00696, 0.15587, 0.44780]])
    p = np.array([[0.51] * 4, [0.1] * 4, [0.9] * 4])
    is_all = np.array([True, False, True])
    assert Objective(p, is_all, simplex=False).scores(published)[0] == pytest.approx(2 / 3)
    assert Objective(p, is_all).scores(np.full((1, 4), 0.25))[0] == 1


def test_one_class_only():
    p, weights = np.array([[0.2, 0.9], [0.8, 0.9]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for truth in (True, False):
        is_all = np.full(2, truth)
        found = Objective(p, is_all).scores(weights)
        np.testing.assert_allclose(found, expected(p, is_all, weights), atol=1e-12)


def test_log_loss_equals_scikit_learns():
    p, is_all = correlated(120, 3)
    weights = np.random.default_rng(2).dirichlet(np.ones(3), 5)
    found = Objective(p, is_all).log_loss(weights)
    np.testing.assert_allclose(found, [log_loss(is_all, p @ w) for w in weights], rtol=1e-9)


def test_chunks_do_not_show(monkeypatch):
    p, is_all = correlated(200, 3)
    weights = np.random.default_rng(3).dirichlet(np.ones(3), 50)
    whole = Objective(p, is_all)
    once = whole.scores(weights), whole.log_loss(weights)
    monkeypatch.setattr("blastscope.ensemble.objective._CHUNK", 7)
    np.testing.assert_array_equal(whole.scores(weights), once[0])
    np.testing.assert_allclose(whole.log_loss(weights), once[1], rtol=1e-12)


def test_the_tie_goes_to_the_lower_log_loss():
    p, is_all = np.array([[0.9, 0.7], [0.1, 0.3]]), np.array([True, False])
    objective = Objective(p, is_all)
    weights = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    assert objective.best_of(weights, objective.scores(weights)) == 1
