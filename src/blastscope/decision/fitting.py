"""Decisions for a part's cells, fitted on other cells: on validation, or on the other folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.names import ALL
from blastscope.decision.calibration import Bools, Floats
from blastscope.decision.decision import Decided, Decision, DecisionRequest, fit_decision
from blastscope.decision.subject_shares import subject_shares, worst_first
from blastscope.io.predictions import has_folds

VALIDATION = "validation"


@dataclass(frozen=True)
class CrossFitted:
    """What was fitted, and on what.

    Attributes:
        decision: the one to keep.
        pieces: which of the reported cells each decision is for.
        sentence: says so.
        on: the cells that ``decision`` was fitted on.
    """

    decision: Decision
    pieces: Sequence[tuple[Bools, Decision]]
    sentence: str
    on: pl.DataFrame

    def laid(self, cells: pl.DataFrame) -> Decided:
        """Decide of all cells, in their order."""
        raw = cells["p_all"].to_numpy()
        found = [(here, decision.apply(raw[here])) for here, decision in self.pieces]
        return Decided(*(_laid(found, field.name, len(raw)) for field in fields(Decided)))

    def persons(self, cells: pl.DataFrame, of: Decided) -> pl.DataFrame:
        """Sum up each person by what was known of the others."""
        if _shared([cells.filter(pl.Series(here)) for here, _ in self.pieces]):
            return subject_shares(cells, of, None)  # every decision knows the persons it is for
        tables = [
            subject_shares(cells.filter(pl.Series(here)), of.take(here), decision.reference)
            for here, decision in self.pieces
        ]
        return worst_first(pl.concat(tables))


def fit_for(
    table: pl.DataFrame, part: str, metadata: Mapping[str, Any], request: DecisionRequest
) -> CrossFitted | str:
    """Fit on validation, or fold by fold on the other folds of a cross-validation.

    Args:
        table: one model's prediction table, every part of it.
        part: the part whose cells are to be decided of.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
        request: what is asked for.

    Returns:
        What was fitted; or a sentence that says why nothing was.
    """
    cells = labelled(table, part)
    in_folds = _in_folds(cells, request) if has_folds(cells, metadata) else None
    return in_folds or _on_validation(table, cells, part, metadata, request)


def _on_validation(
    table: pl.DataFrame,
    cells: pl.DataFrame,
    part: str,
    metadata: Mapping[str, Any],
    request: DecisionRequest,
) -> CrossFitted | str:
    if part == VALIDATION:
        return "Decisions are fitted on validation, so they are not judged on it: report test."
    on = labelled(table, VALIDATION)
    if not both_classes(truth(on)):
        return (
            "The table has no validation cells of both classes to fit calibration and operating "
            "point on, and they are never fitted on the cells that are reported."
        )
    decision = _fit(on, request)
    sentence = f"Fitted on {_counted(on)} of validation, applied to the {part} cells."
    if VALIDATION in metadata.get("fitted_on", ()):
        sentence += " The ensemble's weights were fitted on these too, so it does better there."
    everything = np.ones(cells.height, np.bool_)
    return CrossFitted(decision, [(everything, decision)], sentence + _whose(table, on, cells), on)


def _whose(table: pl.DataFrame, on: pl.DataFrame, cells: pl.DataFrame) -> str:
    """Say where the persons that decisions were fitted on are known already."""
    fitted, reported = (set(rows["subject"].drop_nulls()) for rows in (on, cells))
    trained = set(table.filter(pl.col("part") == "train")["subject"].drop_nulls())
    told = ""
    if fitted & reported:
        told = (
            f" Of its {len(fitted)} subjects {len(fitted & reported)} are also among the "
            f"{len(reported)} reported: how decisions hold for other persons is not told by them."
        )
    if fitted & trained:
        told += (
            f" Of its {len(fitted)} subjects {len(fitted & trained)} are in training too: the "
            "network is surer of them than it will be of others."
        )
    return told


def _in_folds(cells: pl.DataFrame, request: DecisionRequest) -> CrossFitted | None:
    """Decide of each fold as the others suggest; None where one of them leaves a class out."""
    fold = cells["fold"].to_numpy()
    is_all, numbers = truth(cells), np.unique(fold)
    if len(numbers) < 2 or not all(both_classes(is_all[fold != number]) for number in numbers):
        return None
    pieces = [
        (fold == number, _fit(cells.filter(pl.Series(fold != number)), request))
        for number in numbers
    ]
    sentence = (
        f"Decided in {len(numbers)} folds: each fold's cells by what was fitted on the out-of-fold "
        "predictions of the others. What is kept for new cells is fitted on all of them."
    )
    shared = _shared([cells.filter(pl.Series(here)) for here, _ in pieces])
    if shared:
        sentence += (
            f" {shared} subjects have cells in more than one fold: how decisions hold for other "
            "persons is not told by them."
        )
    return CrossFitted(_fit(cells, request), pieces, sentence, cells)


def _shared(folds: Sequence[pl.DataFrame]) -> int:
    """Count the subjects that are in more than one fold."""
    people = Counter(name for fold in folds for name in fold["subject"].drop_nulls().unique())
    return sum(times > 1 for times in people.values())


def _laid(found: Sequence[tuple[Bools, Decided]], name: str, cells: int) -> NDArray[Any]:
    """Lay one array of the folds' decisions into the order of the cells."""
    first = getattr(found[0][1], name)
    whole = np.empty((cells, *first.shape[1:]), first.dtype)
    for here, decided in found:
        whole[here] = getattr(decided, name)
    return whole


def _fit(cells: pl.DataFrame, request: DecisionRequest) -> Decision:
    """Fit on cells; in which order they stand does not matter."""
    cells = cells.sort("cell")
    raw: Floats = cells["p_all"].to_numpy()
    return fit_decision(truth(cells), raw, cells["subject"].to_list(), request)


def labelled(table: pl.DataFrame, part: str) -> pl.DataFrame:
    """Return the cells of a part that have a label."""
    return table.filter((pl.col("part") == part) & pl.col("label").is_not_null())


def truth(cells: pl.DataFrame) -> Bools:
    """Say which cells are ALL."""
    return (cells["label"] == ALL).to_numpy()


def both_classes(is_all: Bools) -> bool:
    """Say whether cells of both classes are there."""
    return bool(is_all.any() and not is_all.all())


def _counted(cells: pl.DataFrame) -> str:
    people = cells["subject"].drop_nulls().n_unique()
    if not people:
        return f"{cells.height:,} cells"
    nameless = cells["subject"].null_count()
    rest = f" ({nameless:,} cells name none)" if nameless else ""
    return f"{cells.height:,} cells of {people} subjects{rest}"
