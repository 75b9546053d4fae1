"""Count errors: by how many models miss a cell, by model, and by pair of models."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.metrics import THRESHOLD

CLASSES = ("all", "hem")


@dataclass(frozen=True)
class ModelErrors:
    """The errors of one model in one class, in cells.

    Attributes:
        only_right: cells that this model gets right and every other misses; None for one model.
        only_wrong: cells that this model misses and every other gets right; None likewise.
    """

    model: str
    label: str
    cells: int
    errors: int
    only_right: int | None
    only_wrong: int | None


@dataclass(frozen=True)
class Counts:
    """The counts of the paper's error analysis (Section 3.4.1).

    Attributes:
        missed_by: for each class, how many cells exactly k models miss, k from 0 to all of them.
        models: a row for each model and class, models in the order in which they were given.
    """

    missed_by: dict[str, tuple[int, ...]]
    models: tuple[ModelErrors, ...]

    @property
    def total(self) -> tuple[int, ...]:
        """How many cells of either class exactly k models miss."""
        return tuple(sum(classes) for classes in zip(*self.missed_by.values(), strict=True))

    def of(self, model: str) -> tuple[ModelErrors, ...]:
        """The rows of one model, a class each."""
        return tuple(row for row in self.models if row.model == model)


@dataclass(frozen=True)
class PairAgreement:
    """The agreement of two models: pairwise measures of an ensemble's diversity.

    Attributes:
        kappa: Cohen's kappa of their calls; None if both call every cell the same class.
        q: Yule's Q of being right, -1 to 1: 0 if they err independently, 1 if they err on the same
            cells; None if it is 0/0.
        disagreement: share of cells that exactly one of them gets right.
        double_fault: share of cells that both miss.
    """

    one: str
    other: str
    kappa: float | None
    q: float | None
    disagreement: float
    double_fault: float


def misses(scores: AlignedPredictions) -> NDArray[np.bool_]:
    """Mark the cells that each model calls wrongly, shape (cells, models); .5 is called normal."""
    return np.asarray((scores.p_all > THRESHOLD) != scores.is_all[:, None])


def count_errors(scores: AlignedPredictions) -> Counts:
    """Count the errors of one part's labelled cells (``AlignedPredictions.part``)."""
    missed = misses(scores)
    count = len(scores.models)
    truth = {"all": scores.is_all, "hem": ~scores.is_all}
    by = missed.sum(axis=1)
    missed_by = {
        label: tuple(int(n) for n in np.bincount(by[rows], minlength=count + 1))
        for label, rows in truth.items()
    }
    alone_right = (by == count - 1)[:, None] & ~missed
    alone_wrong = (by == 1)[:, None] & missed
    models = tuple(
        ModelErrors(
            model,
            label,
            int(rows.sum()),
            int(missed[rows, column].sum()),
            int(alone_right[rows, column].sum()) if count > 1 else None,
            int(alone_wrong[rows, column].sum()) if count > 1 else None,
        )
        for column, model in enumerate(scores.models)
        for label, rows in truth.items()
    )
    return Counts(missed_by, models)


def agreements(scores: AlignedPredictions) -> tuple[PairAgreement, ...]:
    """Measure the agreement of every pair of models on the labelled cells of one part.

    Kappa is of the calls. Q, disagreement and double fault are of right and wrong, as in L. I.
    Kuncheva and C. J. Whitaker, Machine Learning 51:181-207 (2003), Table 1 and Section 2.
    """
    called, right = scores.p_all > THRESHOLD, ~misses(scores)
    return tuple(
        _pair(scores.models[i], scores.models[j], called[:, [i, j]], right[:, [i, j]])
        for i, j in combinations(range(len(scores.models)), 2)
    )


def _pair(
    one: str, other: str, called: NDArray[np.bool_], right: NDArray[np.bool_]
) -> PairAgreement:
    first, second = right.T
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    like, unlike = both * neither, only_first * only_second
    constant = bool((called == called[0, 0]).all())
    return PairAgreement(
        one,
        other,
        None if constant else float(cohen_kappa_score(called[:, 0], called[:, 1])),
        (like - unlike) / (like + unlike) if like + unlike else None,
        (only_first + only_second) / len(right),
        neither / len(right),
    )
