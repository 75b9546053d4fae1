"""Baselines on the very cells that a model is reported on, fitted on what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.evaluation.baseline_rules import ALWAYS_ALL, FITTED, BaselineRule, SizeRule
from blastscope.evaluation.bootstrap import Resampling, resampling
from blastscope.evaluation.cell_measurements import CellMeasurements
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.files import without_nan
from blastscope.io.predictions import has_folds

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

COMPARED = ("weighted_f1", "auc")
"""The metrics that a model is compared with its baselines by."""


@dataclass(frozen=True)
class _Score:
    """What a rule gives the reported cells.

    Attributes:
        calls: scores above .5 call a cell ALL.
        ranks: what orders the cells for the AUC. A size orders cells as it is, whatever threshold
            each fold has fitted; scores of different thresholds would not.
    """

    calls: Floats
    ranks: Floats


@dataclass(frozen=True)
class ModelBaseline:
    """A rule without a network, and how far the model is ahead of it on the same cells.

    Attributes:
        metrics: of the rule on the cells that are reported. The AUC of size is that of the size
            itself.
        estimates: the rule's metrics (``COMPARED``) with 95 % intervals, drawn by subject.
        lead: the model's metrics minus the rule's, with paired intervals from the same draws.
    """

    name: str
    metrics: Metrics
    estimates: Mapping[str, Estimate]
    lead: Mapping[str, Estimate]

    def as_json(self) -> dict[str, Any]:
        """The baseline as JSON, with null for what is undefined."""
        found: dict[str, Any] = without_nan(asdict(self))
        del found["name"]
        return found


def model_baselines(
    measured: CellMeasurements | None,
    table: pl.DataFrame,
    part: str,
    metadata: Mapping[str, Any],
    resamples: int = 2000,
    seed: int = 24,
) -> tuple[ModelBaseline, ...]:
    """Judge always-ALL, size, and size and colour on the labelled cells of ``part``.

    Rules are fitted on the table's training cells or, out of fold, on the other folds. Without
    measurements, or cells to fit on, always-ALL stands alone.

    Args:
        measured: sizes, and colours if there are pixels.
        table: one model's prediction table, every part of it.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
        resamples: how many times to draw for the intervals.
        seed: of the draws.

    Raises:
        BlastscopeError: if cells of the table were not measured.
    """
    cells = table.filter((pl.col("part") == part) & pl.col("label").is_not_null())
    is_all = (cells["label"] == ALL).to_numpy()
    level = np.ones(len(is_all))
    scores = {ALWAYS_ALL: _Score(level, level)}
    if measured is not None:
        scores |= _fitted(measured, table, cells, part, metadata)
    draws = resampling(is_all, cells["subject"].to_list(), resamples, seed)
    return _compared(scores, cells, is_all, draws)


def _fitted(
    measured: CellMeasurements,
    table: pl.DataFrame,
    cells: pl.DataFrame,
    part: str,
    metadata: Mapping[str, Any],
) -> dict[str, _Score]:
    """Score the reported cells by the fitted rules; without those that cannot be fitted."""
    pieces = _pieces(table, cells, part, metadata)
    found = {
        name: _score(rule, columns, measured, cells, pieces)
        for name, (rule, columns) in FITTED.items()
        if pieces and set(columns) <= set(measured.table.columns)
    }
    return {name: score for name, score in found.items() if score is not None}


def _compared(
    scores: Mapping[str, _Score],
    cells: pl.DataFrame,
    is_all: Bools,
    draws: Resampling,
) -> tuple[ModelBaseline, ...]:
    subjects = cells["subject"].to_list()
    calls = [cells["p_all"].to_numpy(), *(score.calls for score in scores.values())]
    ranks = [calls[0], *(score.ranks for score in scores.values())]
    by_calls, by_ranks = (WeightedMetrics(is_all, np.column_stack(one)) for one in (calls, ranks))
    f1, auc = (METRICS.index(name) for name in COMPARED)
    drawn = draw(
        lambda weights: np.stack(
            [by_calls.of(weights)[..., f1], by_ranks.of(weights)[..., auc]], axis=-1
        ),
        draws,
    )
    own = iter(drawn.of(lambda found: found[:, 1:]).estimates())
    leads = iter(drawn.of(lambda found: found[:, :1] - found[:, 1:]).estimates())
    return tuple(
        ModelBaseline(
            name,
            _metrics(is_all, score, subjects),
            {metric: next(own) for metric in COMPARED},
            {metric: next(leads) for metric in COMPARED},
        )
        for name, score in scores.items()
    )


def _metrics(is_all: Bools, score: _Score, subjects: Sequence[str | None]) -> Metrics:
    ranked = compute_metrics(is_all, score.ranks)
    areas = {name: ranked[name] for name in ("auc", "average_precision")}
    return compute_metrics(is_all, score.calls, subjects) | areas


_Pieces = list[tuple[Bools, pl.DataFrame]]
"""Which of the reported cells are scored by a rule that is fitted on which cells."""


def _pieces(
    table: pl.DataFrame, cells: pl.DataFrame, part: str, metadata: Mapping[str, Any]
) -> _Pieces:
    if has_folds(cells, metadata):
        folds = cells["fold"].to_numpy()
        pieces = [
            (folds == number, cells.filter(pl.Series(folds != number)))
            for number in np.unique(folds)
        ]
    else:
        training = table.filter((pl.col("part") == "train") & pl.col("label").is_not_null())
        if part == "train":
            return []
        pieces = [(np.ones(cells.height, np.bool_), training)]
    whole = all(fitted["label"].n_unique() == 2 for _, fitted in pieces)
    return pieces if whole else []


def _score(
    rule: Callable[[], BaselineRule],
    columns: Sequence[str],
    measured: CellMeasurements,
    cells: pl.DataFrame,
    pieces: _Pieces,
) -> _Score | None:
    """Score the reported cells; None if a colour of one of them could not be measured."""
    features = _features(cells, columns, measured)
    if features is None:
        return None
    score = np.empty(cells.height)
    for here, fitted in pieces:
        known = _features(fitted, columns, measured)
        if known is None:
            return None
        labels = (fitted["label"] == ALL).to_numpy()
        score[here] = rule().fit(known, labels).score(features[here])
    return _Score(score, features[:, 0] if rule is SizeRule else score)


def _features(
    cells: pl.DataFrame, columns: Sequence[str], measured: CellMeasurements
) -> NDArray[np.float64] | None:
    found = measured.of(cells["cell"], columns)
    if any(found[name].null_count() for name in columns):
        return None
    return found.to_numpy().astype(np.float64)
