"""What an ensemble is worth on the cells it is fitted on: weights from other subjects' cells."""

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


@dataclass(frozen=True)
class Nested:
    """Cross-fitted probabilities: no cell is combined by weights that have seen it.

    Attributes:
        p_all: probability of ALL, shape (cells,).
        fold: the number of the fold, from 0, that each cell is in, shape (cells,).
        combinations: of each fold, fitted on all the others.
        by: what was kept together, whole subjects or only single cells.
        note: a sentence that says which and why.
    """

    p_all: Floats
    fold: NDArray[np.int_]
    combinations: list[Combination]
    by: Literal["subject", "cell"]
    note: str


def cross_fitted(
    method: str,
    p: Floats,
    is_all: Truth,
    subjects: Sequence[str | None],
    folds: int = 5,
    seed: int = 24,
    genetic: GeneticSettings | None = None,
) -> Nested:
    """Combine each fold's cells as the others suggest; by subject wherever that can be done.

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
        note = f"The {method} has nothing to fit, so every cell is as if left out."
        return Nested(
            combination.apply(p), np.zeros(len(p), dtype=np.int_), [combination], "cell", note
        )
    fold, by, note = _folds(is_all, subjects, folds, seed)
    p_all = np.empty(len(p))
    combinations = []
    for number in range(fold.max() + 1):
        here = fold == number
        combination = fit(method, p[~here], is_all[~here], genetic).combination
        p_all[here] = combination.apply(p[here])
        combinations.append(combination)
    return Nested(p_all, fold, combinations, by, note)


def _folds(
    is_all: Truth, subjects: Sequence[str | None], most: int, seed: int
) -> tuple[NDArray[np.int_], Literal["subject", "cell"], str]:
    """Return each cell's fold, what is kept together and the sentence that says so."""
    reason = _against_subjects(is_all, subjects)
    if reason is None:
        fewest = min(len(_subjects_of(is_all, subjects, ill)) for ill in (True, False))
        names = np.array(subjects, dtype=str)
        splitter = StratifiedGroupKFold(min(most, fewest), shuffle=True, random_state=seed)
        fold = _numbered([test for _, test in splitter.split(names, is_all, names)], len(is_all))
        if _both_classes_remain(is_all, fold):
            note = (
                f"Cross-fitted by subject in {fold.max() + 1} folds: the weights for a subject's "
                "cells were fitted on other subjects only."
            )
            return fold, "subject", note
        reason = "no folds of whole subjects leave both classes to fit on"
    fewest = min(int(is_all.sum()), int((~is_all).sum()))
    if fewest < 2:
        raise BlastscopeError(
            "Cross-fitting leaves cells out and needs two of each class, but one class has "
            f"{fewest}: fit on a part with more cells."
        )
    cells = StratifiedKFold(min(most, fewest), shuffle=True, random_state=seed)
    fold = _numbered([test for _, test in cells.split(is_all, is_all)], len(is_all))
    note = (
        f"Cross-fitted by cell in {fold.max() + 1} folds, because {reason}: cells of one subject "
        "may be on both sides, which flatters."
    )
    return fold, "cell", note


def _against_subjects(is_all: Truth, subjects: Sequence[str | None]) -> str | None:
    """Say why whole subjects cannot be left out, if they cannot."""
    nameless = sum(subject is None for subject in subjects)
    if nameless:
        return f"{nameless} of {len(subjects)} cells have no known subject"
    for ill, name in ((True, "ALL"), (False, "normal")):
        found = len(_subjects_of(is_all, subjects, ill))
        if found < 2:
            return f"{'only one subject' if found else 'no subject'} has {name} cells"
    return None


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
