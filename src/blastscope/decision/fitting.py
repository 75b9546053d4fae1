"""Fit decisions for a split part on other cells: on validation, or on the other folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.decision.calibration import Bools, Floats
from blastscope.decision.decision import Decided, Decision, DecisionRequest, fit_decision
from blastscope.decision.subject_shares import subject_shares, worst_first
from blastscope.io.json_objects import Probability
from blastscope.io.predictions import has_folds

VALIDATION = "validation"
ADAPTATION = "adaptation"
"""The part of the cells that a bundle was adapted to."""


@dataclass(frozen=True)
class NoDecision:
    """Why there is no decision for the cells of a split part.

    Attributes:
        reason: ``one-class``: the part's cells have only one class. ``fitted-here``: decisions are
            fitted on this part (validation). ``no-validation``: the table has no validation cells
            of both classes to fit them on. ``transductive``: the probabilities were corrected by
            neighbours, so that they depend on the batch.
        part: the split part that is reported.
    """

    reason: Literal["one-class", "fitted-here", "no-validation", "transductive"]
    part: str


@dataclass(frozen=True)
class ShippedPoint:
    """What the threshold of a bundle, which stayed, reaches on the cells it was adapted to."""

    sensitivity: Probability
    specificity: Probability


@dataclass(frozen=True)
class FittedOn:
    """Which cells a decision was fitted on, and which subjects they share with others.

    Attributes:
        part: the split part: ``validation``, or in folds the reported part itself; ``adaptation``
            if they are the cells that a bundle was adapted to, of no split.
        reported: the split part whose cells are called.
        folds: how many folds the cells were called in; 1 if there are no folds.
        cells: how many cells the kept decision was fitted on.
        subjects: how many subjects name them.
        unnamed: cells that name no subject.
        subjects_reported: subjects of the reported cells.
        shared_reported: subjects it was fitted on that are also reported; in folds, subjects with
            cells in more than one fold.
        shared_training: subjects it was fitted on that are also in training.
        ensemble: whether the ensemble's weights were fitted on these cells too.
        shipped: given if an adaptation had too few cells for more than a calibration: threshold,
            referral and conformal sets are those of the bundle that was adapted.
    """

    part: str
    reported: str
    folds: int
    cells: int
    subjects: int
    unnamed: int
    subjects_reported: int
    shared_reported: int
    shared_training: int = 0
    ensemble: bool = False
    shipped: ShippedPoint | None = None


@dataclass(frozen=True)
class CrossFitted:
    """What was fitted, and on what.

    Attributes:
        decision: the one to keep.
        pieces: which of the reported cells each decision is for.
        fitted_on: which cells ``decision`` was fitted on, in numbers.
    """

    decision: Decision
    pieces: Sequence[tuple[Bools, Decision]]
    fitted_on: FittedOn
    on: pl.DataFrame

    def call(self, cells: pl.DataFrame) -> Decided:
        """Call all cells, in their order."""
        raw = cells["p_all"].to_numpy()
        found = [(here, decision.apply(raw[here])) for here, decision in self.pieces]
        return Decided(*(_in_order(found, field.name, len(raw)) for field in fields(Decided)))

    def subject_shares(self, cells: pl.DataFrame, calls: Decided) -> pl.DataFrame:
        """Sum up each subject by what was known of the others.

        If a decision was fitted on cells of a subject that it calls, the share of that subject is
        not corrected: sensitivity and specificity would be those of its own labels.
        """
        if len(self.pieces) > 1:
            known = _shared([cells.filter(pl.Series(here)) for here, _ in self.pieces])
        else:
            known = set(self.on["subject"].drop_nulls())
        own = cells["subject"].is_in(known).fill_null(False).to_numpy()
        tables = [
            subject_shares(cells.filter(pl.Series(here)), calls.take(here), reference)
            for here, reference in [
                (own, None),
                *((here & ~own, decision.reference) for here, decision in self.pieces),
            ]
        ]
        return worst_first(pl.concat(tables))


def fit_for(
    table: pl.DataFrame, part: str, metadata: Mapping[str, Any], request: DecisionRequest
) -> CrossFitted | NoDecision:
    """Fit on validation, or fold by fold on the other folds; return why, if nothing is fitted.

    Args:
        table: one model's prediction table, every part of it.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
    """
    cells = labelled(table, part)
    in_folds = _in_folds(cells, part, request) if has_folds(cells, metadata) else None
    return in_folds or _on_validation(table, cells, part, metadata, request)


def _on_validation(
    table: pl.DataFrame,
    cells: pl.DataFrame,
    part: str,
    metadata: Mapping[str, Any],
    request: DecisionRequest,
) -> CrossFitted | NoDecision:
    if part == VALIDATION:
        return NoDecision("fitted-here", part)
    on = labelled(table, VALIDATION)
    if not both_classes(truth(on)):
        return NoDecision("no-validation", part)
    fitted, reported = (set(rows["subject"].drop_nulls()) for rows in (on, cells))
    trained = set(table.filter(pl.col("part") == "train")["subject"].drop_nulls())
    fitted_on = FittedOn(
        part=VALIDATION,
        reported=part,
        folds=1,
        cells=on.height,
        subjects=len(fitted),
        unnamed=on["subject"].null_count(),
        subjects_reported=len(reported),
        shared_reported=len(fitted & reported),
        shared_training=len(fitted & trained),
        ensemble=VALIDATION in metadata.get("fitted_on", ()),
    )
    decision = _fit(on, request)
    return CrossFitted(decision, [(np.ones(cells.height, np.bool_), decision)], fitted_on, on)


def _in_folds(cells: pl.DataFrame, part: str, request: DecisionRequest) -> CrossFitted | None:
    """Call each fold's cells by what the others suggest; None if one of them leaves a class out."""
    fold = cells["fold"].to_numpy()
    is_all, numbers = truth(cells), np.unique(fold)
    if len(numbers) < 2 or not all(both_classes(is_all[fold != number]) for number in numbers):
        return None
    pieces = [
        (fold == number, _fit(cells.filter(pl.Series(fold != number)), request))
        for number in numbers
    ]
    subjects = cells["subject"].drop_nulls().n_unique()
    fitted_on = FittedOn(
        part=part,
        reported=part,
        folds=len(numbers),
        cells=cells.height,
        subjects=subjects,
        unnamed=cells["subject"].null_count(),
        subjects_reported=subjects,
        shared_reported=len(_shared([cells.filter(pl.Series(here)) for here, _ in pieces])),
    )
    return CrossFitted(_fit(cells, request), pieces, fitted_on, cells)


def _shared(folds: Sequence[pl.DataFrame]) -> set[str]:
    """Return the subjects that are in more than one fold."""
    times = Counter(name for fold in folds for name in fold["subject"].drop_nulls().unique())
    return {name for name, count in times.items() if count > 1}


def _in_order(found: Sequence[tuple[Bools, Decided]], name: str, cells: int) -> NDArray[Any]:
    """Put one array of the folds' calls into the order of the cells."""
    first = getattr(found[0][1], name)
    whole = np.empty((cells, *first.shape[1:]), first.dtype)
    for here, decided in found:
        whole[here] = getattr(decided, name)
    return whole


def _fit(cells: pl.DataFrame, request: DecisionRequest) -> Decision:
    """Fit on cells; their order does not matter."""
    cells = cells.sort("cell")
    raw: Floats = cells["p_all"].to_numpy()
    return fit_decision(truth(cells), raw, cells["subject"].to_list(), request)


def labelled(table: pl.DataFrame, part: str) -> pl.DataFrame:
    """Return the labelled cells of a split part."""
    return table.filter((pl.col("part") == part) & pl.col("label").is_not_null())


def truth(cells: pl.DataFrame) -> Bools:
    """Return which cells are ALL, shape (n,)."""
    return (cells["label"] == ALL).to_numpy()


def both_classes(is_all: Bools) -> bool:
    """Return whether cells of both classes are there."""
    return bool(is_all.any() and not is_all.all())
