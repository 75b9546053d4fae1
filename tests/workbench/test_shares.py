"""Shares, intervals and agreement against SciPy, scikit-learn and simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from blastscope.workbench.agreement import confusion, kappa
from blastscope.workbench.cell_table import CellTable
from blastscope.workbench.reviews import CODES
from blastscope.workbench.shares import clopper_pearson, lines

A, N, U, X = (CODES[name] for name in "ANUX")


def table(cells: int, sample: int | None = None, seed: int = 0) -> CellTable:
    """Cells whose model calls are ALL for the first half."""
    rng = np.random.default_rng(seed)
    p = np.where(np.arange(cells) < cells // 2, 0.9, 0.1)
    yes = np.ones(cells, bool)
    return CellTable(
        ids=list(range(cells)), sha=[""] * cells, file=[""] * cells, name=[""] * cells,
        subject=["S"] * cells, problem=[None] * cells, usable=yes, prepared=yes,
        random=rng.permutation(cells) + 1, scored=yes, p=p,
        called=np.where(p > 0.5, A, N).astype(np.int8), refer=~yes, ood=~yes,
        ood_score=np.zeros(cells), confidence=p, threshold=0.5, sample_size=sample,
    )  # fmt: skip


def line(found, code):
    return next(one for one in found if one.code == code)


def counted(cells, label, sampling="all"):
    here = np.ones(len(cells), bool)
    return line(lines(cells, label.astype(np.int8), here, sampling, "no-decision"), "counted")


@given(st.integers(1, 600).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_scipys(pair):
    hits, of = pair
    expected = binomtest(hits, of).proportion_ci(0.95, "exact")
    np.testing.assert_allclose(clopper_pearson(hits, of), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(40, 200, 14.7, 26.2), (100, 500, 16.6, 23.8)]
)
def test_intervals_of_the_design(hits, of, low, high):
    assert [round(100 * end, 1) for end in clopper_pearson(hits, of)] == [low, high]


def test_the_sample_holds_the_truth_in_95_of_100_cases():
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(400):
        truth = np.where(rng.random(1000) < rng.uniform(0.05, 0.6), A, N)
        cells = table(1000, sample=100, seed=seed)
        label = np.where(cells.in_sample, truth, 0)
        found = counted(cells, label)
        assert (found.basis, found.of) == ("sample", 100)
        held += found.low <= (truth == A).mean() <= found.high
    assert held / 400 >= 0.95


def test_doubtful_first_review_is_never_counted():
    cells = table(300)
    for labelled in (1, 50, 299):
        label = np.where(np.arange(300) < labelled, A, 0)
        found = counted(cells, label)
        assert (found.share, found.reason, found.left) == (None, "not-a-sample", 300 - labelled)
    assert counted(cells, np.full(300, A)).share == 1


def test_an_unfinished_sample_and_chosen_cells_are_not_counted():
    cells = table(300, sample=100)
    label = np.where(cells.random < 100, A, 0)
    assert (counted(cells, label).reason, counted(cells, label).left) == ("sample-incomplete", 1)
    assert counted(table(50), np.full(50, A), "selected").reason == "selected"
    assert counted(table(9), np.full(9, A)).reason == "few-cells"


def test_no_cells_and_unsure_cells_stay_outside():
    label = np.array([A] * 20 + [N] * 60 + [U] * 10 + [X] * 10)
    found = counted(table(100), label)
    assert (found.blasts, found.of) == (20, 80)
    assert (found.low, found.high) == clopper_pearson(20, 80)
    assert found.share_if_unsure_are == (20 / 90, 30 / 90)
    assert found.against == "open"


def test_people_and_model_together_are_what_counting_by_hand_gives():
    cells = table(100)  # the model calls the first 50 ALL
    label = np.zeros(100, np.int8)
    label[:10], label[90:95], label[95:97] = N, A, X
    found = line(lines(cells, label, np.ones(100, bool), "all", "no-decision"), "mixed")
    assert (found.blasts, found.of, found.low) == (45, 98, None)


@given(
    st.lists(
        st.tuples(st.sampled_from([A, N, U, X]), st.sampled_from([A, N, U, X])),
        min_size=10,
        max_size=200,
    )
)
def test_kappa_and_table_are_scikit_learns(pairs):
    first, second = (np.array(one, np.int8) for one in zip(*pairs, strict=True))
    counts = confusion(first, second)
    np.testing.assert_array_equal(counts, confusion_matrix(first, second, labels=[A, N, U, X]))
    found = kappa(counts)
    if len(set(first) | set(second)) == 1:
        assert (found.kappa, found.reason) == (None, "one-class")
        return
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    if found.reason is not None:
        assert (found.low, found.high, found.reason) == (None, None, "no-interval")
        assert (
            found.kappa == pytest.approx(1)
            or 1 in (len(set(first)), len(set(second)))
            or (found.kappa == pytest.approx(-1))
        )
        return
    assert found.low < found.kappa < found.high


def test_ten_cells_without_a_difference_do_not_make_kappa_sure():
    found = kappa(np.diag([5, 5, 0, 0]))
    assert (found.kappa, found.low, found.high) == (1.0, None, None)
    found = kappa(np.array([[0, 5], [5, 0]]))
    assert (found.kappa, found.low, found.high) == (-1.0, None, None)


def test_kappas_interval_holds_the_truth():
    rng = np.random.default_rng(1)
    share = np.array([[0.3, 0.1], [0.05, 0.55]])
    expected = share.sum(0) @ share.sum(1)
    truth = (np.trace(share) - expected) / (1 - expected)
    draws = rng.multinomial(200, share.ravel(), size=2000).reshape(-1, 2, 2)
    held = [found.low <= truth <= found.high for found in map(kappa, draws)]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("unlike", "reason"), [(20, None), (21, "mostly-ood")])
def test_no_share_by_a_model_to_which_most_cells_are_unlike(unlike, reason):
    ood = np.arange(40) < unlike
    called = np.where(ood, 0, N).astype(np.int8)
    cells = replace(table(40), ood=ood, called=called)
    row = {"cells": 40, "called": 0.0, "share": 0.0, "low": 0.0, "high": 0.1, "line": "below"}
    here = np.ones(40, bool)
    one = np.where(np.arange(40) == 39, A, 0).astype(np.int8)
    found = lines(cells, one, here, "all", row)
    assert line(found, "model").reason == reason
    assert line(found, "mixed").reason == reason
    people = np.where(ood, A, 0).astype(np.int8)  # who labelled those cells themselves
    mixed = line(lines(cells, people, here, "all", row), "mixed")
    assert (mixed.reason, mixed.blasts, mixed.of) == (None, unlike, 40)


def test_cells_without_a_label_and_a_call_are_counted_beside_the_share():
    called = np.array([A] * 20 + [N] * 15 + [0] * 5, np.int8)
    cells = replace(table(40), called=called, ood=called == 0)
    row = {"cells": 35, "called": 20 / 35, "share": 0.5, "low": 0.4, "high": 0.6, "line": "above"}
    label = np.zeros(40, np.int8)
    label[[0, 35, 36]] = A, N, U  # of those without a call, one is normal and one unsure
    found = lines(cells, label, np.ones(40, bool), "all", row)
    assert (line(found, "model").of, line(found, "model").uncounted) == (35, 5)
    assert (line(found, "mixed").of, line(found, "mixed").uncounted) == (36, 3)
    assert line(found, "counted").uncounted is None
