from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from blastscope.ensemble.genetic import GeneticSettings, genetic_weights
from blastscope.ensemble.methods import fit, grid_weights
from blastscope.ensemble.objective import CALL, Objective
from tests.ensemble.scores import correlated

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from exact import exact_weights

QUICK = GeneticSettings(population=20, generations=10, runs=2)


def weighted_f1(p, is_all, weights):
    called = p @ weights > CALL
    return f1_score(is_all, called, average="weighted", zero_division=0)


def best_of_two_models(p, is_all):
    """Sweep the weight of the first model through every interval between flips of a cell.

    A cell flips where its score passes the threshold by the tolerance of a tie, so cells of
    different slopes that tie at one weight flip near it but not together.
    """
    slope = p[:, 0] - p[:, 1]
    flips = (CALL - p[slope != 0, 1]) / slope[slope != 0]
    stops = np.unique([0.0, 1.0, *flips[(flips > 0) & (flips < 1)]])
    every = [0.0, 1.0, *(stops[1:] + stops[:-1]) / 2]
    return max(weighted_f1(p, is_all, np.array([w, 1 - w])) for w in every)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 30))
def test_two_models_against_a_sweep_of_every_breakpoint(seed, cells):
    rng = np.random.default_rng(seed)
    p, is_all = rng.random((cells, 2)), np.arange(cells) % 3 > 0
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.bound == found.score == pytest.approx(best_of_two_models(p, is_all), abs=1e-12)
    assert found.score == pytest.approx(weighted_f1(p, is_all, found.weights), abs=1e-12)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]))
@example(655332, 4)  # beside w1 = 0, where cells tie, the tolerance alone parts them
def test_two_models_whose_cells_share_their_ties(seed, parts):
    """Equal rows with different labels: no weights call both right, and the proof must know."""
    rng = np.random.default_rng(seed)
    p, is_all = rng.integers(0, parts + 1, (30, 2)) / parts, np.arange(30) % 3 > 0
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.bound == found.score == pytest.approx(best_of_two_models(p, is_all), abs=1e-12)


def test_a_needle_beside_cells_that_share_a_tie():
    """Only .50012 < w1 < .5002 is best, and w1 = .5 parts five ALL cells and a normal one."""
    p = np.array([[0.9, 0.0998], [0.1, 0.90032], [0.0, 0.0], *[[1.0, 0.0]] * 6])
    is_all = np.array([True, True, False, False, *[True] * 5])
    found = exact_weights(p, is_all)
    assert found.proven
    assert 0.50012 < found.weights[0] < 0.5002
    assert found.score == pytest.approx(best_of_two_models(p, is_all))


def test_two_models_that_give_hard_calls():
    """Both called right where the other errs, and w1 = w2 makes each tie normal."""
    p = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 0]])
    is_all = np.array([True, False, False, False, True, False])
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.score == pytest.approx(best_of_two_models(p, is_all))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_three_models_against_every_cell_of_the_arrangement(seed):
    """Each cell's tie is a line in the triangle; a point beside each crossing sees every region."""
    rng = np.random.default_rng(seed)
    p, is_all = rng.random((10, 3)), np.arange(10) % 3 > 0
    lines = np.vstack([p - 0.5, np.eye(3)])
    points = [np.full(3, 1 / 3)]
    for i in range(len(lines)):
        for j in range(i):
            crossing = np.cross(lines[i], lines[j])
            if abs(crossing.sum()) < 1e-9:
                continue
            around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            near = crossing / crossing.sum() + 1e-6 * (
                np.cos(around)[:, None] * [1, -1, 0] + np.sin(around)[:, None] * [0.5, 0.5, -1]
            )
            points.extend(near[(near >= 0).all(axis=1)])
    brute = Objective(p, is_all).scores(np.array(points)).max()
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.score == pytest.approx(brute, abs=1e-12)
    assert found.score == pytest.approx(weighted_f1(p, is_all, found.weights), abs=1e-12)


def test_nothing_random_beats_what_is_proven():
    p, is_all = correlated(400, 4, seed=5)
    found = exact_weights(p, is_all)
    assert found.proven
    tried = np.random.default_rng(0).dirichlet(np.ones(4), 120)
    assert max(weighted_f1(p, is_all, weights) for weights in tried) <= found.score
    assert found.score == pytest.approx(weighted_f1(p, is_all, found.weights))


def test_a_search_cut_short_says_how_high_it_could_still_be():
    p, is_all = correlated(400, 4, seed=5)
    cut, whole = exact_weights(p, is_all, max_regions=21), exact_weights(p, is_all)
    assert not cut.proven
    assert cut.regions <= 21
    assert cut.score <= whole.score < cut.bound <= 1
    assert cut.score >= grid_weights(p, is_all)[1]["weighted_f1"]


def test_it_never_scores_below_its_start():
    """No hundredths hold what gets all right: .50012 < w1 < .5002, from the first and the third."""
    p = np.array([[0.9, 0.0998], [0.0, 0.0], [0.1, 0.90032], [1.0, 1.0]])
    is_all = np.array([True, False, True, True])
    start = np.array([0.50015, 0.49985])
    assert weighted_f1(p, is_all, start) == 1
    assert exact_weights(p, is_all, max_regions=1).score < 1
    found = exact_weights(p, is_all, start, max_regions=1)
    assert found.proven
    np.testing.assert_array_equal(found.weights, start)
    assert exact_weights(p, is_all).score == 1


def test_models_that_agree_on_everything_leave_nothing_to_search():
    p, is_all = np.array([[0.9, 0.8], [0.7, 0.6], [0.2, 0.1]]), np.array([True, False, False])
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.bound == found.score == pytest.approx(weighted_f1(p, is_all, np.array([0, 1])))


def test_equal_scores_go_to_the_lower_log_loss():
    """Both models are right everywhere; the surer one is better by log loss."""
    p, is_all = np.array([[0.99, 0.7], [0.02, 0.4]]), np.array([True, False])
    found = exact_weights(p, is_all)
    assert found.proven
    assert found.score == 1
    np.testing.assert_array_equal(found.weights, [1, 0])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_no_method_of_the_package_beats_it(seed):
    p, is_all = correlated(150, 3, seed)
    start = genetic_weights(p, is_all, QUICK).weights
    found = exact_weights(p, is_all, start)
    for method in ("mean", "genetic", "grid", "caruana", "auc"):
        combination = fit(method, p, is_all, QUICK).combination
        called = combination.apply(p) > 0.5
        other = f1_score(is_all, called, average="weighted", zero_division=0)
        assert other <= found.bound + 1e-12
        assert other <= found.score + 1e-12 or not found.proven
