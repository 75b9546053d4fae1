"""Measure calibration: expected calibration error, Brier score, log loss, reliability diagram."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blastscope.decision.calibration import Bools, Floats, log_loss
from blastscope.decision.calibration_slope import CalibrationSlope, calibration_slope
from blastscope.evaluation.bootstrap import Resampling

BINS = 15
_DRAWS = 300
_RESAMPLES = 300
_FEWEST_DRAWS = 50
_CELLS_DRAWN = 2 * 10**7
"""In all: of a million cells few draws will do, because their mean hardly varies."""


@dataclass(frozen=True)
class Reliability:
    """The reliability diagram of one set of probabilities, and its metrics.

    Attributes:
        predicted: mean probability of ALL in each bin, shape (bins,).
        observed: share of ALL cells in each bin, shape (bins,).
        cells: cells in each bin, shape (bins,).
        ece: expected calibration error: the mean gap of the two, weighed by the cells.
        by_chance: the mean error of calibrated probabilities on so many subjects (cells, if
            subjects are unknown): a smaller error cannot be told from zero. With few subjects it is
            too small.
        chance_limit: such an error is not larger than this in 95 of 100 draws.
        brier: the mean squared distance from 0 and 1.
        log_loss: the mean log loss.
        line: the calibration intercept and slope.
    """

    predicted: Floats
    observed: Floats
    cells: NDArray[np.intp]
    ece: float
    by_chance: float
    chance_limit: float
    brier: float
    log_loss: float
    line: CalibrationSlope


def equal_mass_bins(p_all: Floats) -> NDArray[np.intp]:
    """Put cells into at most ``BINS`` bins of equal size; equal probabilities stay together.

    Returns:
        The number of each cell's bin, from 0, without gaps, shape (n,).
    """
    edges = np.unique(np.quantile(p_all, np.arange(1, BINS) / BINS, method="higher"))
    # A bin begins with its edge, so that the equal probabilities of hard calls are not cut apart.
    place = np.searchsorted(edges, p_all, side="right")
    _, numbered = np.unique(place, return_inverse=True)
    return numbered.astype(np.intp)


def calibration_error(
    is_all: NDArray[np.floating] | Bools, p_all: Floats, place: NDArray[np.intp]
) -> float:
    """Return the mean over cells of the gap between each bin's share of ALL and its mean p.

    Nixon et al., Measuring Calibration in Deep Learning, CVPR workshops 2019.
    """
    gaps = np.bincount(place, is_all - p_all)
    return float(np.abs(gaps).sum() / len(p_all))


def reliability(is_all: Bools, p_all: Floats, draws: Resampling) -> Reliability:
    """Compute diagram and metrics of arrays of shape (n,); ``draws`` are for ``by_chance``."""
    place = equal_mass_bins(p_all)
    cells = np.bincount(place)
    by_subject = draws.sampling.unit == "subject"
    drawn = (
        _of_subjects(is_all, p_all, place, draws) if by_subject else _of_cells(p_all, place, draws)
    )
    return Reliability(
        predicted=np.bincount(place, p_all) / cells,
        observed=np.bincount(place, is_all) / cells,
        cells=cells,
        ece=calibration_error(is_all, p_all, place),
        by_chance=float(drawn.mean()),
        chance_limit=float(np.quantile(drawn, 0.95)),
        brier=float(np.mean((p_all - is_all) ** 2)),
        log_loss=log_loss(is_all, p_all),
        line=calibration_slope(is_all, p_all),
    )


def _of_cells(p_all: Floats, place: NDArray[np.intp], draws: Resampling) -> Floats:
    """The errors of truths drawn by the probabilities themselves, cell by cell."""
    rng, n = np.random.default_rng(draws.seed), len(p_all)
    times = min(_DRAWS, max(_FEWEST_DRAWS, _CELLS_DRAWN // n))
    truths = (rng.random(n) < p_all for _ in range(times))
    return np.array([calibration_error(truth, p_all, place) for truth in truths])


def _of_subjects(
    is_all: Bools, p_all: Floats, place: NDArray[np.intp], draws: Resampling
) -> Floats:
    """How far the bins' gaps stray from what they are, as subjects are drawn."""
    gaps = np.zeros((len(p_all), place.max() + 1))
    gaps[np.arange(len(p_all)), place] = is_all - p_all
    found = []
    for weights in replace(draws, resamples=min(_RESAMPLES, draws.resamples)).chunks():
        drawn = weights.astype(np.float64)
        shares = drawn @ gaps / drawn.sum(axis=1, keepdims=True)
        found.append(np.abs(shares - gaps.mean(axis=0)).sum(axis=1))
    return np.concatenate(found)
