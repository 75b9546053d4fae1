"""The baselines of a data set: each rule on the cells it was fitted on, and on unseen subjects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.folds import FoldPlan, make_folds
from blastscope.data.names import ALL
from blastscope.evaluation.baseline_rules import AlwaysAll, BaselineRule, Logistic, SizeRule
from blastscope.evaluation.cell_measurements import COLOURS, SIZE, MeasuredCells
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.spread import Spread

FORMAT = "blastscope-baselines/1"
FIGURES = ("weighted_f1", "auc", "recall_all", "recall_hem")


@dataclass(frozen=True)
class Baseline:
    """One rule's figures.

    Attributes:
        name: what it is called in tables.
        in_sample: the figures on the very cells that it was fitted on.
        threshold: the size rule's, in pixels; None for others.
        folds: the spread of each metric over all folds of unseen subjects and all cuts; a metric
            that fewer than two folds have is missing.
    """

    name: str
    in_sample: Metrics
    threshold: float | None
    folds: dict[str, Spread]


@dataclass(frozen=True)
class Baselines:
    """All baselines of a data set.

    Attributes:
        baselines: the rules, the plainest first.
        cells: labelled cells.
        subjects: how many persons they are of.
        cuts: how many times the folds were cut.
        sentences: how.
        synthetic: whether the cells are synthetic, where that is known.
    """

    baselines: tuple[Baseline, ...]
    cells: int
    subjects: int
    cuts: int
    sentences: tuple[str, ...]
    synthetic: bool

    def as_json(self) -> dict[str, Any]:
        """The baselines as JSON."""
        return {"format": FORMAT, **asdict(self)}


def baselines(measured: MeasuredCells, folds: int = 5, cuts: int = 5, seed: int = 24) -> Baselines:
    """Fit every rule on all cells, and on the training subjects of every fold.

    Args:
        measured: the cells.
        folds: how many folds by subject; fewer where a class has fewer subjects.
        cuts: how many times to cut them, with the seeds from ``seed`` on.
        seed: of the first cut.

    Raises:
        BlastscopeError: where the cells cannot be cut by subject.
    """
    cells = measured.cells.sort("cell")
    is_all = (cells["label"] == ALL).to_numpy()
    plans = [make_folds(cells, "subject", folds, seed + cut) for cut in range(cuts)]
    tested = [_tested(cells, plan) for plan in plans]
    rules: list[tuple[str, Callable[[], BaselineRule], Sequence[str]]] = [
        ("always ALL", AlwaysAll, SIZE),
        ("size", SizeRule, SIZE),
    ]
    if measured.has_colours:
        rules.append(("size and colour", Logistic, COLOURS))
    found = tuple(
        _baseline(name, rule, cells.select(columns).to_numpy().astype(np.float64), is_all, tested)
        for name, rule, columns in rules
    )
    people = cells["subject"].n_unique()
    return Baselines(found, len(is_all), people, cuts, plans[0].sentences[:1], measured.synthetic)


def read_baselines(source: Path, folds: int = 5, cuts: int = 5, seed: int = 24) -> Baselines:
    """Measure the cells of a store, a cell table or a table of boxes, and give their baselines.

    Raises:
        BlastscopeError: as :func:`baselines` and
        :func:`blastscope.evaluation.cell_measurements.measure_cells` do.
    """
    from blastscope.evaluation.cell_measurements import measure_cells

    return baselines(measure_cells(source), folds, cuts, seed)


def _tested(cells: pl.DataFrame, plan: FoldPlan) -> list[NDArray[np.bool_]]:
    """Which of the cells each fold tests; its other cells are all fitted on."""
    return [
        cells["cell"]
        .is_in(split.table.filter(pl.col("part") == "test")["cell"].implode())
        .to_numpy()
        for split in plan.splits
    ]


def _baseline(
    name: str,
    rule: Callable[[], BaselineRule],
    features: NDArray[np.float64],
    is_all: NDArray[np.bool_],
    tested: list[list[NDArray[np.bool_]]],
) -> Baseline:
    fitted = rule().fit(features, is_all)
    in_sample = compute_metrics(is_all, fitted.score(features))
    unseen = [
        compute_metrics(
            is_all[test], rule().fit(features[~test], is_all[~test]).score(features[test])
        )
        for cut in tested
        for test in cut
    ]
    over = {}
    for key in FIGURES:
        found = Spread.of([float(value) for one in unseen if (value := one[key]) is not None])
        if found is not None and found.deviation is not None:
            over[key] = found
    threshold = fitted.threshold if isinstance(fitted, SizeRule) else None
    return Baseline(name, in_sample, threshold, over)
