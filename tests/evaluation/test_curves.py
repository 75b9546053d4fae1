from __future__ import annotations

import numpy as np
import pytest

from blastscope.evaluation.curves import precision_recall_curve, roc_curve

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
