"""Which calibration: the one with the lowest log loss on cells that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.calibration import FITS, Bools, Calibration, Floats, log_loss

_FOLDS = 5
_FEWEST_CELLS = 20
"""Of each class: with fewer there is nothing to fit a curve to."""
_FEWEST_SUBJECTS = 3
"""Of each class, for folds of whole subjects: two stay to fit on. Folds by cell would choose what
fits the few persons best: on 17,905 real predictions (five repeats, two or three normal subjects)
that made Brier score and log loss of the next person's cells worse in all five."""


@dataclass(frozen=True)
class Chosen:
    """A calibration, and what it was chosen by.

    Attributes:
        calibration: fitted on all the cells.
        log_loss: of each method that could be fitted, cross-fitted, mean over the cells.
        how: a sentence that says what was compared.
    """

    calibration: Calibration
    log_loss: dict[str, float]
    how: str


def choose_calibration(
    is_all: Bools, p_all: Floats, subjects: Sequence[str | None], seed: int = 24
) -> Chosen:
    """Fit every method on part of the cells, in folds, and take the one that does best on the rest.

    Folds keep subjects whole; with fewer than three known subjects in a class probabilities stay
    as they are. Where subjects are not known cells are cut at random. A method that is no better
    than a plainer one is not taken.

    Args:
        is_all: truth, shape (n,).
        p_all: probability of ALL, shape (n,).
        subjects: each cell's subject; None where unknown.
        seed: of the folds.
    """
    n_all = int(is_all.sum())
    if min(n_all, len(is_all) - n_all) < _FEWEST_CELLS:
        how = (
            f"With {n_all:,} ALL and {len(is_all) - n_all:,} normal cells there is too little to "
            f"calibrate on ({_FEWEST_CELLS} of each are needed)."
        )
        return Chosen(Calibration(), {}, how)
    folds = _folds(is_all, subjects, seed)
    if folds is None:
        how = (
            "How the probabilities of other persons should be calibrated cannot be told from fewer "
            f"than {_FEWEST_SUBJECTS} subjects of a class: they stay as they are."
        )
        return Chosen(Calibration(), {}, how)
    fold, by = folds
    losses = {}
    for method in FITS:
        loss = _cross_fitted_loss(method, is_all, p_all, fold)
        if loss is not None:
            losses[method] = loss
    best = min(losses, key=lambda method: losses[method])  # of equals the first, the plainest
    fitted = FITS[best](is_all, p_all)
    how = (
        f"Lowest log loss of {', '.join(losses)} on {by} that each was not fitted on "
        f"({fold.max() + 1} folds)."
    )
    return Chosen(fitted or Calibration(), losses, how)


def _cross_fitted_loss(
    method: str, is_all: Bools, p_all: Floats, fold: NDArray[np.intp]
) -> float | None:
    """Return the log loss of a method; None where it cannot be fitted to one of the folds."""
    calibrated = np.empty_like(p_all)
    for number in range(fold.max() + 1):
        here = fold == number
        found = FITS[method](is_all[~here], p_all[~here])
        if found is None:
            return None
        calibrated[here] = found.apply(p_all[here])
    return log_loss(is_all, calibrated)


def _folds(
    is_all: Bools, subjects: Sequence[str | None], seed: int
) -> tuple[NDArray[np.intp], str] | None:
    """Number each cell's fold, and say what was kept whole; None with too few subjects."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    numbers = np.zeros(len(is_all), np.intp)
    if None in subjects:
        cells = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(cells.split(is_all, is_all)):
            numbers[test] = number
        return numbers, "cells"
    names = np.array(subjects, dtype=str)
    fewest = min(len(set(names[is_all])), len(set(names[~is_all])))
    if fewest < _FEWEST_SUBJECTS:
        return None
    whole = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed)
    parts = [test for _, test in whole.split(names, is_all, names) if len(test)]
    for number, test in enumerate(parts):
        numbers[test] = number
    fits = all(_both(is_all[numbers != number]) for number in range(len(parts)))
    return (numbers, "subjects") if fits else None


def _both(is_all: Bools) -> bool:
    return bool(is_all.any() and not is_all.all())
