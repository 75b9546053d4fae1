from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from blastscope.ensemble import genetic
from blastscope.ensemble.genetic import GeneticSettings, genetic_weights
from blastscope.errors import BlastscopeError
from tests.ensemble.scores import correlated

QUICK = GeneticSettings(population=20, generations=12, runs=3)


def assert_on_simplex(weights):
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


@budget(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 8),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 5),
)
def test_every_operator_keeps_weights_on_the_simplex(seed, pairs, models, cross, mutate, genes):
    rng = np.random.default_rng(seed)
    first = genetic.initial(2 * pairs, models, rng)
    assert_on_simplex(first)
    parents = first[genetic.select(rng.random(2 * pairs), 5, rng)]
    assert_on_simplex(parents)
    children, crossed = genetic.cross(parents, cross, genes, rng)
    assert_on_simplex(children)
    np.testing.assert_array_equal(children[~crossed], parents[~crossed])
    mutated = genetic.mutate(children, crossed, mutate, rng)
    assert_on_simplex(mutated)
    np.testing.assert_array_equal(mutated[~crossed], children[~crossed])


def test_a_chromosome_of_nothing_becomes_equal_weights():
    found = genetic.normalised(np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]]))
    np.testing.assert_array_equal(found, [[0.25] * 4, [0.5, 0, 0.5, 0]])


def test_crossing_averages_at_the_drawn_positions():
    """One gene of (.8, .2) and (.4, .6): the first gives (.6, .2)/.8, the second (.8, .4)/1.2."""
    parents = np.array([[0.8, 0.2], [0.4, 0.6]])
    seen = set()
    for seed in range(20):
        children, crossed = genetic.cross(parents, 1.0, 1, np.random.default_rng(seed))
        assert crossed.all()
        seen.add(tuple(children.round(9).ravel()))
    first = (0.75, 0.25, 0.5, 0.5)
    second = tuple(np.round([0.8 / 1.2, 0.4 / 1.2, 0.5, 0.5], 9))
    assert seen == {first, second}


def test_positions_are_drawn_with_replacement():
    """Of two draws from three genes a third meets the same: then one gene only is averaged."""
    parents = np.tile([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]], (3000, 1))
    children, _ = genetic.cross(parents, 1.0, 2, np.random.default_rng(0))
    # Both children share what was averaged before they are normalised; 1 of 9 draws is (1, 1), the
    # gene in which the parents agree, which leaves them as they were.
    same = (np.abs(children - parents) < 1e-12).all(axis=1)
    assert same.mean() == pytest.approx(1 / 9, abs=0.02)


def test_tournaments():
    """With n draws of n the best wins with 1 - (1 - 1/n)^k; the worst with n^-k."""
    fitness = np.array([0.1, 0.9, 0.5, 0.3])
    rng = np.random.default_rng(0)
    winners = np.concatenate([genetic.select(fitness, 5, rng) for _ in range(5000)])
    assert (winners == 1).mean() == pytest.approx(1 - 0.75**5, abs=0.01)
    assert (winners == 0).mean() == pytest.approx(0.25**5, abs=0.002)
    ties = np.concatenate([genetic.select(np.zeros(4), 5, rng) for _ in range(5000)])
    assert np.bincount(ties) / len(ties) == pytest.approx([0.25] * 4, abs=0.015)


def test_rates_of_crossing_and_mutation():
    rng = np.random.default_rng(0)
    parents = genetic.initial(40_000, 4, rng)
    children, crossed = genetic.cross(parents, 0.4, 2, rng)
    assert crossed.mean() == pytest.approx(0.4, abs=0.01)
    changed = (genetic.mutate(children, crossed, 0.3, rng) != children).any(axis=1)
    assert changed[crossed].mean() == pytest.approx(0.3, abs=0.01)


def test_as_published_a_mutant_is_not_normalised():
    children = np.full((200, 4), 0.25)
    every = np.ones(200, dtype=bool)
    found = genetic.mutate(children, every, 1.0, np.random.default_rng(0), normalise=False)
    assert ((found != 0.25).sum(axis=1) == 1).all()
    assert (np.abs(found.sum(axis=1) - 1) > 1e-3).mean() > 0.9


@pytest.mark.parametrize("as_published", [False, True])
def test_the_score_is_scikit_learns(as_published):
    p, is_all = correlated(200)
    settings = GeneticSettings(
        population=20, generations=15, runs=2, mutation=0.5, as_published=as_published
    )
    found = genetic_weights(p, is_all, settings)
    expected = f1_score(is_all, p @ found.weights > 0.5, average="weighted")
    assert found.score == pytest.approx(expected)
    assert found.score == max(run.score for run in found.runs)


def test_history_is_the_best_so_far():
    p, is_all = correlated(200)
    found = genetic_weights(p, is_all, QUICK)
    assert found.history.shape == (3, 12)
    assert (np.diff(found.history, axis=1) >= 0).all()
    for run, history in zip(found.runs, found.history, strict=True):
        assert run.score == history[-1] == history[run.generation - 1]
        assert (history[: run.generation - 1] < run.score).all()


def test_only_a_strictly_better_chromosome_replaces_the_best():
    """Where the models agree on every cell all weights are equal, so the very first one stays."""
    p, is_all = np.array([[0.9, 0.8], [0.7, 0.6], [0.2, 0.1]]), np.array([True, False, False])
    found = genetic_weights(p, is_all, QUICK)
    rng = np.random.default_rng(np.random.SeedSequence(QUICK.seed).spawn(1)[0])
    np.testing.assert_array_equal(found.weights, genetic.initial(20, 2, rng)[0])
    assert [run.generation for run in found.runs] == [1, 1, 1]


def test_a_run_does_not_depend_on_how_many_follow():
    p, is_all = correlated(200)
    few, many = (
        genetic_weights(p, is_all, GeneticSettings(population=20, generations=12, runs=runs))
        for runs in (2, 5)
    )
    assert few.runs == many.runs[:2]
    np.testing.assert_array_equal(few.history, many.history[:2])
    again = genetic_weights(p, is_all, GeneticSettings(population=20, generations=12, runs=2))
    np.testing.assert_array_equal(few.weights, again.weights)


@pytest.mark.parametrize(
    "wrong",
    [
        {"population": 7},
        {"population": 0},
        {"generations": 0},
        {"tournament": 0},
        {"runs": 0},
        {"crossover": 1.1},
        {"mutation": -0.1},
        {"mutation": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_no_search_can_run_with(wrong):
    with pytest.raises(BlastscopeError, match=r"give"):
        GeneticSettings(**wrong)
