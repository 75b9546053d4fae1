"""The ridge fit of the last layer, against scikit-learn, SciPy and a calculation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from blastscope.adaptation.correction import Correction, fit_correction, ridge_logistic
from blastscope.decision.calibration import fit_platt
from blastscope.engines.last_layer import LastLayer


@pytest.fixture
def cells():
    rng = np.random.default_rng(5)
    features = rng.normal(size=(60, 9))
    true = rng.normal(size=9)
    is_all = rng.random(60) < expit(features @ true)
    return is_all, features, true + rng.normal(size=9) / 2


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_without_an_offset_it_is_scikit_learns(cells, strength):
    is_all, features, _ = cells
    columns = np.column_stack([np.ones(60), features])
    penalty = np.r_[0.0, np.full(9, 1 / strength)]
    found = ridge_logistic(columns, is_all.astype(float), penalty, np.zeros(60))
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features, is_all)
    assert found[0] == pytest.approx(theirs.intercept_[0], abs=1e-5)
    assert found[1:] == pytest.approx(theirs.coef_[0], abs=1e-5)


def test_shifted_to_old_weights_it_minimizes_the_distance_to_them(cells):
    """The same optimum as of the loss in the weights themselves, penalized around the old ones."""
    is_all, features, old = cells
    columns = np.column_stack([np.ones(60), features])
    penalty = np.r_[0.0, np.full(9, 2.0)]
    moved = ridge_logistic(columns, is_all.astype(float), penalty, features @ old)

    def loss(at):
        z = features @ at[1:] + at[0]
        distance = ((at[1:] - old) ** 2).sum()
        return (np.logaddexp(0, z) - is_all * z).sum() + 2.0 * distance / 2

    theirs = minimize(loss, np.zeros(10), method="BFGS", options={"gtol": 1e-8})
    assert moved + np.r_[0.0, old] == pytest.approx(theirs.x, abs=1e-4)


def test_two_cells_by_hand():
    """At the optimum the pull of the cells is the penalty: x (t - p) summed = penalty × weight."""
    columns = np.array([[1.0, 1.0], [1.0, -1.0]])
    found = ridge_logistic(columns, np.array([1.0, 0.0]), np.array([0.0, 0.5]), np.zeros(2))
    assert found[0] == pytest.approx(0, abs=1e-7)
    # 2 (1 - p) = w / 2 with p = 1 / (1 + exp(-w)) has the solution w = 1.0426
    assert 2 * (1 - 1 / (1 + np.exp(-found[1]))) == pytest.approx(found[1] / 2, abs=1e-7)
    assert found[1] == pytest.approx(1.0426, abs=5e-4)


def test_a_penalty_without_end_leaves_platts_curve(cells):
    is_all, features, old = cells
    logits = features @ old
    found = fit_correction(is_all, logits, features, strength=1e-9)
    slope, intercept = fit_platt(is_all, expit(logits)).values
    assert found.slope == pytest.approx(slope)
    assert found.intercept == pytest.approx(intercept, abs=1e-4)
    assert np.abs(found.weight).max() < 1e-6


def test_a_corrected_layer_gives_the_corrected_logits(cells):
    is_all, features, old = cells
    layer = LastLayer(old, 0.3)
    logits = layer.logits(features)
    found = fit_correction(is_all, logits, features)
    assert found.of(layer).logits(features) == pytest.approx(found.logits(logits, features))
    assert np.abs(found.weight).max() > 1e-3


def test_in_the_space_of_the_cells_the_fit_is_the_same():
    """More features than cells: the correction lies in the space that the cells span."""
    rng = np.random.default_rng(2)
    features, is_all = rng.normal(size=(30, 200)), np.arange(30) % 2 == 0
    logits = np.where(is_all, 0.4, -0.4) + rng.normal(size=30)
    found = fit_correction(is_all, logits, features, strength=0.5)
    centred = features - features.mean(0)
    size = np.sqrt((centred**2).sum(1).mean())
    columns = np.column_stack([np.ones(30), centred / size])
    target = np.where(is_all, 16 / 17, 1 / 17)
    whole = ridge_logistic(columns, target, np.r_[0.0, np.full(200, 2.0)], found.slope * logits)
    assert found.weight == pytest.approx(whole[1:] / size, abs=1e-8)


def test_logits_that_say_nothing_are_not_corrected(cells):
    is_all, features, _ = cells
    assert fit_correction(is_all, -10.0 * is_all + 5.0, features) is None
    assert isinstance(fit_correction(is_all, 2.0 * is_all - 1.0, features), Correction)
