from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.evaluation.metrics import compute_metrics

KEYS = [
    *("weighted_f1", "accuracy", "balanced_accuracy", "auc", "average_precision", "mcc"),
    *("precision_all", "recall_all", "precision_hem", "recall_hem"),
    *("tn", "fp", "fn", "tp", "n", "n_subjects"),
]


def from_counts(tn: int, fp: int, fn: int, tp: int) -> dict[str, float | int | None]:
    is_all = np.repeat([False, False, True, True], [tn, fp, fn, tp])
    p_all = np.repeat([0.1, 0.9, 0.1, 0.9], [tn, fp, fn, tp])
    return compute_metrics(is_all, p_all)


def test_the_papers_weighted_ensemble():
    """Paper, 3.4.3: weighted F1 .9552 and the two rows of its classification report."""
    found = from_counts(tn=636, fp=60, fn=35, tp=1402)
    assert round(found["weighted_f1"], 4) == 0.9552
    assert round(found["precision_hem"], 4) == 0.9478
    assert round(found["recall_hem"], 4) == 0.9138
    assert round(found["precision_all"], 4) == 0.9590
    assert round(found["recall_all"], 4) == 0.9756
    assert round(found["accuracy"], 4) == 0.9555
    assert (found["n"], found["tn"], found["fp"], found["fn"], found["tp"]) == (
        2133, 636, 60, 35, 1402,
    )  # fmt: skip


def test_the_papers_plain_average():
    found = from_counts(tn=619, fp=77, fn=28, tp=1409)
    assert round(found["weighted_f1"], 4) == 0.9503
    assert round(found["recall_hem"], 4) == 0.8894
    assert round(found["precision_hem"], 4) == 0.9567


def test_calling_every_cell_of_the_preliminary_set_all():
    """1,219 ALL and 648 normal: weighted F1 = share x F1 of ALL = .653 x .790, by hand."""
    found = from_counts(tn=0, fp=648, fn=0, tp=1219)
    share = 1219 / 1867
    assert found["weighted_f1"] == pytest.approx(share * 2 * share / (share + 1))
    assert found["precision_hem"] == 0
    assert found["recall_hem"] == 0
    assert found["mcc"] == 0
    assert found["balanced_accuracy"] == pytest.approx(0.5)


def test_by_hand():
    """p of ALL .9 .4, of normal .6 .2 .1: 5 of the 6 pairs are in order."""
    found = compute_metrics(
        np.array([True, True, False, False, False]),
        np.array([0.9, 0.4, 0.6, 0.2, 0.1]),
        ["S1", "S1", "H1", None, "H2"],
    )
    assert list(found) == KEYS
    assert found["auc"] == pytest.approx(5 / 6)
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["mcc"] == pytest.approx((1 * 2 - 1 * 1) / (2 * 3 * 2 * 3) ** 0.5)
    assert found["n_subjects"] == 3


def test_an_exact_half_is_normal():
    found = compute_metrics(np.array([True, False]), np.array([0.5, 0.5]))
    assert (found["fn"], found["tn"]) == (1, 1)
    assert found["n_subjects"] is None


@pytest.mark.parametrize("is_all", [True, False])
def test_one_class_leaves_what_needs_two_undefined(is_all):
    found = compute_metrics(np.array([is_all] * 3), np.array([0.9, 0.9, 0.1]))
    undefined = {name for name, value in found.items() if value is None}
    absent = "recall_hem" if is_all else "recall_all"
    assert undefined == {
        "auc", "average_precision", "mcc", "balanced_accuracy", "n_subjects", absent,
    }  # fmt: skip
    assert found["accuracy"] == pytest.approx(2 / 3 if is_all else 1 / 3)


def test_no_cells_and_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="must match"):
        compute_metrics(np.array([], dtype=bool), np.array([]))
    with pytest.raises(ValueError, match="must match"):
        compute_metrics(np.array([True]), np.array([0.1, 0.2]))


# Steps of 1/64 but for the threshold itself: exact in binary, so that 1 - p mirrors p.
cells = st.lists(
    st.tuples(st.booleans(), st.integers(0, 64).filter(lambda k: k != 32).map(lambda k: k / 64)),
    min_size=1,
    max_size=60,
)


@settings(max_examples=25, deadline=None)
@given(cells, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_shares_are_shares(rows, random):
    shuffled = random.sample(rows, len(rows))
    first, second = (
        compute_metrics(*(np.array(column) for column in zip(*order, strict=True)))
        for order in (rows, shuffled)
    )
    assert first == pytest.approx(second)
    for name, value in first.items():
        if isinstance(value, float):
            assert (-1 if name == "mcc" else 0) <= value <= 1
    assert first["tn"] + first["fp"] + first["fn"] + first["tp"] == len(rows)


@settings(max_examples=25, deadline=None)
@given(cells)
def test_swapping_the_classes_swaps_the_metrics(rows):
    is_all, p_all = (np.array(column) for column in zip(*rows, strict=True))
    one, other = compute_metrics(is_all, p_all), compute_metrics(~is_all, 1 - p_all)
    for name in ("weighted_f1", "accuracy", "balanced_accuracy", "auc", "mcc"):
        assert one[name] == pytest.approx(other[name])
    assert one["precision_all"] == other["precision_hem"]
    assert one["recall_hem"] == other["recall_all"]
    assert (one["tn"], one["fp"]) == (other["tp"], other["fn"])
