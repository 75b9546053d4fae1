"""How alike two models err: the pairwise measures of diversity of an ensemble's members."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from blastscope.error_analysis.counts import misses
from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.metrics import THRESHOLD


@dataclass(frozen=True)
class PairAgreement:
    """How two models agree.

    Attributes:
        one: a model's name.
        other: another's.
        kappa: Cohen's kappa of their calls; None where both call every cell the same one class.
        q: Yule's Q of being right, -1 to 1: 0 where they err independently, 1 where they err on
            the same cells; None where it is 0/0.
        disagreement: share of cells that just one of them gets right.
        double_fault: share of cells that both miss.
    """

    one: str
    other: str
    kappa: float | None
    q: float | None
    disagreement: float
    double_fault: float


def agreements(scores: AlignedPredictions) -> tuple[PairAgreement, ...]:
    """Measure every pair of models on one part's labelled cells.

    Kappa is of the calls. Q, disagreement and double fault are of right and wrong, as in
    L. I. Kuncheva and C. J. Whitaker, Machine Learning 51:181-207 (2003), Table 1 and Section 2.
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
