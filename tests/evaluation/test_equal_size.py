"""AUC at equal size against every pair by hand, scikit-learn and cells that only size tells."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.cell_pairs import ScoredCells, add_up_pairs, units_of
from blastscope.evaluation.equal_size import CALIPER, equal_size_auc, overlap_weights


def drawn_cells(seed: int = 1, subjects: int = 6, per_subject: int = 15, folds: int = 0):
    """Subjects of both classes; p rises with size and with what the class adds."""
    rng = np.random.default_rng(seed)
    names = np.repeat(np.arange(2 * subjects), per_subject)
    is_all = names < subjects
    size = np.where(is_all, 220.0, 190.0) + rng.normal(0, 20, len(names))
    p_all = 1 / (
        1 + np.exp(-((size - 205) / 20 + np.where(is_all, 0.7, -0.7) + rng.normal(size=len(names))))
    )
    fold = names % folds if folds else None
    return ScoredCells(is_all, np.round(p_all, 2), size, fold), [f"s{name}" for name in names]


def by_hand(cells: ScoredCells, caliper: float) -> tuple[float, int]:
    ordered, pairs = 0.0, 0
    for i, j in product(np.flatnonzero(cells.is_all), np.flatnonzero(~cells.is_all)):
        near = abs(cells.size[i] - cells.size[j]) <= caliper * (cells.size[i] + cells.size[j]) / 2
        if not near or (cells.fold is not None and cells.fold[i] != cells.fold[j]):
            continue
        pairs += 1
        ordered += (cells.p_all[i] > cells.p_all[j]) + (cells.p_all[i] == cells.p_all[j]) / 2
    return ordered / pairs, pairs


@pytest.mark.parametrize("folds", [0, 3])
def test_matched_pairs_are_those_of_a_loop(folds):
    cells, subjects = drawn_cells(folds=folds)
    found = equal_size_auc(cells, subjects)
    auc, pairs = by_hand(cells, CALIPER)
    assert found.matched.value == pytest.approx(auc)
    assert found.pairs == pairs
    assert found.matched.low < auc < found.matched.high


def test_all_pairs_are_scikit_learns_auc_and_weights_its_sample_weight():
    cells, subjects = drawn_cells(seed=2)
    codes, first = units_of(resampling(cells.is_all, subjects))
    sums, one = add_up_pairs(cells, codes), np.ones((1, len(first)))
    assert sums.auc(one)[0] == pytest.approx(roc_auc_score(cells.is_all, cells.p_all))
    weight = np.random.default_rng(3).uniform(0.1, 2, len(subjects))
    theirs = roc_auc_score(cells.is_all, cells.p_all, sample_weight=weight)
    assert add_up_pairs(cells, codes, weight=weight).auc(one)[0] == pytest.approx(theirs)


def test_a_drawn_subject_counts_as_often_as_it_was_drawn():
    cells, subjects = drawn_cells(seed=5)
    codes, first = units_of(resampling(cells.is_all, subjects))
    times = np.random.default_rng(6).integers(0, 3, len(first)).astype(float)
    theirs = roc_auc_score(cells.is_all, cells.p_all, sample_weight=times[codes])
    assert add_up_pairs(cells, codes).auc(times[None])[0] == pytest.approx(theirs)


def test_a_ruler_is_near_one_half_and_a_model_that_knows_more_is_not():
    cells, subjects = drawn_cells(seed=7, subjects=10, per_subject=40)
    ruler = ScoredCells(cells.is_all, cells.size / 300, cells.size)
    alone = equal_size_auc(ruler, subjects)
    assert roc_auc_score(cells.is_all, ruler.p_all) > 0.8
    assert 0.5 < alone.matched.value < 0.62  # what a caliper of 5 % leaves
    assert alone.weighted.value == pytest.approx(0.5, abs=0.06)
    assert alone.size.value == alone.matched.value
    knows = equal_size_auc(cells, subjects)
    assert knows.matched.value > 0.7
    assert knows.weighted.value > 0.7


def test_overlap_weights_balance_mean_and_square():
    cells, _ = drawn_cells(seed=8, per_subject=60)
    weight = overlap_weights(cells.is_all, cells.size)
    for power in (1, 2):
        means = [
            np.average(cells.size[which] ** power, weights=weight[which])
            for which in (cells.is_all, ~cells.is_all)
        ]
        assert means[0] == pytest.approx(means[1], rel=2e-4)


def test_without_a_pair_of_equal_size_there_is_no_auc():
    is_all = np.repeat([True, False], 12)
    cells = ScoredCells(is_all, np.linspace(0, 1, 24), np.where(is_all, 300.0, 100.0))
    found = equal_size_auc(cells, [f"s{k // 3}" for k in range(24)])
    assert not found.matched.known
    assert found.pairs == 0


def test_one_normal_subject_is_drawn_by_cell():
    cells, subjects = drawn_cells(seed=9)
    some = np.array([name not in {f"s{k}" for k in range(7, 12)} for name in subjects])
    alone = ScoredCells(cells.is_all[some], cells.p_all[some], cells.size[some])
    names = [name for name, kept in zip(subjects, some, strict=True) if kept]
    found = equal_size_auc(alone, names)
    assert found.matched.value == pytest.approx(by_hand(alone, CALIPER)[0])
    assert found.matched.low < found.matched.value
