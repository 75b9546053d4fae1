"""Which calibration: the one with the lowest log loss on cells that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.calibration import FITS, Bools, Calibration, Floats, log_loss

_FOLDS = 5
FEWEST_CELLS = 20
"""Of each class: with fewer there is nothing to fit a curve to."""
FEWEST_SUBJECTS = 3
"""Of each class, for folds of whole subjects: two stay to fit on. Folds by cell would choose what
fits the few subjects best: on 17,905 real predictions (five repeats, two or three normal subjects)
that made Brier score and log loss of the next subject's cells worse in all five."""


Reason = Literal["log-loss", "few-cells", "few-subjects"]
Unit = Literal["subject", "cell"]


@dataclass(frozen=True)
class CalibrationChoice:
    """How a calibration was chosen.

    Attributes:
        reason: ``log-loss`` if methods were compared; ``few-cells`` or ``few-subjects`` if there
            is too little to compare them on, so that probabilities stay as they are.
        log_loss: by method that could be fitted, cross-fitted, mean over the cells.
        by: what the folds keep whole, ``subject`` or ``cell``; None if nothing was compared.
        folds: how many; 0 if nothing was compared.
    """

    reason: Reason
    log_loss: dict[str, float] = field(default_factory=dict)
    by: Unit | None = None
    folds: int = 0

    @classmethod
    def from_json(cls, content: Any) -> CalibrationChoice:
        """Read what :func:`dataclasses.asdict` made.

        Raises:
            KeyError, TypeError, AttributeError or ValueError: if it is something else.
        """
        reason, by = content["reason"], content["by"]
        if reason not in get_args(Reason) or by not in (None, *get_args(Unit)):
            raise ValueError(f"unknown calibration choice {reason!r} by {by!r}")
        losses = {str(name): float(loss) for name, loss in content["log_loss"].items()}
        return cls(reason, losses, by, int(content["folds"]))


def choose_calibration(
    is_all: Bools, p_all: Floats, subjects: Sequence[str | None], seed: int = 24
) -> tuple[Calibration, CalibrationChoice]:
    """Fit every method on part of the cells, in folds, and take the one that does best on the rest.

    Folds keep subjects whole; with fewer than three known subjects in a class probabilities stay
    as they are. If a cell names no subject, cells are put into folds at random. A method that is
    not better than a plainer one is not taken.

    Args:
        is_all: truth, shape (n,).
        p_all: probability of ALL, shape (n,).
        subjects: each cell's subject; None where unknown.
        seed: of the folds.

    Returns:
        The calibration, fitted on all the cells, and how it was chosen.
    """
    n_all = int(is_all.sum())
    if min(n_all, len(is_all) - n_all) < FEWEST_CELLS:
        return Calibration(), CalibrationChoice("few-cells")
    folds = _folds(is_all, subjects, seed)
    if folds is None:
        return Calibration(), CalibrationChoice("few-subjects")
    fold, by = folds
    losses = {}
    for method in FITS:
        loss = _cross_fitted_loss(method, is_all, p_all, fold)
        if loss is not None:
            losses[method] = loss
    best = min(losses, key=lambda method: losses[method])  # of equals the first, the plainest
    fitted = FITS[best](is_all, p_all)
    choice = CalibrationChoice("log-loss", losses, by, int(fold.max()) + 1)
    return fitted or Calibration(), choice


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
) -> tuple[NDArray[np.intp], Unit] | None:
    """Return each cell's fold and what was kept whole; None with too few subjects."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    numbers = np.zeros(len(is_all), np.intp)
    if None in subjects:
        cells = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
        for number, (_, test) in enumerate(cells.split(is_all, is_all)):
            numbers[test] = number
        return numbers, "cell"
    names = np.array(subjects, dtype=str)
    fewest = min(len(set(names[is_all])), len(set(names[~is_all])))
    if fewest < FEWEST_SUBJECTS:
        return None
    whole = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=seed)
    parts = [test for _, test in whole.split(names, is_all, names) if len(test)]
    for number, test in enumerate(parts):
        numbers[test] = number
    fits = all(_both(is_all[numbers != number]) for number in range(len(parts)))
    return (numbers, "subject") if fits else None


def _both(is_all: Bools) -> bool:
    return bool(is_all.any() and not is_all.all())
