"""Calibration error: by hand, by a plain loop, by scikit-learn, and what chance makes of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from scipy.special import expit
from sklearn.metrics import brier_score_loss, log_loss

from blastscope.decision import reliability as reliability_module
from blastscope.decision.reliability import calibration_error, equal_mass_bins, reliability
from blastscope.evaluation.bootstrap import resampling
from tests.decision.made import cells_of_subjects, drawn, labelled


def judged(is_all, p_all, subjects=None):
    return reliability(is_all, p_all, resampling(is_all, subjects or [None] * len(is_all)))


def test_by_hand():
    """Two bins: .1 .2 .3 with one ALL of three, .6 .7 .8 .9 with three of four."""
    p_all = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8, 0.9])
    is_all = np.array([False, True, False, True, False, True, True])
    place = np.array([0, 0, 0, 1, 1, 1, 1])
    expected = 3 / 7 * abs(1 / 3 - 0.2) + 4 / 7 * abs(3 / 4 - 0.75)
    assert calibration_error(is_all, p_all, place) == pytest.approx(expected)


def test_bins_hold_as_many_cells_each(monkeypatch):
    p_all = np.random.default_rng(1).random(1500)
    assert set(np.bincount(equal_mass_bins(p_all))) <= {99, 100, 101}
    monkeypatch.setattr(reliability_module, "BINS", 4)
    assert np.bincount(equal_mass_bins(p_all)).tolist() == [375] * 4


def test_hard_calls_make_two_bins_and_one_value_one():
    assert equal_mass_bins(np.array([0.0, 1.0, 1.0, 0.0, 1.0])).tolist() == [0, 1, 1, 0, 1]
    assert equal_mass_bins(np.full(30, 0.4)).tolist() == [0] * 30


@given(labelled())
def test_bins_are_in_order_and_keep_equals_together(cells):
    _, p_all = cells
    place = equal_mass_bins(p_all)
    assert set(place) == set(range(place.max() + 1))
    assert place.max() < 15
    order = np.argsort(p_all)
    assert (np.diff(place[order]) >= 0).all()
    for value in set(p_all):
        assert len(set(place[p_all == value])) == 1


@given(labelled())
def test_the_metrics_are_those_of_a_plain_loop(cells):
    is_all, p_all = cells
    found = judged(is_all, p_all)
    place, error = equal_mass_bins(p_all), 0.0
    for number in range(place.max() + 1):
        here = [k for k in range(len(p_all)) if place[k] == number]
        predicted = sum(p_all[k] for k in here) / len(here)
        observed = sum(is_all[k] for k in here) / len(here)
        error += len(here) / len(p_all) * abs(predicted - observed)
        assert found.predicted[number] == pytest.approx(predicted)
        assert found.observed[number] == pytest.approx(observed)
        assert found.cells[number] == len(here)
    assert found.ece == pytest.approx(error)
    assert found.brier == pytest.approx(brier_score_loss(is_all, p_all))
    assert found.log_loss == pytest.approx(log_loss(is_all, np.clip(p_all, 1e-6, 1 - 1e-6)))


def test_of_calibrated_cells_the_error_is_what_chance_makes():
    found = [judged(*drawn(600, seed)) for seed in range(60)]
    errors, chances = np.array([(f.ece, f.by_chance) for f in found]).T
    assert errors.mean() == pytest.approx(chances.mean(), rel=0.07)
    assert np.ptp(chances) < 0.01


def test_of_calibrated_subjects_the_error_is_nearly_what_their_draw_makes():
    """Cells of one subject go astray together, by more than single cells would."""
    found = [cells_of_subjects(40, seed, cells=50) for seed in range(20)]
    errors, by_person, by_cell = np.array(
        [
            (judged(*cells).ece, judged(*cells).by_chance, judged(*cells[:2]).by_chance)
            for cells in found
        ]
    ).mean(axis=0)
    assert 0.85 * errors < by_person < 1.05 * errors
    assert by_cell < 0.75 * errors


def test_a_gap_of_one_tenth_is_seen():
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1, 50_000)
    found = judged(rng.random(50_000) < expit(z) * 0.8 + 0.1, expit(z) * 0.8)
    assert found.ece == pytest.approx(0.1, abs=0.01)
    assert found.by_chance < 0.01


def test_certain_and_right_has_no_error():
    is_all = np.arange(20) < 8
    found = judged(is_all, is_all.astype(float))
    assert (found.ece, found.by_chance, found.brier) == (0, 0, 0)
    assert found.observed.tolist() == [0, 1]


def test_many_cells_take_seconds():
    is_all, p_all = drawn(300_000, 1)
    before = time.process_time()
    judged(is_all, p_all)
    assert time.process_time() - before < 10
