"""AUC over chosen pairs of an ALL and a normal cell, for thousands of resamples of subjects.

AUC is the share of such pairs that are in order (Mann and Whitney). Which pairs count can be
limited: to cells of about the same size, or to cells that one network of a cross-validation
predicted. The pairs are added up by subject once; a resample is then two products of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import Resampling

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.intp]

_PAIRS_AT_A_TIME = 2**21


@dataclass(frozen=True)
class ScoredCells:
    """Cells of both classes with what limits their pairs; every array has shape (cells,).

    Attributes:
        is_all: truth.
        p_all: probability of ALL.
        size: in pixels of the source; None if unknown.
        fold: the fold of a cross-validation, whose networks are on scales of their own; pairs are
            of cells of the same fold. None if one network predicted all cells.
    """

    is_all: Bools
    p_all: Floats
    size: Floats | None = None
    fold: NDArray[np.int64] | None = None

    @property
    def both_classes(self) -> bool:
        """Whether there is a pair at all."""
        return bool(self.is_all.any() and not self.is_all.all())


@dataclass(frozen=True)
class PairSums:
    """Pairs of an ALL and a normal cell, added up by the units that are drawn.

    Attributes:
        in_order: by unit of the ALL cell and unit of the normal cell, the weight of pairs in which
            the ALL cell has the higher probability; a tie counts half. Shape (units, units).
        pairs: the weight of all pairs, likewise.
    """

    in_order: Floats
    pairs: Floats

    def auc(self, weights: Floats) -> Floats:
        """Return the AUC for weights of the units, (rows, units); NaN without a pair."""
        above, below = (
            np.einsum("ru,ru->r", weights @ of, weights) for of in (self.in_order, self.pairs)
        )
        return _ratio(above, below)

    def auc_by_unit(self, weights: Floats) -> Floats:
        """Return the AUC of each unit's normal cells against all ALL cells, (rows, units)."""
        above, below = weights @ self.in_order, weights @ self.pairs
        return _ratio(above, below)


def _ratio(above: Floats, below: Floats) -> Floats:
    found: Floats = np.full(above.shape, np.nan)
    np.divide(above, below, out=found, where=below > 0)
    return found


def add_up_pairs(
    cells: ScoredCells,
    units: Codes,
    caliper: float | None = None,
    weight: Floats | None = None,
) -> PairSums:
    """Add up the pairs by unit.

    Args:
        cells: with ``size`` if there is a caliper.
        units: the unit of each cell, from 0, shape (cells,).
        caliper: count only pairs whose sizes differ by no more than this share of their mean.
        weight: of each cell, shape (cells,); a pair has the product. One by default.
    """
    count = int(units.max()) + 1 if len(units) else 0
    in_order, pairs = np.zeros((2, count, count))
    blast = np.flatnonzero(cells.is_all)
    normal = np.flatnonzero(~cells.is_all)
    normal = normal[np.argsort(units[normal], kind="stable")]
    if not len(blast) or not len(normal):
        return PairSums(in_order, pairs)
    there, starts = np.unique(units[normal], return_index=True)
    for some in np.array_split(blast, 1 + len(blast) * len(normal) // _PAIRS_AT_A_TIME):
        shares = _counted(cells, some, normal, caliper)
        if weight is not None:
            shares *= weight[some, None] * weight[None, normal]
        ordered = shares * _in_order(cells.p_all[some, None], cells.p_all[None, normal])
        for sums, values in ((pairs, shares), (in_order, ordered)):
            by_normal = np.add.reduceat(values, starts, axis=1)
            np.add.at(sums, (units[some, None], there[None]), by_normal)
    return PairSums(in_order, pairs)


def _in_order(blast: Floats, normal: Floats) -> Floats:
    found: Floats = (blast > normal) + 0.5 * (blast == normal)
    return found


def _counted(cells: ScoredCells, blast: Codes, normal: Codes, caliper: float | None) -> Floats:
    """Return 1 for a pair that counts and 0 for another, (ALL cells, normal cells)."""
    counts = np.ones((len(blast), len(normal)), np.bool_)
    if cells.fold is not None:
        counts &= cells.fold[blast, None] == cells.fold[None, normal]
    if caliper is not None:
        assert cells.size is not None
        one, other = cells.size[blast, None], cells.size[None, normal]
        counts &= np.abs(one - other) <= caliper * (one + other) / 2
    return counts.astype(np.float64)


def units_of(draws: Resampling) -> tuple[Codes, Codes]:
    """Return the unit of each cell, and a cell of each unit that has its weight.

    A unit is a subject; in a stratum of one subject, whose cells are drawn, it is a cell.
    """
    codes = np.zeros(draws.cells, np.intp)
    first: list[int] = []
    for groups in draws.strata:
        units = groups if len(groups) > 1 else [np.array([cell]) for cell in groups[0]]
        for unit in units:
            codes[unit] = len(first)
            first.append(int(unit[0]))
    return codes, np.array(first, np.intp)
