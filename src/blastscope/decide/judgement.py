"""Decisions judged: fitted on cells that are not reported, applied to those that are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.cells.names import ALL
from blastscope.decide.calibration import Bools, Floats
from blastscope.decide.conformal import fit_conformal
from blastscope.decide.decision import Decided, Decision, Wishes, fit_decision
from blastscope.decide.figures import DecidedFigures
from blastscope.decide.persons import person_table, worst_first
from blastscope.decide.referral import RiskCoverage, risk_coverage
from blastscope.decide.reliability import Reliability, reliability
from blastscope.evaluate.bootstrap import resampling
from blastscope.evaluate.intervals import Estimate, draw
from blastscope.predictions import has_folds

VALIDATION = "validation"


@dataclass(frozen=True)
class Judgement:
    """What decisions are worth on the cells of one part.

    Attributes:
        decision: what to decide by from now on. Where cells were decided of in folds, it is fitted
            on all of them, and no figure here is its own.
        sentence: which cells it was fitted on, and what that means.
        folds: in how many folds the part's cells were decided of; 1 where in one go.
        of: what was decided of the part's cells, in their order.
        before: the network's own probabilities against the truth.
        after: the calibrated ones.
        curve: the error of what is kept.
        estimates: by name (``figures.DecidedFigures``), with 95 % intervals by subject.
        known_coverage: how often conformal sets hold the truth of other cells of the persons that
            they were fitted on: the same promise without a change of person. None where there are
            too few cells to try.
        persons: a row a person (see ``persons.person_table``), the worst first.
    """

    decision: Decision
    sentence: str
    folds: int
    of: Decided
    before: Reliability
    after: Reliability
    curve: RiskCoverage
    estimates: dict[str, Estimate]
    known_coverage: float | None
    persons: pl.DataFrame


def judge_decisions(
    table: pl.DataFrame, part: str, metadata: Mapping[str, Any], wishes: Wishes
) -> Judgement | str:
    """Fit on validation, or fold by fold on the other folds, and judge on ``part``.

    Args:
        table: one model's prediction table, every part of it.
        part: the part to judge on; its labelled cells count.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
        wishes: what is asked for.

    Returns:
        The judgement; or a sentence that says why there is none.
    """
    cells = _labelled(table, part)
    is_all, raw = _truth(cells), cells["p_all"].to_numpy()
    if not _both(is_all):
        return f"The {part} cells are of one class: decisions are judged on both."
    in_folds = _in_folds(cells, wishes) if has_folds(cells, metadata) else None
    fitted = in_folds or _on_validation(table, cells, part, metadata, wishes)
    if isinstance(fitted, str):
        return fitted
    of = fitted.laid(cells)
    figures = DecidedFigures(is_all, raw, of)
    draws = resampling(is_all, cells["subject"].to_list())
    intervals = draw(figures.of, draws).estimates()
    return Judgement(
        decision=fitted.decision,
        sentence=fitted.sentence,
        folds=len(fitted.pieces),
        of=of,
        before=reliability(is_all, raw, draws),
        after=reliability(is_all, of.p_all, draws),
        curve=risk_coverage(of.called != is_all, of.sure),
        estimates=dict(zip(figures.names, intervals, strict=True)),
        known_coverage=_known_coverage(fitted.on, fitted.decision, wishes.coverage),
        persons=fitted.persons(cells, of),
    )


@dataclass(frozen=True)
class _Fitted:
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
            return person_table(cells, of, None)  # every decision knows the persons it is for
        tables = [
            person_table(cells.filter(pl.Series(here)), of.take(here), decision.reference)
            for here, decision in self.pieces
        ]
        return worst_first(pl.concat(tables))


def _on_validation(
    table: pl.DataFrame, cells: pl.DataFrame, part: str, metadata: Mapping[str, Any], wishes: Wishes
) -> _Fitted | str:
    if part == VALIDATION:
        return "Decisions are fitted on validation, so they are not judged on it: report test."
    on = _labelled(table, VALIDATION)
    if not _both(_truth(on)):
        return (
            "The table has no validation cells of both classes to fit calibration and operating "
            "point on, and they are never fitted on the cells that are reported."
        )
    decision = _fit(on, wishes)
    sentence = f"Fitted on {_counted(on)} of validation, applied to the {part} cells."
    if VALIDATION in metadata.get("fitted_on", ()):
        sentence += " The ensemble's weights were fitted on these too, so it does better there."
    everything = np.ones(cells.height, np.bool_)
    return _Fitted(decision, [(everything, decision)], sentence + _whose(table, on, cells), on)


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


def _in_folds(cells: pl.DataFrame, wishes: Wishes) -> _Fitted | None:
    """Decide of each fold as the others suggest; None where one of them leaves a class out."""
    fold = cells["fold"].to_numpy()
    is_all, numbers = _truth(cells), np.unique(fold)
    if len(numbers) < 2 or not all(_both(is_all[fold != number]) for number in numbers):
        return None
    pieces = [
        (fold == number, _fit(cells.filter(pl.Series(fold != number)), wishes))
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
    return _Fitted(_fit(cells, wishes), pieces, sentence, cells)


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


def _known_coverage(on: pl.DataFrame, decision: Decision, promised: float) -> float | None:
    """Fit sets on one half of the cells and try them on the other, both ways."""
    on = on.sort("cell")
    is_all, p_all = _truth(on), decision.calibration.apply(on["p_all"].to_numpy())
    half = np.random.default_rng(24).permutation(on.height) % 2 == 0
    if not (_both(is_all[half]) and _both(is_all[~half])):
        return None
    held = np.empty(on.height, np.bool_)
    for here in (half, ~half):
        sets = fit_conformal(is_all[~here], p_all[~here], promised).sets(p_all[here])
        held[here] = np.where(is_all[here], sets[:, 1], sets[:, 0])
    return float(held.mean())


def _fit(cells: pl.DataFrame, wishes: Wishes) -> Decision:
    """Fit on cells; in which order they stand does not matter."""
    cells = cells.sort("cell")
    raw: Floats = cells["p_all"].to_numpy()
    return fit_decision(_truth(cells), raw, cells["subject"].to_list(), wishes)


def _labelled(table: pl.DataFrame, part: str) -> pl.DataFrame:
    return table.filter((pl.col("part") == part) & pl.col("label").is_not_null())


def _truth(cells: pl.DataFrame) -> Bools:
    return (cells["label"] == ALL).to_numpy()


def _both(is_all: Bools) -> bool:
    return bool(is_all.any() and not is_all.all())


def _counted(cells: pl.DataFrame) -> str:
    people = cells["subject"].drop_nulls().n_unique()
    if not people:
        return f"{cells.height:,} cells"
    nameless = cells["subject"].null_count()
    rest = f" ({nameless:,} cells name none)" if nameless else ""
    return f"{cells.height:,} cells of {people} subjects{rest}"
