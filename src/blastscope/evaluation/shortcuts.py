"""Shortcuts: how far a model's probability follows size, hue and brightness, and what it adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL, HEM
from blastscope.evaluation.cell_measurements import CellMeasurements
from blastscope.evaluation.cell_pairs import ScoredCells
from blastscope.evaluation.equal_size import EqualSizeAuc, equal_size_auc
from blastscope.evaluation.metrics import THRESHOLD, compute_metrics
from blastscope.evaluation.next_subject import SubjectMetrics, smallest_difference, subject_metrics
from blastscope.io.files import without_nan
from blastscope.io.json_objects import NumberOrNull
from blastscope.io.predictions import has_folds

Trait = Literal["size", "hue", "brightness"]
_FEWEST = 10
"""Cells of a class in a fold for a rank correlation, and of a subgroup for its metrics."""
_THIRDS = ("lowest third", "middle third", "highest third")


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of a trait with the probability of ALL, within one class."""

    trait: Trait
    label: str
    value: NumberOrNull


@dataclass(frozen=True)
class Subgroup:
    """Metrics of a part of the cells.

    Attributes:
        by: ``size``, ``frame`` or ``focus``.
        name: which part by it.
        metrics: ``weighted_f1``, ``auc``, ``recall_all`` and ``recall_hem``; null if undefined,
            and all of them null of fewer than ten cells.
    """

    by: str
    name: str
    cells_all: int
    cells_hem: int
    metrics: dict[str, float | int | None]


@dataclass(frozen=True)
class Shortcuts:
    """What can show that a model has learnt a shortcut.

    Attributes:
        equal_size: AUC at equal size; None if sizes are unknown or a class is missing.
        correlations: of traits with the probability, within each class.
        subjects: metrics with each subject counted once; None if subjects are unknown.
        subgroups: metrics of thirds by size and by focus, and of cells that touch the frame.
        within_folds: whether cells are compared with those of their own fold only.
    """

    equal_size: EqualSizeAuc | None
    correlations: tuple[RankCorrelation, ...]
    subjects: SubjectMetrics | None
    subgroups: tuple[Subgroup, ...]
    within_folds: bool

    @property
    def detectable(self) -> float:
        """The smallest difference in AUC between two models that so many normal subjects show.

        If the difference varies between subjects as much as the AUC does; in 80 of 100 data sets.
        """
        if self.subjects is None:
            return math.nan
        return smallest_difference(self.subjects.deviation, self.subjects.auc.subjects)

    def correlation(self, trait: Trait, label: str) -> float:
        """Return one rank correlation; NaN if it was not measured."""
        found = (one.value for one in self.correlations if (one.trait, one.label) == (trait, label))
        return next(found, math.nan)

    def as_json(self) -> dict[str, Any]:
        """The measures as JSON, with null for what is undefined."""
        found: dict[str, Any] = without_nan(
            {
                "equal_size": None if self.equal_size is None else asdict(self.equal_size),
                "correlations": [asdict(one) for one in self.correlations],
                "subjects": None if self.subjects is None else self.subjects.as_json(),
                "smallest_detectable_auc_difference": self.detectable,
                "subgroups": [asdict(one) for one in self.subgroups],
            }
        )
        return found


def measure_shortcuts(
    cells: pl.DataFrame, metadata: Mapping[str, Any], measured: CellMeasurements | None
) -> Shortcuts:
    """Measure the shortcuts of one model on labelled cells.

    Args:
        cells: the labelled rows of a prediction table, one model's.
        metadata: of the table; pairs and ranks are within a fold if it has folds.
        measured: sizes, and colours and focus if there are pixels; None if there is no store.
    """
    scored = scored_cells(cells, metadata, measured)
    subjects, fold = cells["subject"].to_list(), scored.fold
    of_subjects = subject_metrics(scored, subjects, THRESHOLD)
    if measured is None:
        return Shortcuts(None, (), of_subjects, (), fold is not None)
    traits = measured.of(cells["cell"])
    return Shortcuts(
        equal_size=equal_size_auc(scored, subjects) if scored.both_classes else None,
        correlations=_correlations(cells, traits, fold),
        subjects=of_subjects,
        subgroups=_subgroups(cells, traits),
        within_folds=fold is not None,
    )


def scored_cells(
    cells: pl.DataFrame, metadata: Mapping[str, Any], measured: CellMeasurements | None
) -> ScoredCells:
    """Return what pairs of cells are made of; arguments as for :func:`measure_shortcuts`."""
    return ScoredCells(
        (cells["label"] == ALL).to_numpy(),
        cells["p_all"].to_numpy(),
        None if measured is None else measured.of(cells["cell"], ["size"])["size"].to_numpy(),
        cells["fold"].cast(pl.Int64).to_numpy() if has_folds(cells, metadata) else None,
    )


def _correlations(
    cells: pl.DataFrame, traits: pl.DataFrame, fold: NDArray[np.int64] | None
) -> tuple[RankCorrelation, ...]:
    named: dict[Trait, NDArray[np.float64]] = {"size": traits["size"].to_numpy()}
    if "lightness" in traits.columns:
        angle = np.arctan2(traits["b_star"].to_numpy(), traits["a_star"].to_numpy())
        named |= {"hue": angle, "brightness": traits["lightness"].to_numpy()}
    groups = np.zeros(cells.height, np.int64) if fold is None else fold
    p_all, labels = cells["p_all"].to_numpy(), cells["label"].to_numpy()
    return tuple(
        RankCorrelation(trait, label, _within(values, p_all, groups, labels == label))
        for trait, values in named.items()
        for label in (ALL, HEM)
    )


def _within(
    values: NDArray[np.float64],
    p_all: NDArray[np.float64],
    groups: NDArray[np.int64],
    chosen: NDArray[np.bool_],
) -> float:
    """Return the mean over folds of Spearman's correlation, weighed by the cells."""
    from scipy.stats import spearmanr

    total = added = 0.0
    for group in np.unique(groups):
        here = chosen & (groups == group) & ~np.isnan(values)
        x, y = values[here], p_all[here]
        if len(x) >= _FEWEST and np.ptp(x) > 0 and np.ptp(y) > 0:
            added += len(x) * float(spearmanr(x, y).statistic)
            total += len(x)
    return added / total if total else math.nan


def _subgroups(cells: pl.DataFrame, traits: pl.DataFrame) -> tuple[Subgroup, ...]:
    joined = pl.concat([cells.select("label", "p_all"), traits], how="horizontal")
    pieces: list[tuple[str, str, pl.DataFrame]] = []
    for by, column in (("size", "size"), ("focus", "edges")):
        if column not in traits.columns or joined[column].null_count():
            continue
        values = joined[column].to_numpy()
        cuts = np.quantile(values, [1 / 3, 2 / 3])
        third = np.searchsorted(cuts, values, side="right")
        pieces += [(by, name, joined.filter(third == k)) for k, name in enumerate(_THIRDS)]
    if "touches_frame" in traits.columns:
        pieces += [
            ("frame", name, joined.filter(pl.col("touches_frame") == touches))
            for name, touches in (("touches the frame", True), ("clear of the frame", False))
        ]
    return tuple(_subgroup(by, name, rows) for by, name, rows in pieces)


def _subgroup(by: str, name: str, rows: pl.DataFrame) -> Subgroup:
    is_all = (rows["label"] == ALL).to_numpy()
    names = ("weighted_f1", "auc", "recall_all", "recall_hem")
    shown: dict[str, float | int | None] = dict.fromkeys(names)
    if rows.height >= _FEWEST:
        metrics = compute_metrics(is_all, rows["p_all"].to_numpy())
        shown = {name: metrics[name] for name in names}
    return Subgroup(by, name, int(is_all.sum()), int((~is_all).sum()), shown)
