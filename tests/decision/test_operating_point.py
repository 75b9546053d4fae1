"""Operating points: what can be asked for, and the best of all thresholds by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from blastscope.decision.operating_point import OperatingRule, choose_point, read_rule
from blastscope.errors import BlastscopeError
from blastscope.report.decision_text import rule_text
from tests.decision.made import drawn, labelled


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sensitivity>=0.95", OperatingRule("sensitivity", 0.95)),
        (" Sensitivity >= .9 ", OperatingRule("sensitivity", 0.9)),
        ("specificity>=0.8", OperatingRule("specificity", 0.8)),
        ("YOUDEN", OperatingRule("youden")),
        ("half", OperatingRule("half")),
        ("cost=5", OperatingRule("cost", 5)),
        ("cost = 0.5", OperatingRule("cost", 0.5)),
    ],
)
def test_rules_are_read(text, rule):
    assert read_rule(text) == rule
    assert read_rule(str(rule)) == rule
    assert f"{rule.value:g}" in rule_text(rule) or rule.kind in ("youden", "half")


@given(st.sampled_from(["sensitivity", "specificity", "cost"]), st.floats(1e-9, 1 - 1e-9))
def test_every_rule_is_written_as_it_is_read(kind, value):
    assert read_rule(str(OperatingRule(kind, value))) == OperatingRule(kind, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a rule"),
        ("best", "is not a rule"),
        ("sensitivity", "is not a rule"),
        ("sensitivity=0.9", "is not a rule"),
        ("sensitivity>0.9", "is not a rule"),
        ("cost>=5", "is not a rule"),
        ("sensitivity>=-1", "is not a rule"),
        ("sensitivity>=nan", "is not a rule"),
        ("youden=1", "is not a rule"),
        ("sensitivity>=0.9.5", "is not a number"),
        ("sensitivity>=.", "is not a number"),
        ("sensitivity>=0", "out of range"),
        ("sensitivity>=1", "out of range"),
        ("specificity>=95", "out of range"),
        ("cost=0", "cost=0 is out of range"),
        ("cost=1001", "cost=1001 is out of range"),
    ],
)
def test_what_is_no_rule_is_one_sentence(text, said):
    with pytest.raises(BlastscopeError, match=said) as found:
        read_rule(text)
    assert str(found.value).endswith(".")


def all_points(is_all, p_all):
    """Missed blasts and false alarms of every cut between two neighbours, from -inf to +inf."""
    for below in (-1.0, *sorted(set(p_all))):
        called = p_all > below
        yield int((~called & is_all).sum()), int((called & ~is_all).sum())


RULES = [
    OperatingRule("sensitivity", 0.8),
    OperatingRule("specificity", 0.7),
    OperatingRule("youden"),
    OperatingRule("cost", 3),
]


@given(labelled(), st.sampled_from(RULES))
def test_no_threshold_is_better(cells, rule):
    is_all, p_all = cells
    n_all, n_hem = int(is_all.sum()), int((~is_all).sum())
    point = choose_point(rule, is_all, p_all)
    called = p_all > point.threshold
    missed, alarms = int((~called & is_all).sum()), int((called & ~is_all).sum())
    assert point.sensitivity == (n_all - missed) / n_all
    assert point.specificity == (n_hem - alarms) / n_hem
    others = list(all_points(is_all, p_all))
    if rule.kind == "sensitivity":
        assert point.sensitivity >= 0.8
        assert alarms == min(a for m, a in others if (n_all - m) / n_all >= 0.8)
    elif rule.kind == "specificity":
        assert point.specificity >= 0.7
        assert missed == min(m for m, a in others if (n_hem - a) / n_hem >= 0.7)
    elif rule.kind == "youden":
        best = min(m * n_hem + a * n_all for m, a in others)
        assert missed * n_hem + alarms * n_all == best
        assert missed == min(m for m, a in others if m * n_hem + a * n_all == best)
    else:
        best = min(3 * m + a for m, a in others)
        assert 3 * missed + alarms == best
        assert missed == min(m for m, a in others if 3 * m + a == best)


@given(labelled(), st.floats(0.01, 0.99))
def test_what_is_asked_for_is_reached_where_it_is_chosen(cells, wanted):
    is_all, p_all = cells
    for kind in ("sensitivity", "specificity"):
        point = choose_point(OperatingRule(kind, wanted), is_all, p_all)
        assert getattr(point, kind) >= wanted


@pytest.mark.parametrize("right", range(1, 100))
def test_93_of_100_are_93_percent(right):
    """1 - 7/100 is a little below .93 in binary fractions."""
    p_all = np.r_[np.full(right, 0.9), np.full(100 - right, 0.2), np.full(50, 0.5)]
    is_all = np.arange(150) < 100
    point = choose_point(OperatingRule("sensitivity", right / 100), is_all, p_all)
    assert (point.sensitivity, point.specificity) == (right / 100, 1.0)
    turned = choose_point(OperatingRule("specificity", right / 100), ~is_all, 1 - p_all)
    assert (turned.sensitivity, turned.specificity) == (1.0, right / 100)


def test_youden_is_scikit_learns():
    is_all, p_all = drawn(3000, 1)
    false, true, _ = roc_curve(is_all, p_all, drop_intermediate=False)
    point = choose_point(OperatingRule("youden"), is_all, p_all)
    assert point.sensitivity + point.specificity - 1 == pytest.approx((true - false).max())


def test_a_dear_miss_moves_the_threshold_to_one_in_cost_and_one():
    """Of calibrated probabilities the best threshold is 1 / (1 + cost)."""
    is_all, p_all = drawn(200_000, 2)
    for cost in (1, 4, 9):
        point = choose_point(OperatingRule("cost", cost), is_all, p_all)
        assert point.threshold == pytest.approx(1 / (1 + cost), abs=0.04)


def test_half_chooses_nothing():
    is_all, p_all = np.array([True, True, False, False]), np.array([0.5, 0.6, 0.1, 0.7])
    point = choose_point(OperatingRule("half"), is_all, p_all)
    assert (point.threshold, point.sensitivity, point.specificity) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_equal_probabilities_are_all_called_or_none(rule, p):
    is_all = np.array([True, True, False])
    point = choose_point(rule, is_all, np.full(3, p))
    assert point.sensitivity == 1 - point.specificity
    assert -1e-6 <= point.threshold <= 1


def test_an_all_cell_that_is_taken_for_certainly_normal_can_be_reached():
    is_all, p_all = np.array([True, True, False, False]), np.array([0.0, 0.9, 0.0, 0.4])
    point = choose_point(OperatingRule("sensitivity", 0.95), is_all, p_all)
    assert (point.sensitivity, point.specificity) == (1.0, 0.0)
    assert (p_all > point.threshold).all()
