"""The size curve against scikit-learn: one network, two networks, a ruler and a level model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blastscope.robustness.counterfactual_size import size_curve
from blastscope.robustness.perturbations import steps

TAKEN = tuple(steps())
RNG = np.random.default_rng(3)
IS_ALL = np.repeat([True, False, True, False], [30, 30, 30, 30])
SUBJECTS = np.repeat(["a1", "n1", "a2", "n2"], [30, 30, 30, 30])
NETWORK = np.repeat([0, 1], 60)
PLAIN = np.clip(RNG.normal(np.where(IS_ALL, 0.65, 0.4), 0.15), 0.01, 0.99)


def predicted(change) -> np.ndarray:
    """The predictions at every step; ``change`` of those at a factor of scale."""
    columns = [change(PLAIN, step.value) if step.name == "scale" else PLAIN for step in TAKEN]
    return np.column_stack(columns)


def test_unchanged_is_the_mean_over_normal_subjects_of_scikit_learns_auc():
    curve = size_curve(IS_ALL, SUBJECTS, NETWORK, TAKEN, predicted(lambda p, _: p))
    each = [roc_auc_score(IS_ALL[k == NETWORK], PLAIN[k == NETWORK]) for k in (0, 1)]
    assert [one.auc for one in curve] == pytest.approx([np.mean(each)] * len(curve))
    assert {round(one.factor, 3) for one in curve} >= {1.0, 1.1, 1.2, 1.3, 0.769}
    assert curve[0].normal_called_all == pytest.approx((PLAIN[~IS_ALL] > 0.5).mean())


def test_only_normal_cells_change_for_the_auc():
    curve = size_curve(
        IS_ALL, SUBJECTS, NETWORK, TAKEN, predicted(lambda p, f: np.clip(p + (f - 1), 0, 1))
    )
    by_factor = {round(one.factor, 2): one for one in curve}
    mixed = np.where(IS_ALL, PLAIN, np.clip(PLAIN + 0.3, 0, 1))
    each = [roc_auc_score(IS_ALL[k == NETWORK], mixed[k == NETWORK]) for k in (0, 1)]
    assert by_factor[1.3].auc == pytest.approx(np.mean(each))
    assert by_factor[1.3].normal_called_all > by_factor[1.0].normal_called_all
    assert by_factor[1.3].all_called_all >= by_factor[1.0].all_called_all
    aucs = [one.auc for one in curve]
    assert aucs == sorted(aucs, reverse=True)


def test_blur_alone_costs_no_auc_between_resampled_cells():
    """A network that takes sharp for ALL: only the comparison of unlike cells sees a change."""
    blurred = np.clip(PLAIN - 0.2, 0, 1)
    curve = size_curve(IS_ALL, SUBJECTS, NETWORK, TAKEN, predicted(lambda p, _: p - 0.2))
    by_factor = {round(one.factor, 2): one for one in curve}
    assert by_factor[1.3].auc > by_factor[1.0].auc + 0.02
    each = [roc_auc_score(IS_ALL[k == NETWORK], PLAIN[k == NETWORK]) for k in (0, 1)]
    assert by_factor[1.3].auc_resampled == pytest.approx(np.mean(each))
    assert math.isnan(by_factor[1.0].auc_resampled)
    assert {one.all_factor for one in curve} == {1.05}
    mixed = [roc_auc_score(IS_ALL[k == NETWORK], np.where(IS_ALL, PLAIN, blurred)[k == NETWORK])
             for k in (0, 1)]  # fmt: skip
    assert by_factor[1.3].auc == pytest.approx(np.mean(mixed), abs=0.02)


def test_both_classes_resampled_is_scikit_learns_auc():
    curve = size_curve(
        IS_ALL, SUBJECTS, NETWORK, TAKEN, predicted(lambda p, f: p + 0.3 * (f - 1) * p)
    )
    largest = next(one for one in curve if round(one.factor, 2) == 1.3)
    scores = np.where(IS_ALL, PLAIN * 1.015, PLAIN * 1.09)
    each = [roc_auc_score(IS_ALL[k == NETWORK], scores[k == NETWORK]) for k in (0, 1)]
    assert largest.auc_resampled == pytest.approx(np.mean(each))


def test_one_class_has_no_auc():
    here = ~IS_ALL
    curve = size_curve(
        IS_ALL[here], SUBJECTS[here], NETWORK[here], TAKEN, predicted(lambda p, _: p)[here]
    )
    assert all(math.isnan(one.auc) for one in curve)
    assert all(math.isnan(one.all_called_all) for one in curve)
