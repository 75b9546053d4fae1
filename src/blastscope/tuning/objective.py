"""The objective of a search: one number for the cells that a trial is scored on.

The default is the AUC at equal size (:mod:`blastscope.evaluation.equal_size`), because a search by
plain AUC favours networks that measure the size of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.cell_pairs import PairSums, ScoredCells, add_up_pairs, units_of
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.equal_size import CALIPER
from blastscope.evaluation.metrics import compute_metrics
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics

Objective = Literal["equal-size-auc", "auc", "weighted-f1", "balanced-accuracy"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)
_BY_PAIRS = ("equal-size-auc", "auc")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredPart:
    """The cells that are scored, and by what.

    Attributes:
        cells: ``cell``, ``subject``, ``label``, ``size`` (the longer side of its box; null if
            unknown) and, if several networks share them, ``fold``.
    """

    cells: pl.DataFrame
    objective: str

    @property
    def is_all(self) -> NDArray[np.bool_]:
        """Truth, shape (cells,)."""
        return (self.cells["label"] == ALL).to_numpy()

    def up_to_fold(self, fold: int) -> ScoredPart:
        """Return the cells of the folds from 0 to ``fold``."""
        return ScoredPart(self.cells.filter(pl.col("fold") <= fold), self.objective)

    def pairs(self) -> float:
        """Count the pairs of an ALL and a normal cell that the objective compares."""
        return float(self._sums(np.zeros(self.cells.height), self._one_unit).pairs.sum())

    def score(self, p_all: Floats) -> float:
        """Return the objective of probabilities of ALL, shape (cells,); NaN if it is undefined."""
        if not np.isfinite(p_all).all():
            return float("nan")
        if self.objective in _BY_PAIRS:
            return float(self._sums(p_all, self._one_unit).auc(np.ones((1, 1)))[0])
        value = compute_metrics(self.is_all, p_all)[self.objective.replace("-", "_")]
        return float("nan") if value is None else float(value)

    def compare(self, winner: Floats, base: Floats) -> tuple[Estimate, Estimate, Estimate]:
        """Return the objective of two models and their paired difference, with 95 % intervals.

        Subjects are drawn, as for every interval of blastscope. Both arrays have shape (cells,).
        """
        draws = resampling(self.is_all, self.cells["subject"].to_list())
        if self.objective in _BY_PAIRS:
            codes, first = units_of(draws)
            sums = [self._sums(p_all, codes) for p_all in (winner, base)]

            def metrics_of(weights: NDArray[np.uint16]) -> Floats:
                drawn = weights[:, first].astype(np.float64)
                return np.column_stack([one.auc(drawn) for one in sums])
        else:
            place = METRICS.index(self.objective.replace("-", "_"))
            metrics = WeightedMetrics(self.is_all, np.column_stack([winner, base]))

            def metrics_of(weights: NDArray[np.uint16]) -> Floats:
                return metrics.of(weights)[..., place]

        found = draw(metrics_of, draws).of(lambda v: np.column_stack([v, v[:, 0] - v[:, 1]]))
        first_model, second_model, difference = found.estimates()
        return first_model, second_model, difference

    @property
    def _one_unit(self) -> NDArray[np.intp]:
        return np.zeros(self.cells.height, np.intp)

    def _sums(self, p_all: Floats, units: NDArray[np.intp]) -> PairSums:
        by_size = self.objective == "equal-size-auc"
        size = self.cells["size"].to_numpy() if by_size else None
        fold = self.cells["fold"].to_numpy() if "fold" in self.cells.columns else None
        scored = ScoredCells(self.is_all, p_all, size, fold)
        return add_up_pairs(scored, units, CALIPER if by_size else None)


def choose_objective(asked: str | None, cells: pl.DataFrame) -> str:
    """Return the objective that was asked for, or the default for these cells.

    ``cells`` is as :class:`ScoredPart` has it. The default is ``equal-size-auc``; ``auc`` if a
    cell's size is not known.

    Raises:
        BlastscopeError: if it cannot be computed of these cells.
    """
    sized = not cells["size"].null_count()
    name = asked or ("equal-size-auc" if sized else "auc")
    if name not in OBJECTIVES:
        raise BlastscopeError(f"{name} is not an objective: choose {', '.join(OBJECTIVES)}.")
    if name == "equal-size-auc" and not sized:
        raise BlastscopeError(
            "The store does not know the size of every cell: choose another objective, such as auc."
        )
    if name in _BY_PAIRS and not ScoredPart(cells, name).pairs():
        raise BlastscopeError(
            "No two validation cells can be compared (an ALL and a normal cell"
            f"{' of about the same size' if name == 'equal-size-auc' else ''}): choose another "
            "objective or another split."
        )
    return name


def with_sizes(store_cells: pl.DataFrame) -> pl.DataFrame:
    """Return ``cell``, ``subject``, ``label`` and ``size`` of a store's cells."""
    size = pl.max_horizontal("box_w", "box_h").cast(pl.Float64)
    return store_cells.select("cell", "subject", "label", size=size)
