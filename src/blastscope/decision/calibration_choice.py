"""Which calibration: the one with the lowest log loss on cells that it was not fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blastscope.data.folds import stratified, whole_folds
from blastscope.decision.calibration import (
    FITS,
    Bools,
    Calibration,
    Floats,
    log_loss,
    says_nothing,
)

_FOLDS = 5
FEWEST_CELLS = 20
"""Of each class: with fewer there is nothing to fit a curve to."""
FEWEST_SUBJECTS = 3
"""Of each class, for folds of whole subjects: two stay to fit on. Folds by cell would choose what
fits the few subjects best: on 17,905 real predictions (five repeats, two or three normal subjects)
that made Brier score and log loss of the next subject's cells worse in all five."""

STEPS_SUBJECTS = 10
"""Of each class, for isotonic regression: its steps follow single subjects if there are few, and
they make probabilities equal that the network tells apart. Cells without a name may be of few."""

Reason = Literal["log-loss", "few-cells", "few-subjects", "no-information"]
Unit = Literal["subject", "cell"]


@dataclass(frozen=True)
class CalibrationChoice:
    """How a calibration was chosen.

    Attributes:
        reason: ``log-loss`` if methods were compared; ``few-cells`` or ``few-subjects`` if there is
            too little to compare them on, ``no-information`` if the probabilities say next to
            nothing of the labels: in each of these they stay as they are.
        log_loss: by method that could be fitted, cross-fitted, mean over the cells.
        by: what the folds keep whole, ``subject`` or ``cell``; None if nothing was compared.
        folds: how many; 0 if nothing was compared.
    """

    reason: Reason
    log_loss: dict[str, float] = field(default_factory=dict)
    by: Unit | None = None
    folds: int = 0


def choose_calibration(
    is_all: Bools, p_all: Floats, subjects: Sequence[str | None], seed: int = 24
) -> tuple[Calibration, CalibrationChoice]:
    """Fit every method on part of the cells, in folds, and take the one that does best on the rest.

    Folds keep known subjects whole; with fewer than three of them in a class probabilities stay as
    they are, and with probabilities that say next to nothing of the labels too: a map that makes
    all of them alike is not a calibration. Cells that name no subject are put into folds at random;
    so all cells are if none names one. A method that is not better than a plainer one is not taken,
    and isotonic regression only with ``STEPS_SUBJECTS`` known subjects in each class. All arrays
    have shape (n,).

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
    tried = {method: _cross_fitted_loss(method, is_all, p_all, fold) for method in FITS}
    fitted = {method: fit(is_all, p_all) for method, fit in FITS.items()}
    losses = {name: loss for name, loss in tried.items() if loss is not None and fitted[name]}
    if _fewest_subjects(is_all, subjects) < STEPS_SUBJECTS:
        losses.pop("isotonic", None)
    folds_made = int(fold.max()) + 1
    if says_nothing(is_all, p_all):
        return Calibration(), CalibrationChoice("no-information", losses, by, folds_made)
    best = min(losses, key=lambda method: losses[method])  # of equals the first, the plainest
    return fitted[best] or Calibration(), CalibrationChoice("log-loss", losses, by, folds_made)


def _cross_fitted_loss(
    method: str, is_all: Bools, p_all: Floats, fold: NDArray[np.intp]
) -> float | None:
    """Return the log loss of a method; None if it cannot be fitted to one of the folds."""
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
    """Return each cell's fold and what was kept whole; None with too few known subjects."""
    named = np.array([subject is not None for subject in subjects])
    if not named.any():
        return stratified(is_all, _FOLDS, seed), "cell"
    fewest = _fewest_subjects(is_all, subjects)
    if fewest < FEWEST_SUBJECTS:
        return None
    names = np.array(subjects, dtype=str)[named]
    whole = whole_folds(is_all[named], names, min(_FOLDS, fewest), seed)
    if whole is None:
        return None
    fold = np.random.default_rng(seed).integers(whole.max() + 1, size=len(is_all), dtype=np.intp)
    fold[named] = whole
    return fold, "subject"


def _fewest_subjects(is_all: Bools, subjects: Sequence[str | None]) -> int:
    """Count the known subjects of the class that has fewer."""
    known = {one for one in zip(subjects, is_all.tolist(), strict=True) if one[0] is not None}
    counts = Counter(blast for _, blast in known)
    return min(counts[True], counts[False])
