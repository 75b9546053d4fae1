"""Fit calibration and last layer to labelled cells, and keep what does better on left-out ones.

Whatever is judged here is judged by cross-fitting: each cell by what was fitted without the cells
of its subject or, if there are too few subjects, without its own fold of cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blastscope.adaptation.cells import AdaptationCells, count_classes, count_subjects
from blastscope.adaptation.correction import Correction, fit_correction
from blastscope.data.folds import stratified, whole_folds
from blastscope.decision.calibration import FITS, Bools, Calibration, Floats, log_loss
from blastscope.decision.calibration_choice import FEWEST_CELLS, FEWEST_SUBJECTS
from blastscope.decision.reliability import calibration_error, equal_mass_bins
from blastscope.engines.engine import mean_probability
from blastscope.evaluation.metrics import compute_metrics

_FOLDS = 5
_METHODS = ("temperature", "platt")
"""Isotonic steps need more cells than a laboratory labels for this."""
SEED = 24

StepName = Literal["calibration", "last-layer"]
Reason = Literal[
    "better", "replaced", "not-better", "few-cells", "few-subjects", "ensemble", "not-fitted"
]
Unit = Literal["subject", "cell"]
Fit = Callable[[NDArray[np.intp]], Callable[[NDArray[np.intp]], Floats] | None]
"""From the rows to fit on to a function from other rows to their probabilities."""


@dataclass(frozen=True)
class StepOutcome:
    """What became of one step.

    Attributes:
        reason: ``better`` or ``not-better`` than without the step on cells left out; ``replaced``
            if a calibration was better, and the new last layer better still, which has a slope and
            an intercept of its own; ``few-cells``, ``few-subjects`` or ``ensemble`` if the step was
            not tried; ``not-fitted`` if it gave nothing sensible.
        without: the log loss without the step, on the same cells.
        log_loss: that with it, cross-fitted; None if there is none.
    """

    step: StepName
    reason: Reason
    without: float
    log_loss: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the bundle has it."""
        return self.reason == "better"


@dataclass(frozen=True)
class AdaptationFit:
    """What was fitted, and how it does on cells that were left out.

    Attributes:
        calibration: of the network's probabilities, the bundle's own if none was better.
        correction: of the last layer; None if it stays.
        steps: what became of calibration and last layer.
        by: what was left out together.
        folds: in how many folds.
        p_all: the adapted probability of each cell, cross-fitted, shape (n,).
        losses: by method of calibration that could be fitted, the cross-fitted log loss.
        before: metrics of the bundle as it was.
        after: the same metrics of ``p_all``.
    """

    calibration: Calibration
    correction: Correction | None
    steps: tuple[StepOutcome, ...]
    by: Unit
    folds: int
    p_all: Floats
    losses: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]

    def has(self, step: StepName) -> bool:
        """Whether a step is kept."""
        return any(one.kept for one in self.steps if one.step == step)


def fit_adaptation(
    cells: AdaptationCells, shipped: Calibration, *, strict: bool = True, seed: int = SEED
) -> AdaptationFit:
    """Fit every step, and keep those that are better on cells left out.

    Args:
        cells: the laboratory's.
        shipped: the bundle's calibration.
        strict: whether a new last layer needs ``FEWEST_CELLS`` and ``FEWEST_SUBJECTS`` of each
            class. With fewer it learns the subjects rather than the classes, and too few subjects
            are left out to show it.
        seed: of the folds.
    """
    fold, by = make_adaptation_folds(cells.is_all, cells.subjects, seed)
    before = shipped.apply(cells.p_all)
    calibration, p_all, losses, first = _calibrate(cells, fold, shipped, before)
    refused = _refused(cells, by) if strict else _impossible(cells)
    correction = None
    if refused is None:
        correction, p_all, second = _correct(cells, fold, p_all)
    else:
        second = StepOutcome("last-layer", refused, log_loss(cells.is_all, p_all))
    if correction is not None:  # it has a slope and an intercept of its own
        calibration = Calibration()
        first = replace(first, reason="replaced") if first.kept else first
    return AdaptationFit(
        calibration=calibration,
        correction=correction,
        steps=(first, second),
        by=by,
        folds=int(fold.max()) + 1,
        p_all=p_all,
        losses=losses,
        before=adaptation_metrics(cells.is_all, before),
        after=adaptation_metrics(cells.is_all, p_all),
    )


def make_adaptation_folds(
    is_all: Bools, subjects: Sequence[str | None], seed: int = SEED
) -> tuple[NDArray[np.intp], Unit]:
    """Return each cell's fold, and what is left out together.

    Whole subjects, if all are known and each class has two; otherwise cells.
    """
    fewest = min(count_subjects(is_all, subjects))
    if None not in subjects and fewest >= 2:
        names = np.array(subjects, dtype=str)
        fold = whole_folds(is_all, names, min(_FOLDS, fewest), seed)
        if fold is not None:
            return fold, "subject"
    return stratified(is_all, min(_FOLDS, *count_classes(is_all)), seed), "cell"


def adaptation_metrics(is_all: Bools, p_all: Floats) -> dict[str, float]:
    """Return weighted F1 (ALL above one half), AUC, Brier score, ECE and log loss."""
    found = compute_metrics(is_all, p_all)
    return {
        "weighted_f1": float(found["weighted_f1"] or 0.0),
        "auc": float(found["auc"] or 0.0),
        "brier": float(np.mean((p_all - is_all) ** 2)),
        "ece": calibration_error(is_all, p_all, equal_mass_bins(p_all)),
        "log_loss": log_loss(is_all, p_all),
    }


def _calibrate(
    cells: AdaptationCells, fold: NDArray[np.intp], shipped: Calibration, before: Floats
) -> tuple[Calibration, Floats, dict[str, float], StepOutcome]:
    """Return the best calibration, the probabilities it gives cells left out, and the losses."""
    is_all, without = cells.is_all, log_loss(cells.is_all, before)
    found: dict[str, tuple[Calibration, Floats]] = {}
    for method in _METHODS:
        whole = FITS[method](is_all, cells.p_all)
        p_all = _cross_fitted(fold, lambda rows, m=method: _calibrated(cells, rows, m))  # type: ignore[misc]
        if whole is not None and p_all is not None:
            found[method] = (whole, p_all)
    losses = {method: log_loss(is_all, p_all) for method, (_, p_all) in found.items()}
    if not losses:
        return shipped, before, losses, StepOutcome("calibration", "not-fitted", without)
    best = min(losses, key=lambda method: losses[method])
    if losses[best] >= without:
        kept = StepOutcome("calibration", "not-better", without, losses[best])
        return shipped, before, losses, kept
    step = StepOutcome("calibration", "better", without, losses[best])
    return *found[best], losses, step


def _calibrated(
    cells: AdaptationCells, rows: NDArray[np.intp], method: str
) -> Callable[[NDArray[np.intp]], Floats] | None:
    fitted = FITS[method](cells.is_all[rows], cells.p_all[rows])
    return None if fitted is None else lambda others: fitted.apply(cells.p_all[others])


def _correct(
    cells: AdaptationCells, fold: NDArray[np.intp], p_all: Floats
) -> tuple[Correction | None, Floats, StepOutcome]:
    """Return the correction, if it is better than ``p_all``, and the better probabilities."""
    without = log_loss(cells.is_all, p_all)
    whole = _correction(cells, np.arange(len(cells)))
    found = _cross_fitted(fold, lambda rows: _corrected(cells, rows))
    if whole is None or found is None:
        return None, p_all, StepOutcome("last-layer", "not-fitted", without)
    loss = log_loss(cells.is_all, found)
    if loss >= without:
        return None, p_all, StepOutcome("last-layer", "not-better", without, loss)
    return whole, found, StepOutcome("last-layer", "better", without, loss)


def _correction(cells: AdaptationCells, rows: NDArray[np.intp]) -> Correction | None:
    assert cells.logits is not None
    assert cells.features is not None
    assert cells.added is not None
    of_layer = cells.logits[rows] - cells.added[rows]
    return fit_correction(cells.is_all[rows], of_layer, cells.features[rows], cells.added[rows])


def _corrected(
    cells: AdaptationCells, rows: NDArray[np.intp]
) -> Callable[[NDArray[np.intp]], Floats] | None:
    fitted = _correction(cells, rows)
    return None if fitted is None else lambda others: corrected(cells, fitted, others)


def corrected(cells: AdaptationCells, by: Correction, rows: NDArray[np.intp]) -> Floats:
    """Return the probabilities of some cells with a corrected last layer."""
    assert cells.logits is not None
    assert cells.features is not None
    assert cells.added is not None
    of_layer = by.logits(cells.logits[rows] - cells.added[rows], cells.features[rows])
    return mean_probability((of_layer + cells.added[rows])[:, None])


def _cross_fitted(fold: NDArray[np.intp], fit: Fit) -> Floats | None:
    """Return each cell's probability by what is fitted on other folds; None if a fit fails."""
    found = np.empty(len(fold))
    for number in range(fold.max() + 1):
        here, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        apply = fit(others)
        if apply is None:
            return None
        found[here] = apply(here)
    return found


def _refused(cells: AdaptationCells, by: Unit) -> Reason | None:
    """Return why the last layer is not tried; None if it is."""
    if (reason := _impossible(cells)) is not None:
        return reason
    if min(count_classes(cells.is_all)) < FEWEST_CELLS:
        return "few-cells"
    fewest = min(count_subjects(cells.is_all, cells.subjects))
    return "few-subjects" if by == "cell" or fewest < FEWEST_SUBJECTS else None


def _impossible(cells: AdaptationCells) -> Reason | None:
    return "ensemble" if cells.features is None else None
