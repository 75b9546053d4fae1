"""Cross-fit an ensemble: combine each subject's cells by weights fitted on other subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from blastscope.ensemble.combination import Combination
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import UNFITTED, fit
from blastscope.ensemble.objective import Floats
from blastscope.errors import BlastscopeError

Truth = NDArray[np.bool_]


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
    folds: int = 5,
    seed: int = 24,
    genetic: GeneticSettings | None = None,
) -> Nested:
    """Combine each fold's cells by weights fitted on the other folds; by subject if possible.

    Args:
        method: one of ``fit.METHODS``.
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,).
        subjects: each cell's subject, None where unknown.
        folds: how many at most; never more than the class with fewer subjects (or cells) has.
        seed: of the folds.
        genetic: as in ``fit``.

    Raises:
        BlastscopeError: where a class has fewer than two cells, or ``fit`` refuses.
    """
    if method in UNFITTED:
        combination = fit(method, p, is_all).combination
        one_fold = np.zeros(len(p), dtype=np.int_)
        return Nested(combination.apply(p), one_fold, [combination], "cell", "no-weights")
    fold, reason = _folds(is_all, subjects, folds, seed)
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
    is_all: Truth, subjects: Sequence[str | None], most: int, seed: int
) -> tuple[NDArray[np.int_], Reason | None]:
    """Return each cell's fold, and why subjects are not kept whole."""
    reason = _against_subjects(is_all, subjects)
    if reason is None:
        fewest = min(len(_subjects_of(is_all, subjects, ill)) for ill in (True, False))
        names = np.array(subjects, dtype=str)
        splitter = StratifiedGroupKFold(min(most, fewest), shuffle=True, random_state=seed)
        fold = _numbered([test for _, test in splitter.split(names, is_all, names)], len(is_all))
        if _both_classes_remain(is_all, fold):
            return fold, None
        reason = "one-class-folds"
    fewest = min(int(is_all.sum()), int((~is_all).sum()))
    if fewest < 2:
        raise BlastscopeError(
            "Cross-fitting needs two cells of each class, and one class has "
            f"{fewest}: fit on a part with more cells."
        )
    cells = StratifiedKFold(min(most, fewest), shuffle=True, random_state=seed)
    return _numbered([test for _, test in cells.split(is_all, is_all)], len(is_all)), reason


def _against_subjects(is_all: Truth, subjects: Sequence[str | None]) -> Reason | None:
    """Return why whole subjects cannot be left out, if they cannot."""
    if None in subjects:
        return "unnamed-cells"
    few = any(len(_subjects_of(is_all, subjects, ill)) < 2 for ill in (True, False))
    return "few-subjects" if few else None


def _subjects_of(is_all: Truth, subjects: Sequence[str | None], ill: bool) -> set[str | None]:
    return {subject for subject, one in zip(subjects, is_all, strict=True) if bool(one) is ill}


def _numbered(tests: Sequence[NDArray[np.intp]], cells: int) -> NDArray[np.int_]:
    """Number the folds that have cells; grouped ones may be empty."""
    fold = np.zeros(cells, dtype=np.int_)
    for number, test in enumerate(test for test in tests if len(test)):
        fold[test] = number
    return fold


def _both_classes_remain(is_all: Truth, fold: NDArray[np.int_]) -> bool:
    sides = [is_all[fold != number] for number in range(fold.max() + 1)]
    return all(bool(side.any()) and not side.all() for side in sides)
