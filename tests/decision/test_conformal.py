"""Conformal sets: by hand, and the promise kept by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from blastscope.decision.conformal import Conformal, fit_conformal


def test_by_hand():
    """Of nine cells, 80 %: two of ten may fall out, so the second lowest lets in."""
    of_all, of_hem = np.linspace(0.1, 0.9, 9), np.linspace(0.05, 0.45, 9)
    is_all = np.arange(18) < 9
    found = fit_conformal(is_all, np.r_[of_all, of_hem], 0.8)
    assert found.least_all == pytest.approx(0.2)
    assert found.least_hem == pytest.approx(0.6)  # of .95, .9, ... .55
    sets = found.sets(np.array([0.1, 0.2, 0.4, 0.41, 0.9]))
    assert sets.tolist() == [
        [True, False],
        [True, True],
        [True, True],
        [False, True],
        [False, True],
    ]


def test_a_set_may_be_empty():
    assert not Conformal(0.5, 0.8, 0.8).sets(np.array([0.5])).any()


@pytest.mark.parametrize(("cells", "promised"), [(8, 0.9), (1, 0.5001), (18, 0.95)])
def test_too_few_cells_put_every_label_into_every_set(cells, promised):
    """One of n + 1 has to be let out: with n below that none can be."""
    p_all = np.random.default_rng(1).random(2 * cells)
    found = fit_conformal(np.arange(2 * cells) < cells, p_all, promised)
    assert (found.least_all, found.least_hem) == (0.0, 0.0)
    assert found.sets(np.array([0.0, 0.5, 1.0])).all()
    more = fit_conformal(np.arange(60) < 30, np.random.default_rng(1).random(60), promised)
    assert more.least_all > 0


@pytest.mark.parametrize(("n", "promised"), [(19, 0.9), (50, 0.9), (33, 0.8), (120, 0.95)])
def test_of_exchangeable_cells_the_promise_is_kept_in_each_class(n, promised):
    """Mean coverage of 1,000 fits lies between the promise and 1 / (n + 1) more (Vovk)."""
    rng = np.random.default_rng(24)
    is_all, held = np.arange(2 * n) < n, []
    for _ in range(1000):
        p_all = expit(rng.normal(np.where(is_all, 1.0, -1.0), 1.0))
        found = fit_conformal(is_all, p_all, promised)
        blasts = found.sets(expit(rng.normal(1, 1, 100)))[:, 1].mean()
        normal = found.sets(expit(rng.normal(-1, 1, 100)))[:, 0].mean()
        held.append((blasts, normal))
    noise = 4 * np.std(held, axis=0) / np.sqrt(1000)
    mean = np.mean(held, axis=0)
    assert (mean >= promised - noise).all()
    assert (mean <= promised + 1 / (n + 1) + noise).all()


@given(st.integers(1, 40), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 1000))
def test_it_holds_on_the_cells_it_was_fitted_on(n, promised, seed):
    is_all, p_all = np.arange(2 * n) < n, np.random.default_rng(seed).integers(0, 20, 2 * n) / 19
    sets = fit_conformal(is_all, p_all, promised).sets(p_all)
    for held in (sets[is_all, 1], sets[~is_all, 0]):
        assert held.mean() >= promised - 1 / n - 1e-9


def test_more_is_promised_with_larger_sets():
    is_all, p_all = np.arange(400) < 200, np.random.default_rng(3).random(400)
    sizes = [fit_conformal(is_all, p_all, share).sets(p_all).sum() for share in (0.5, 0.8, 0.95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]
