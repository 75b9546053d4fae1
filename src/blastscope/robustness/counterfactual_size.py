"""Counterfactual size: the same cells, smaller and larger; does a normal cell turn into a blast?

A network that takes size for a sign calls a normal cell ALL once it is enlarged. The perturbation
``scale`` changes the size of every cell; here the normal cells change and the ALL cells stay, so
that AUC shows what a normal subject with larger cells would cost. But a cell that changes is
resampled, which blurs it, and a network may tell sharp cells from blurred ones. So a second AUC
compares resampled cells with resampled cells: the ALL cells all enlarged by the same little. Only
cells of ``keep`` stores have a size that the network sees; in a ``crop`` store every cell fills the
image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.cell_pairs import ScoredCells, add_up_pairs
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.io.json_objects import NumberOrNull
from blastscope.robustness.perturbations import Step

SMALLEST, LARGEST = 0.75, 1.35
"""The range of factors that cells of other subjects and microscopes can be expected to have."""


@dataclass(frozen=True)
class SizeStep:
    """A model on cells of another size.

    Attributes:
        factor: of lengths; 1 is unchanged.
        auc: with the normal cells changed and the ALL cells as they are: the mean over normal
            subjects of the AUC against the ALL cells that the same network was tested on.
        normal_called_all: share of the changed normal cells that are called ALL.
        all_called_all: share of the ALL cells that are called ALL if they are changed as well.
        all_factor: the factor of the ALL cells in ``auc_resampled``, the smallest enlargement.
        auc_resampled: as ``auc``, with the ALL cells resampled too, by ``all_factor``; NaN for
            unchanged normal cells, which are not resampled.
    """

    factor: float
    auc: NumberOrNull
    normal_called_all: NumberOrNull
    all_called_all: NumberOrNull
    all_factor: float | None = None
    auc_resampled: NumberOrNull = math.nan


def size_curve(
    is_all: NDArray[np.bool_],
    normal_subjects: NDArray[np.str_],
    network: NDArray[np.int64],
    taken: tuple[Step, ...],
    p_all: NDArray[np.float64],
) -> tuple[SizeStep, ...]:
    """Compute the curve from the predictions of a stress test, the smallest factor first.

    Args:
        is_all: truth, shape (cells,).
        normal_subjects: each cell's subject, shape (cells,); used for the normal cells.
        network: which network predicted each cell, shape (cells,).
        taken: the steps, the unchanged one first.
        p_all: shape (cells, steps).
    """
    by_factor = {1.0: p_all[:, 0]} | {
        step.value: p_all[:, k]
        for k, step in enumerate(taken)
        if step.name == "scale" and step.value and SMALLEST <= step.value <= LARGEST
    }
    all_factor = min((factor for factor in by_factor if factor > 1), default=None)

    def auc(of_all: float, of_normal: float) -> float:
        p = np.where(is_all, by_factor[of_all], by_factor[of_normal])
        return _mean_auc(ScoredCells(is_all, p, fold=network), normal_subjects)

    return tuple(
        SizeStep(
            factor,
            auc(1.0, factor),
            _share(p[~is_all] > THRESHOLD),
            _share(p[is_all] > THRESHOLD),
            all_factor,
            math.nan if all_factor is None or factor == 1 else auc(all_factor, factor),
        )
        for factor, p in sorted(by_factor.items())
    )


def _mean_auc(cells: ScoredCells, subjects: NDArray[np.str_]) -> float:
    """Return the mean over normal subjects; NaN if a class is missing."""
    _, codes = np.unique(subjects, return_inverse=True)
    sums = add_up_pairs(cells, codes)
    each = sums.auc_by_unit(np.ones((1, len(sums.pairs))))[0]
    known = each[~np.isnan(each)]
    return float(known.mean()) if len(known) else float("nan")


def _share(called: NDArray[np.bool_]) -> float:
    return float(called.mean()) if len(called) else float("nan")
