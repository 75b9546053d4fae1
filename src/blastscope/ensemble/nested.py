"""Cross-fit an ensemble: combine each subject's cells by weights fitted on other subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blastscope.data.folds import stratified, whole_folds
from blastscope.ensemble.combination import Combination
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import UNFITTED, fit
from blastscope.ensemble.objective import Floats
from blastscope.errors import BlastscopeError

Truth = NDArray[np.bool_]
MOST = 5
"""How many folds there are, unless a class has fewer subjects or cells."""
Reason = Literal["no-weights", "unnamed-cells", "few-subjects", "one-class-folds"]


@dataclass(frozen=True)
class Nested:
    """Cross-fitted probabilities: no cell is combined by weights that have seen it.

    Attributes:
        p_all: probability of ALL, shape (cells,).
        fold: the number of the fold, from 0, that each cell is in, shape (cells,).
        combinations: of each fold, fitted on all the others.
        by: what the folds keep whole, ``subject`` or ``cell``.
        reason: why subjects are not kept whole: ``no-weights``: the method fits nothing;
            ``unnamed-cells``: some cells name no subject; ``few-subjects``: a class has fewer than
            two; ``one-class-folds``: no folds of subjects leave both classes. None if they are.
    """

    p_all: Floats
    fold: NDArray[np.int_]
    combinations: list[Combination]
    by: Literal["subject", "cell"]
    reason: Reason | None


def cross_fitted(
    method: str,
    p: Floats,
    is_all: Truth,
    subjects: Sequence[str | None],
    seed: int = 24,
    genetic: GeneticSettings | None = None,
) -> Nested:
    """Combine each fold's cells by weights fitted on the other folds; by subject if possible.

    There are five folds, or as many as the class with fewer subjects (or cells) has.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,).
        subjects: each cell's subject, None if unknown.

    Raises:
        BlastscopeError: if a class has fewer than two cells, or ``fit`` refuses.
    """
    if method in UNFITTED:
        combination = fit(method, p, is_all).combination
        one_fold = np.zeros(len(p), dtype=np.int_)
        return Nested(combination.apply(p), one_fold, [combination], "cell", "no-weights")
    fold, reason = _folds(is_all, subjects, seed)
    p_all = np.empty(len(p))
    combinations = []
    for number in range(fold.max() + 1):
        here = fold == number
        combination = fit(method, p[~here], is_all[~here], genetic).combination
        p_all[here] = combination.apply(p[here])
        combinations.append(combination)
    by: Literal["subject", "cell"] = "subject" if reason is None else "cell"
    return Nested(p_all, fold, combinations, by, reason)


def _folds(
    is_all: Truth, subjects: Sequence[str | None], seed: int
) -> tuple[NDArray[np.int_], Reason | None]:
    """Return each cell's fold, and why subjects are not kept whole."""
    reason: Reason = "unnamed-cells"
    if None not in subjects:
        names = np.array(subjects, dtype=str)
        fewest = min(len(set(names[is_all])), len(set(names[~is_all])))
        fold = whole_folds(is_all, names, min(MOST, fewest), seed) if fewest > 1 else None
        if fold is not None:
            return fold, None
        reason = "one-class-folds" if fewest > 1 else "few-subjects"
    fewest = min(int(is_all.sum()), int((~is_all).sum()))
    if fewest < 2:
        raise BlastscopeError(
            "Cross-fitting needs two cells of each class, and one class has "
            f"{fewest}: fit on a part with more cells."
        )
    return stratified(is_all, min(MOST, fewest), seed), reason
