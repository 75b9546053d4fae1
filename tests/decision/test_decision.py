"""Decisions: what they decide hangs together, and they are read as they were written."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.decision.calibration import FITS
from blastscope.decision.decision import Decision, DecisionRequest, fit_decision
from blastscope.decision.operating_point import OperatingRule
from blastscope.decision.referral import sureness
from blastscope.errors import BlastscopeError
from tests.decision.made import cells_of_subjects, drawn, labelled

CELLS = cells_of_subjects(20, 1)


@pytest.fixture(scope="module")
def decision():
    return fit_decision(*CELLS, DecisionRequest())


def written(decision: Decision) -> dict:
    return json.loads(json.dumps(decision.as_json()))


@pytest.mark.parametrize("rule", ["sensitivity>=0.973", "youden", "cost=7.5", "half"])
@pytest.mark.parametrize("subjects", [True, False])
def test_it_is_read_as_it_was_written(rule, subjects):
    is_all, p_all, names = CELLS
    request = DecisionRequest().changed(rule=rule, error=0.03, coverage=0.8)
    found = fit_decision(is_all, p_all, names if subjects else [None] * len(names), request)
    again = Decision.from_json(written(found), "d.json")
    assert again == found
    assert (again.reference is None) is not subjects
    before, after = found.apply(p_all), again.apply(p_all)
    assert all(np.array_equal(vars(before)[name], vars(after)[name]) for name in vars(before))


def test_that_every_method_is_read_again(decision):
    for name, fit in FITS.items():
        content = {**written(decision), "calibration": vars(fit(*CELLS[:2]))}
        assert Decision.from_json(json.loads(json.dumps(content)), "d").calibration.method == name


@settings(max_examples=40)
@given(labelled(fewest=10), st.sampled_from(["sensitivity>=0.9", "youden", "cost=3", "half"]))
def test_what_is_decided_hangs_together(cells, rule):
    is_all, p_all = cells
    request = DecisionRequest().changed(rule=rule, error=0.1, coverage=0.8)
    found = fit_decision(is_all, p_all, [None] * len(is_all), request)
    assert found == Decision.from_json(written(found), "d.json")
    of = found.apply(p_all)
    assert np.array_equal(of.called, of.p_all > found.point.threshold)
    assert np.array_equal(of.sure, sureness(of.p_all, of.called))
    assert np.array_equal(of.refer, of.sure < found.referral.threshold)
    assert np.array_equal(of.sets[:, 1], of.p_all >= found.conformal.least_all)
    assert np.array_equal(of.sets[:, 0], 1 - of.p_all >= found.conformal.least_hem)
    assert of.called[is_all].mean() == pytest.approx(found.point.sensitivity)
    assert (~of.called)[~is_all].mean() == pytest.approx(found.point.specificity)
    kept = ~of.refer
    assert kept.mean() == pytest.approx(found.referral.kept)
    if kept.any():
        assert (of.called != is_all)[kept].mean() == pytest.approx(found.referral.error)
        assert found.referral.error <= 0.1
    some = np.arange(len(p_all)) % 3 == 0  # of a cell the same, whatever lies beside it
    assert np.array_equal(found.apply(p_all[some]).called, of.take(some).called)


def test_a_network_that_is_too_sure_is_cooled_before_anything_is_decided():
    is_all, p_all = drawn(4000, 2, sharper=2.5)
    found = fit_decision(is_all, p_all, [None] * 4000, DecisionRequest().changed(rule="half"))
    assert found.calibration.method in ("temperature", "platt")
    assert found.calibration.values[0] == pytest.approx(
        2.5 if found.calibration.method == "temperature" else 0.4, rel=0.1
    )
    of = found.apply(p_all)
    assert of.sure.mean() == pytest.approx((of.called == is_all).mean(), abs=0.02)


def test_subjects_are_counted(decision):
    assert (decision.cells, decision.subjects) == (800, 40)
    assert len(decision.reference.all_cells) == len(decision.reference.hem_cells) == 20
    assert sum(decision.reference.all_called) / 400 == pytest.approx(decision.point.sensitivity)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("calibration", {"method": "temperature", "values": [-1]}),
        ("choice.log_loss", [0.1]),
        ("choice.log_loss", {"none": "low"}),
        ("choice.reason", "luck"),
        ("choice.by", 3),
        ("point", None),
        ("point", []),
        ("point.rule", "best"),
        ("point.rule", 5),
        ("point.threshold", "high"),
        ("point.threshold", None),
        ("point.threshold", 1.5),
        ("point.threshold", -2),
        ("point.threshold", float("nan")),
        ("point.more", 1),
        ("referral.threshold", 2.5),
        ("referral.wanted", [0.05]),
        ("conformal.least_all", -0.1),
        ("conformal.promised", "much"),
        ("reference", {}),
        ("reference.all_cells", [0] * 20),
        ("reference.all_cells", [10]),
        ("reference.hem_called", [10**6] * 20),
        ("reference.hem_called", [-1] * 20),
        ("reference.hem_called", "all"),
        ("cells", "many"),
        ("cells", float("inf")),
    ],
)
def test_what_was_tampered_with_is_one_sentence(decision, place, value):
    content = copy.deepcopy(written(decision))
    *path, last = place.split(".")
    inner = content
    for name in path:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(BlastscopeError, match=r"^d\.json has "):
        Decision.from_json(content, "d.json")


@pytest.mark.parametrize(
    "name",
    [
        "calibration",
        "choice",
        "point",
        "referral",
        "conformal",
        "reference",
        "cells",
        "subjects",
    ],
)
def test_what_is_missing_is_one_sentence(decision, name):
    content = written(decision)
    del content[name]
    with pytest.raises(BlastscopeError, match=rf"^d\.json has .*{name}"):
        Decision.from_json(content, "d.json")


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_what_is_no_object_is_one_sentence(content):
    with pytest.raises(BlastscopeError, match=r"^d\.json has no decision"):
        Decision.from_json(content, "d.json")


def test_a_number_written_as_text_is_a_number(decision):
    content = written(decision)
    content["point"]["threshold"] = "0.25"
    found = Decision.from_json(content, "d.json")
    assert (
        found.apply(np.array([0.2, 0.3])).called.tolist()
        == (found.calibration.apply(np.array([0.2, 0.3])) > 0.25).tolist()
    )


def test_wishes():
    assert DecisionRequest() == DecisionRequest(OperatingRule("sensitivity", 0.95), 0.05, 0.9)
    assert DecisionRequest().changed(error=0.1) == DecisionRequest(
        OperatingRule("sensitivity", 0.95), 0.1, 0.9
    )
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(BlastscopeError, match=r"error .* is out of range"):
            DecisionRequest().changed(error=share)
        with pytest.raises(BlastscopeError, match=r"coverage .* is out of range"):
            DecisionRequest().changed(coverage=share)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_cells_that_are_all_alike_can_be_decided_of(p):
    is_all = np.arange(60) < 40
    found = fit_decision(
        is_all, np.full(60, p), ["A" if t else "H" for t in is_all], DecisionRequest()
    )
    of = found.apply(np.full(60, p))
    assert of.called.all()  # nothing else misses none
    assert of.refer.all()  # a third is wrong, and none can be told from another


def test_ten_cells_can_be_decided_of():
    is_all = np.arange(10) < 5
    found = fit_decision(
        is_all, np.linspace(0.9, 0.1, 10), [str(k) for k in range(10)], DecisionRequest()
    )
    assert found.calibration.method == "none"
    assert found.apply(np.linspace(0, 1, 5)).sets.all()  # too few for any to be let out
