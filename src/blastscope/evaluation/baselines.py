"""The baselines of a data set: each rule on the cells it was fitted on, and on unseen subjects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.folds import FoldCut, FoldPlan, make_folds
from blastscope.data.names import ALL
from blastscope.evaluation.baseline_rules import (
    ALWAYS_ALL,
    FITTED,
    SIZE,
    AlwaysAll,
    BaselineRule,
    SizeRule,
)
from blastscope.evaluation.cell_measurements import MeasuredCells
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.spread import Spread

FORMAT = "blastscope-baselines/2"
BASELINE_METRICS = ("weighted_f1", "auc", "recall_all", "recall_hem")


@dataclass(frozen=True)
class Baseline:
    """One rule's metrics.

    Attributes:
        folds: the spread of each metric over all folds of unseen subjects and all cuts; a metric
            that fewer than two folds have is missing.
    """

    name: str
    in_sample: Metrics
    threshold: float | None
    folds: dict[str, Spread]


@dataclass(frozen=True)
class ByChance:
    """What a rule reaches on unseen subjects whose labels were exchanged at random.

    Attributes:
        baseline: the name of the rule.
        auc: the spread over draws of the mean AUC over the folds of a draw.
        percentile_95: which mean AUC 5 of 100 draws exceed.
        draws: how often labels were exchanged.
    """

    baseline: str
    auc: Spread
    percentile_95: float
    draws: int


@dataclass(frozen=True)
class Baselines:
    """All baselines of a data set.

    Attributes:
        subjects: how many subjects they are of.
        cut: how they were cut the first time.
        by_chance: of controls, what rules reach if labels are exchanged between subjects.
    """

    baselines: tuple[Baseline, ...]
    cells: int
    subjects: int
    cuts: int
    cut: FoldCut
    synthetic: bool
    by_chance: tuple[ByChance, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The baselines as JSON."""
        return {"format": FORMAT, **asdict(self)}


def baselines(measured: MeasuredCells, folds: int = 5, cuts: int = 5, seed: int = 24) -> Baselines:
    """Fit every rule on all cells, and on the training subjects of every fold.

    The folds are cut by subject ``cuts`` times, with the seeds from ``seed`` on; there are fewer of
    them if a class has fewer subjects.
    """
    cells = measured.cells.sort("cell")
    is_all = (cells["label"] == ALL).to_numpy()
    plans = [make_folds(cells, "subject", folds, seed + cut) for cut in range(cuts)]
    tested = [tested_cells(cells, plan) for plan in plans]
    rules = {ALWAYS_ALL: (AlwaysAll, SIZE), **FITTED}
    found = tuple(
        judge_rule(name, rule, cells.select(columns).to_numpy().astype(np.float64), is_all, tested)
        for name, (rule, columns) in rules.items()
        if measured.has_colours or columns == SIZE
    )
    subjects = cells["subject"].n_unique()
    return Baselines(found, len(is_all), subjects, cuts, plans[0].cut, measured.synthetic)


def tested_cells(cells: pl.DataFrame, plan: FoldPlan) -> list[NDArray[np.bool_]]:
    """Return which of the cells each fold tests; its other cells are all fitted on."""
    return [
        cells["cell"]
        .is_in(split.table.filter(pl.col("part") == "test")["cell"].implode())
        .to_numpy()
        for split in plan.splits
    ]


def unseen_metrics(
    rule: Callable[[], BaselineRule],
    features: NDArray[np.float64],
    is_all: NDArray[np.bool_],
    tested: list[NDArray[np.bool_]],
) -> list[Metrics]:
    """Fit a rule for each fold on the cells that the fold does not test, and judge it on others."""
    return [
        compute_metrics(
            is_all[test], rule().fit(features[~test], is_all[~test]).score(features[test])
        )
        for test in tested
    ]


def judge_rule(
    name: str,
    rule: Callable[[], BaselineRule],
    features: NDArray[np.float64],
    is_all: NDArray[np.bool_],
    tested: list[list[NDArray[np.bool_]]],
) -> Baseline:
    """Judge a rule on the cells that it was fitted on, and in every fold of every cut."""
    fitted = rule().fit(features, is_all)
    in_sample = compute_metrics(is_all, fitted.score(features))
    unseen = [one for cut in tested for one in unseen_metrics(rule, features, is_all, cut)]
    over = {}
    for key in BASELINE_METRICS:
        found = Spread.of([float(value) for one in unseen if (value := one[key]) is not None])
        if found is not None and found.deviation is not None:
            over[key] = found
    threshold = fitted.threshold if isinstance(fitted, SizeRule) else None
    return Baseline(name, in_sample, threshold, over)
