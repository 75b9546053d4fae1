"""Which calibration: the truth where it is known, and nothing where nothing can be learnt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from blastscope.decision import calibration_choice
from blastscope.decision.calibration import COLDEST, HOTTEST, fit_temperature, log_odds
from blastscope.decision.calibration_choice import choose_calibration
from tests.decision.made import cells_of_subjects, drawn


def named(is_all, subjects):
    """Give each class so many subjects."""
    return [f"{'a' if blast else 'n'}{k % subjects}" for k, blast in enumerate(is_all)]


def test_temperature_is_chosen_where_it_is_the_truth():
    is_all, p_all = drawn(6000, 1, sharper=2.5)
    calibration, choice = choose_calibration(is_all, p_all, [None] * 6000)
    assert calibration.method == "temperature"
    assert calibration.values[0] == pytest.approx(2.5, rel=0.1)
    assert choice.log_loss["temperature"] < choice.log_loss["none"]
    assert (choice.reason, choice.by, choice.folds) == ("log-loss", "cell", 5)


def test_platt_is_chosen_where_the_share_of_blasts_is_another():
    is_all, p_all = drawn(6000, 2)
    calibration, _ = choose_calibration(is_all, expit(log_odds(p_all) + 2), [None] * 6000)
    assert calibration.method == "platt"
    assert calibration.values == pytest.approx((1, -2), abs=0.1)


def test_isotonic_is_chosen_where_no_curve_fits():
    rng = np.random.default_rng(3)
    p_all = rng.random(6000)
    is_all = rng.random(6000) < np.where(p_all < 0.5, 0.3, 0.7)
    calibration, _ = choose_calibration(is_all, p_all, named(is_all, 12))
    assert calibration.method == "isotonic"
    assert calibration.apply(np.array([0.1, 0.4, 0.6, 0.9])) == pytest.approx(
        [0.3, 0.3, 0.7, 0.7], abs=0.06
    )


def test_what_is_calibrated_stays_nearly_as_it_is():
    methods = []
    for seed in range(20):
        is_all, p_all = drawn(1500, seed)
        calibration, _ = choose_calibration(is_all, p_all, [None] * 1500)
        methods.append(calibration.method)
        assert np.abs(calibration.apply(p_all) - p_all).mean() < 0.03
    assert methods.count("none") >= 10
    assert "isotonic" not in methods


def test_of_equals_the_plainest_is_taken():
    is_all = np.arange(400) % 2 == 0
    calibration, choice = choose_calibration(is_all, np.full(400, 0.5), [None] * 400)
    assert choice.log_loss["none"] == pytest.approx(np.log(2))
    assert calibration.method == "none"


@pytest.mark.parametrize("n_all", [0, 19])
def test_too_few_cells_stay_as_they_are(n_all):
    is_all, p_all = np.arange(300) < n_all, np.linspace(0.01, 0.99, 300)
    calibration, choice = choose_calibration(is_all, p_all, [None] * 300)
    assert calibration.method == "none"
    assert choice.log_loss == {}
    assert choice.reason == "few-cells"


def test_subjects_are_kept_whole(monkeypatch):
    seen = []
    whole = calibration_choice.FITS["none"]
    monkeypatch.setitem(
        calibration_choice.FITS, "none", lambda a, p: seen.append(set(p)) or whole(a, p)
    )
    is_all, _, subjects = cells_of_subjects(3, seed=5)
    _, p_all = np.unique(subjects, return_inverse=True)  # a subject's cells are told by p
    _, choice = choose_calibration(is_all, p_all / 10, subjects)
    assert (choice.by, choice.folds) == ("subject", 3)
    left_out = [set(p_all / 10) - fitted for fitted in seen[:3]]
    assert [len(names) for names in left_out] == [2, 2, 2]
    assert len(set.union(*left_out)) == 6


@pytest.mark.parametrize("n_subjects", [1, 2])
def test_from_one_or_two_subjects_nothing_is_learnt_of_others(n_subjects):
    is_all, p_all, subjects = cells_of_subjects(n_subjects, seed=6, cells=100)
    calibration, choice = choose_calibration(is_all, p_all**3, subjects)
    assert calibration.method == "none"
    assert choice.reason == "few-subjects"


@pytest.mark.parametrize("seed", range(4))
def test_what_says_nothing_of_the_labels_is_not_calibrated(seed):
    """A network that guesses gets no temperature of 403, nor a map that makes all cells alike."""
    rng = np.random.default_rng(seed)
    is_all, p_all = rng.random(800) < 0.7, expit(rng.normal(0, 12, 800))
    calibration, choice = choose_calibration(is_all, p_all, [None] * 800)
    assert (calibration.method, choice.reason) == ("none", "no-information")
    turned, choice = choose_calibration(~is_all, np.where(is_all, 0.9, 0.1), [None] * 800)
    assert (turned.method, choice.reason) == ("none", "no-information")


def test_a_temperature_is_within_bounds_or_there_is_none():
    is_all, p_all = drawn(4000, 3)
    for sharper in (0.02, 15.0):
        made = expit(log_odds(p_all) * sharper)
        found = fit_temperature(is_all, made)
        assert found is not None
        assert COLDEST < found.values[0] < HOTTEST
    assert fit_temperature(is_all, expit(log_odds(p_all) * 0.002)) is None
    guessed = np.random.default_rng(1).permutation(np.clip(p_all, 1e-6, 1 - 1e-6))
    assert fit_temperature(is_all, expit(log_odds(guessed) * 9)) is None


def test_steps_need_ten_subjects_of_each_class():
    rng = np.random.default_rng(7)
    p_all = rng.random(6000)
    is_all = rng.random(6000) < np.where(p_all < 0.5, 0.3, 0.7)

    def method(names) -> str:
        return choose_calibration(is_all, p_all, names)[0].method

    assert method(named(is_all, 12)) == "isotonic"
    assert method(named(is_all, 4)) != "isotonic"
    assert method([None] * 6000) != "isotonic"
    assert method([None, *named(is_all, 12)[1:]]) == "isotonic"
    assert method([None, *named(is_all, 4)[1:]]) != "isotonic"


@pytest.mark.parametrize("n_subjects", [2, 3])
@pytest.mark.parametrize("unnamed", [1, 60])
def test_cells_without_a_subject_do_not_switch_off_what_subjects_need(n_subjects, unnamed):
    is_all, p_all, subjects = cells_of_subjects(n_subjects, seed=6, cells=100)
    loose: list[str | None] = [None if k < unnamed else s for k, s in enumerate(subjects)]
    whole, known = choose_calibration(is_all, p_all**3, subjects)
    some, choice = choose_calibration(is_all, p_all**3, loose)
    assert (choice.reason, choice.by, choice.folds) == (known.reason, known.by, known.folds)
    assert some.method == whole.method


def test_known_subjects_stay_whole_beside_cells_without_one():
    is_all, _, subjects = cells_of_subjects(4, seed=5)
    loose = [None if k % 7 == 0 else subject for k, subject in enumerate(subjects)]
    found = calibration_choice._folds(is_all, loose, 24)
    assert found is not None
    fold, by = found
    assert by == "subject"
    for name in set(subjects):
        assert len({f for f, s in zip(fold, loose, strict=True) if s == name}) == 1
    assert len(set(fold[::7])) == 4
