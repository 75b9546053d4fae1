"""The next subject: how subjects differ, and what to expect of one that is not here yet.

A pooled metric is the mean over cells. A laboratory asks for the next subject, so each subject
counts once here, and beside the confidence interval of the mean stands a prediction interval for
one more subject (Higgins, Thompson and Spiegelhalter, Journal of the Royal Statistical Society A
172:137-159, 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.cell_pairs import ScoredCells, add_up_pairs, units_of
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.io.json_objects import NumberOrNull

Floats = NDArray[np.float64]
_FEWEST = 3
"""Subjects for a prediction interval: with two, nothing tells how far they differ."""
_HALF = 0.5  # added to right and wrong calls, so that none of a kind has a finite log-odds


@dataclass(frozen=True)
class NextSubject:
    """The mean of a metric over subjects, and the 95 % prediction interval for one more.

    Attributes:
        mean: over subjects, each counted once.
        low, high: NaN with fewer than three subjects.
        lowest: of the worst subject.
        worst: its name.
        subjects: how many there are.
    """

    mean: NumberOrNull
    low: NumberOrNull
    high: NumberOrNull
    lowest: NumberOrNull
    worst: str | None
    subjects: int


@dataclass(frozen=True)
class SubjectMetrics:
    """What each subject shows, and what the next one may.

    Attributes:
        auc: of each normal subject's cells against all ALL cells (of its fold, if there are folds).
        auc_mean: the mean of these with its 95 % interval by subject.
        deviation: their sample standard deviation; NaN with one subject.
        recall_all: the share of each ALL subject's cells that are called ALL.
        recall_hem: the share of each normal subject's cells that are called normal.
        normal_subjects: ``subject``, ``cells``, ``auc`` and ``recall``, the lowest AUC first;
            null, and last, if the subject's fold has no ALL cells.
    """

    auc: NextSubject
    auc_mean: Estimate
    deviation: NumberOrNull
    recall_all: NextSubject
    recall_hem: NextSubject
    normal_subjects: pl.DataFrame

    def as_json(self) -> dict[str, Any]:
        """The metrics as JSON."""
        content = {name: value for name, value in vars(self).items() if name != "normal_subjects"}
        of_all = {
            name: value if isinstance(value, float) else asdict(value)
            for name, value in content.items()
        }
        return {**of_all, "normal_subjects": self.normal_subjects.to_dicts()}


def subject_metrics(
    cells: ScoredCells, subjects: Sequence[str | None], threshold: float
) -> SubjectMetrics | None:
    """Compute the metrics of each subject; None unless every cell names one and both classes are.

    ``subjects`` has shape (cells,); a cell is called ALL above ``threshold``.
    """
    if None in subjects or cells.is_all.all() or not cells.is_all.any():
        return None
    names, codes = np.unique(np.array(subjects, dtype=str), return_inverse=True)
    right = (cells.p_all > threshold) == cells.is_all
    normal, blast = (
        _recalls(right, codes, names, which) for which in (~cells.is_all, cells.is_all)
    )
    aucs, mean = _aucs(cells, subjects, codes, names)
    table = normal.join(aucs, on="subject").select("subject", "cells", "auc", "recall")
    table = table.sort("auc", "subject", nulls_last=True)
    values = table["auc"].drop_nulls().to_numpy()
    return SubjectMetrics(
        auc=_next(values, table["subject"].to_list(), *_of_observations(values)),
        auc_mean=mean,
        deviation=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        recall_all=_next_recall(blast),
        recall_hem=_next_recall(normal),
        normal_subjects=table,
    )


def _recalls(
    right: NDArray[np.bool_],
    codes: NDArray[np.intp],
    names: NDArray[np.str_],
    which: NDArray[np.bool_],
) -> pl.DataFrame:
    cells, correct = (
        np.bincount(codes[one], minlength=len(names)) for one in (which, which & right)
    )
    here = cells > 0
    return pl.DataFrame(
        {
            "subject": names[here].tolist(),
            "cells": cells[here].astype(np.int64),
            "correct": correct[here].astype(np.int64),
            "recall": correct[here] / cells[here],
        }
    ).sort("recall", "subject")


def _aucs(
    cells: ScoredCells,
    subjects: Sequence[str | None],
    codes: NDArray[np.intp],
    names: NDArray[np.str_],
) -> tuple[pl.DataFrame, Estimate]:
    """Return the AUC of each normal subject, and their mean with its interval."""
    here = np.unique(codes[~cells.is_all])
    draws = resampling(cells.is_all, subjects)
    units, first = units_of(draws)
    sums = add_up_pairs(cells, units)
    subject_of = codes[first][:, None] == here  # (units, subjects)
    whole = subject_of.sum(axis=0) == 1  # others are the only one of their kind: cells are drawn

    def aucs(drawn: Floats) -> Floats:
        above, below = ((drawn * (drawn @ of)) @ subject_of for of in (sums.in_order, sums.pairs))
        found = np.full(above.shape, np.nan)
        np.divide(above, below, out=found, where=below > 0)
        return found

    def metrics_of(weights: NDArray[np.uint16]) -> Floats:
        drawn = weights[:, first].astype(np.float64)
        found = aucs(drawn)
        times = np.where(whole, drawn @ subject_of, 1.0)
        counted = np.where(np.isnan(found), 0, times)
        total = counted.sum(axis=1)
        added = (np.nan_to_num(found) * counted).sum(axis=1)
        means = np.full(len(drawn), np.nan)
        np.divide(added, total, out=means, where=total > 0)
        return means[:, None]

    each = aucs(np.ones((1, len(first))))[0]
    frame = pl.DataFrame({"subject": names[here].tolist(), "auc": each}).fill_nan(None)
    if draws.sampling.counts.get("hem", 0) + draws.sampling.counts.get("mixed", 0) < 2:
        return frame, Estimate(float(np.nanmean(each)), math.nan, math.nan)
    (mean,) = draw(metrics_of, draws).estimates()
    return frame, mean


def _next(values: Floats, names: Sequence[str], low: float, high: float) -> NextSubject:
    """Sum up sorted values, the lowest first; ``names`` are theirs, and of further ones behind."""
    if not len(values):
        return NextSubject(math.nan, math.nan, math.nan, math.nan, None, 0)
    return NextSubject(float(values.mean()), low, high, float(values[0]), names[0], len(values))


def _next_recall(table: pl.DataFrame) -> NextSubject:
    bounds = prediction_interval(table["correct"].to_numpy(), table["cells"].to_numpy())
    return _next(table["recall"].to_numpy(), table["subject"].to_list(), *bounds)


def prediction_interval(
    correct: NDArray[np.int64], cells: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the 95 % prediction interval for the share of the next subject; NaN if too few.

    A random-effects model of the log-odds, with DerSimonian and Laird's variance between subjects
    (Controlled Clinical Trials 7:177-188, 1986) and Student's t with two degrees of freedom less
    than there are subjects. ``correct`` of ``cells``: of each subject, shape (subjects,).
    """
    from scipy.stats import t

    if len(cells) < _FEWEST:
        return math.nan, math.nan
    right, wrong = correct + _HALF, cells - correct + _HALF
    value, within = np.log(right / wrong), 1 / right + 1 / wrong
    weight = 1 / within
    fixed = (weight * value).sum() / weight.sum()
    excess = (weight * (value - fixed) ** 2).sum() - (len(cells) - 1)
    between = max(0.0, excess / (weight.sum() - (weight**2).sum() / weight.sum()))
    weight = 1 / (within + between)
    mean = (weight * value).sum() / weight.sum()
    reach = t.ppf(0.975, len(cells) - 2) * math.sqrt(between + 1 / weight.sum())
    return _share(mean - reach), _share(mean + reach)


def _of_observations(values: Floats) -> tuple[float, float]:
    """Return the 95 % prediction interval of one more value, by the log-odds of shares."""
    from scipy.stats import t

    n = len(values)
    if n < _FEWEST:
        return math.nan, math.nan
    edge = 1e-3  # an AUC of 1 has no finite log-odds
    odds = np.log((values + edge) / (1 - values + edge))
    reach = t.ppf(0.975, n - 1) * odds.std(ddof=1) * math.sqrt(1 + 1 / n)
    return _share(float(odds.mean()) - reach), _share(float(odds.mean()) + reach)


def _share(odds: float) -> float:
    return float(1 / (1 + math.exp(-min(max(odds, -700.0), 700.0))))


def smallest_difference(deviation: float, subjects: int, power: float = 0.8) -> float:
    """Return the smallest mean difference that a paired t test finds in ``power`` of cases.

    Two-sided at 5 %, from the noncentral t distribution. NaN with one subject.

    Args:
        deviation: of the differences between subjects.
        subjects: how many there are.
        power: the share of data sets in which the test finds the difference.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    if subjects < 2 or math.isnan(deviation):
        return math.nan
    if deviation == 0:
        return 0.0
    bound = t.ppf(0.975, subjects - 1)

    def missing(shift: float) -> float:
        return float(nct.sf(bound, subjects - 1, shift) - power)

    shift = brentq(missing, 0.0, 100.0)
    return float(shift * deviation / math.sqrt(subjects))
