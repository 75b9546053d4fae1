from __future__ import annotations

import numpy as np
import pytest

from blastscope.evaluation.curves import decision_curve, precision_recall_curve, roc_curve

TRUTH = np.array([True, True, False, False])
SCORE = np.array([0.9, 0.4, 0.6, 0.1])


def test_roc_by_hand():
    curve = roc_curve(TRUTH, SCORE, 0.5)
    assert list(zip(curve.x, curve.y, strict=True)) == [
        (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1),
    ]  # fmt: skip
    assert curve.area == pytest.approx(np.trapezoid(curve.y, curve.x))
    assert curve.decision == (0.5, 0.5)


def test_precision_and_recall_by_hand():
    curve = precision_recall_curve(TRUTH, SCORE, 0.5)
    points = dict(zip(curve.x, curve.y, strict=True))
    assert points[1.0] == pytest.approx(0.5)
    assert curve.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve.decision == (0.5, 0.5)
    assert (np.diff(curve.x) >= 0).all()


def test_no_call_has_no_precision():
    assert precision_recall_curve(TRUTH, SCORE / 10, 0.5).decision is None


def test_net_benefit_by_hand():
    curve = decision_curve(TRUTH, SCORE)
    at = {round(float(t), 2): k for k, t in enumerate(curve.threshold)}
    # From .5 on: .9 is right, .6 is wrong; each false alarm costs as much as a blast brings.
    assert curve.model[at[0.5]] == pytest.approx(1 / 4 - 1 / 4)
    assert curve.every_cell[at[0.5]] == pytest.approx(0)
    # From .2 on: .9 and .4 are right, .6 is wrong, which costs a quarter.
    assert curve.model[at[0.2]] == pytest.approx(2 / 4 - 1 / 4 * 0.25)
    assert curve.every_cell[at[0.2]] == pytest.approx(0.5 - 0.5 * 0.25)
    # A threshold of .05 calls every cell ALL.
    assert curve.model[at[0.05]] == pytest.approx(curve.every_cell[at[0.05]])
