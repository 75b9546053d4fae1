"""Calibration: against scikit-learn, a truth that is known, and what must hold of every map."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from blastscope.decision.calibration import (
    FITS,
    Calibration,
    fit_isotonic,
    fit_platt,
    fit_temperature,
    log_loss,
    log_odds,
)
from blastscope.errors import BlastscopeError
from tests.decision.made import drawn, labelled


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose log-odds are the one feature."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, x):
        return x[:, 0]

    def predict(self, x):
        return self.classes_[(x[:, 0] > 0).astype(int)]


GRID = np.linspace(0.001, 0.999, 199)


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8), reason="no temperature before 1.8"
)
def test_temperature_is_scikit_learns():
    from sklearn.frozen import FrozenEstimator

    is_all, p_all = drawn(5000, 1, sharper=2.5)
    x = log_odds(p_all)[:, None]
    frozen = FrozenEstimator(Given().fit(x, is_all))
    theirs = CalibratedClassifierCV(frozen, method="temperature").fit(x, is_all)
    expected = theirs.predict_proba(log_odds(GRID)[:, None])[:, 1]
    # Theirs has no softened targets: one cell in 5,000.
    assert fit_temperature(is_all, p_all).apply(GRID) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("sharper", [0.5, 1.0, 2.5])
def test_temperature_finds_the_truth(sharper):
    is_all, p_all = drawn(40_000, 2, sharper)
    assert fit_temperature(is_all, p_all).values[0] == pytest.approx(sharper, rel=0.03)


def test_platt_is_scikit_learns_and_finds_the_truth():
    is_all, p_all = drawn(4000, 3, sharper=2.0)
    found = fit_platt(is_all, p_all)
    theirs = _SigmoidCalibration().fit(log_odds(p_all), is_all)
    assert found.apply(GRID) == pytest.approx(theirs.predict(log_odds(GRID)), abs=1e-4)
    slope, intercept = found.values
    assert slope == pytest.approx(0.5, abs=0.03)
    assert intercept == pytest.approx(0, abs=0.1)


def test_platt_does_not_turn_the_order_round():
    is_all, p_all = drawn(500, 3)
    assert fit_platt(~is_all, p_all) is None
    assert fit_platt(is_all, np.full(500, 0.5)) is None


def test_isotonic_is_scikit_learns_but_for_the_share_that_keeps_order():
    is_all, p_all = drawn(1000, 4, sharper=2.0)
    theirs = IsotonicRegression(y_min=1 / 1002, y_max=1 - 1 / 1002, out_of_bounds="clip")
    theirs.fit(p_all, is_all)
    found = fit_isotonic(is_all, p_all).apply(GRID)
    assert found == pytest.approx(0.999 * theirs.predict(GRID) + 0.001 * GRID, abs=1e-12)


@given(labelled(), st.sampled_from(["temperature", "platt", "isotonic"]))
def test_every_map_rises_and_keeps_auc(cells, method):
    is_all, p_all = cells
    found = FITS[method](is_all, p_all)
    if found is None:
        return
    calibrated = found.apply(p_all)
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    values = np.unique(p_all)
    assert (np.diff(found.apply(values)) > 0).all()
    assert roc_auc_score(is_all, calibrated) == pytest.approx(
        roc_auc_score(is_all, p_all), abs=1e-12
    )
    assert Calibration.from_json(json.loads(json.dumps(asdict(found))), "a.json") == found


def test_a_network_that_is_far_out_keeps_its_order():
    """Most networks call some cells with a certainty of more than a million to one."""
    p_all = np.array([1e-9, 1e-7, 0.3, 0.5, 1 - 1e-7, 1 - 1e-8])
    for found in (
        Calibration("temperature", (0.01,)),
        Calibration("temperature", (3.0,)),
        Calibration("platt", (4.0, 2.0)),
    ):
        assert (np.diff(found.apply(p_all)) > 0).all(), found


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
def test_cells_without_an_error_are_not_called_certain(method):
    """Of forty cells no probability below about one in forty can be learnt."""
    is_all = np.arange(40) % 2 == 0
    found = FITS[method](is_all, np.where(is_all, 0.9, 0.1)).apply(np.array([0.1, 0.9]))
    assert found[0] == pytest.approx(1 - found[1], abs=1e-6)
    assert 0.015 < found[0] < 0.06


@pytest.mark.parametrize("method", list(FITS))
def test_hard_calls_can_be_calibrated(method):
    is_all = np.arange(100) < 60
    p_all = np.where(np.arange(100) % 10 == 0, ~is_all, is_all).astype(float)  # one in ten wrong
    found = FITS[method](is_all, p_all)
    calibrated = found.apply(p_all)
    assert np.isfinite(log_loss(is_all, calibrated))
    if method in ("platt", "isotonic"):  # 54 of 58 called ALL are, 36 of 42 called normal
        assert calibrated[is_all][1] == pytest.approx(54 / 58, abs=0.02)
        assert calibrated[~is_all][1] == pytest.approx(6 / 42, abs=0.02)


def test_log_loss_is_scikit_learns():
    is_all, p_all = drawn(300, 5)
    assert log_loss(is_all, p_all) == pytest.approx(sklearn_log_loss(is_all, p_all))
    assert log_loss(np.array([True]), np.array([0.0])) == pytest.approx(-np.log(1e-6))


@pytest.mark.parametrize(
    "content",
    [
        None,
        5,
        {},
        {"method": "none"},
        {"method": "none", "values": None},
        {"method": "none", "values": [1.0]},
        {"method": [], "values": []},
        {"method": "magic", "values": []},
        {"method": "temperature", "values": []},
        {"method": "temperature", "values": [0]},
        {"method": "temperature", "values": [-1]},
        {"method": "temperature", "values": ["warm"]},
        {"method": "temperature", "values": [float("nan")]},
        {"method": "temperature", "values": [10**400]},
        {"method": "platt", "values": [-1, 0]},
        {"method": "platt", "values": [1, float("inf")]},
        {"method": "isotonic", "values": [0.1, 0.2, 0.3]},
        {"method": "isotonic", "values": [0.1, 0.2, 0.4, 0.3]},
        {"method": "isotonic", "values": [0.1, 0.2, 0.4, 1.3]},
    ],
)
def test_what_is_no_calibration_is_one_sentence(content):
    with pytest.raises(BlastscopeError, match=r"a\.json has an? (damaged|unknown) calibration"):
        Calibration.from_json(content, "a.json")
