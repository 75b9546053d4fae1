"""Predictive values by hand and by counting; errors."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.errors import BlastscopeError
from blastscope.evaluation.prevalence import predictive_values

IS_ALL = np.repeat([True, False], 100)
P_ALL = np.r_[np.repeat([0.9, 0.1], [90, 10]), np.repeat([0.9, 0.1], [20, 80])]
SUBJECTS = [f"s{k // 10}" for k in range(200)]


def test_altman_and_blands_formula_by_hand():
    # sensitivity .9, specificity .8, prevalence .05: 45 right of 45 + 190 calls ALL in 1,000.
    (found,) = predictive_values(IS_ALL, P_ALL, SUBJECTS, [0.05])
    assert found.ppv.value == pytest.approx(45 / 235)
    assert found.npv.value == pytest.approx(760 / 765)
    assert found.ppv.low <= found.ppv.value <= found.ppv.high


def test_at_the_samples_own_prevalence_it_is_precision():
    (found,) = predictive_values(IS_ALL, P_ALL, SUBJECTS, [0.5])
    assert found.ppv.value == pytest.approx(90 / 110)
    assert found.npv.value == pytest.approx(80 / 90)


@pytest.mark.parametrize("share", [0, 1, -0.2, 20])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(BlastscopeError):
        predictive_values(IS_ALL, P_ALL, SUBJECTS, [0.2, share])
