"""What the cells that models miss have in common, tested within each class.

Size goes with class, so ALL and normal cells are never pooled. All tests of an analysis are
corrected together (Holm). They take cells for independent draws; what is left *within* subjects
is told beside, because cells of one person resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.traits import FLAGS, TRAITS, Trait
from blastscope.error_analysis import effects
from blastscope.error_analysis.counts import CLASSES, misses
from blastscope.error_analysis.effects import Association, Difference, Heterogeneity
from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.pair_tests import holm
from blastscope.evaluation.subjects import wilson_interval

FEWEST = 5
"""Fewer hard or right cells than this in a class tell nothing, nor fewer with a flag or without."""
PER_SUBJECT = 2
"""With fewer cells to a subject than this on average, subjects cannot be told from cells."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Group:
    """A class: how many of its cells are hard and right, and of how many subjects they are.

    Cells that name no subject are counted in ``nameless``.
    """

    label: str
    hard: int
    right: int
    subjects: int
    nameless: int

    @property
    def enough(self) -> bool:
        """Whether there are cells enough of both kinds to compare."""
        return min(self.hard, self.right) >= FEWEST

    @property
    def of_one(self) -> bool:
        """Whether every cell is of the same subject, so that nothing holds beyond a person."""
        return self.subjects == 1 and not self.nameless


@dataclass(frozen=True)
class TraitFinding:
    """A trait of the hard cells of a class against that of the right ones.

    ``within`` is the delta averaged over the ``both`` subjects that have hard and right cells.
    """

    label: str
    trait: Trait
    hard: int
    right: int
    median_hard: float
    median_right: float
    found: Difference
    within: float | None
    both: int
    corrected: float


@dataclass(frozen=True)
class FlagFinding:
    """How many cells with a flag, and without, are hard: (hard, cells) each."""

    label: str
    flag: str
    flagged: tuple[int, int]
    others: tuple[int, int]
    found: Association
    corrected: float


@dataclass(frozen=True)
class SubjectFinding:
    """Whether the hard cells of a class fall evenly on its subjects."""

    label: str
    subjects: int
    found: Heterogeneity
    corrected: float


Finding = TraitFinding | FlagFinding | SubjectFinding


@dataclass(frozen=True)
class Causes:
    """Everything that was tested.

    Attributes:
        hard: cells that at least half of the models miss, shape (cells,).
        groups: a row a class.
        findings: every test that could be made.
        subjects: ``subject``, ``label``, ``cells``, ``hard``, ``rate`` with its 95 % Wilson
            interval ``low`` to ``high``; the worst of each class first.
        models: how many models were asked.
    """

    hard: NDArray[np.bool_]
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    subjects: pl.DataFrame
    models: int

    def trait(self, label: str, column: str) -> TraitFinding | None:
        """Return what was found of one trait in one class, if it was tested."""
        tested = (found for found in self.findings if isinstance(found, TraitFinding))
        wanted = (f for f in tested if (f.label, f.trait.column) == (label, column))
        return next(wanted, None)


def find_causes(scores: AlignedPredictions, traits: pl.DataFrame | None) -> Causes:
    """Compare the cells that at least half of the models miss with the rest of their class.

    Args:
        scores: one part's labelled cells.
        traits: what ``traits.measure`` says of the same cells in the same order; None without a
            store, when only the subject is left to look at.
    """
    missed = misses(scores)
    hard = np.asarray(2 * missed.sum(axis=1) >= missed.shape[1])
    truth = dict(zip(CLASSES, (scores.is_all, ~scores.is_all), strict=True))
    subjects = _by_subject(scores, hard)
    groups, findings = [], []
    for label, rows in truth.items():
        owners = scores.cells["subject"].filter(pl.Series(rows))
        known = owners.drop_nulls()
        group = Group(
            label,
            int((hard & rows).sum()),
            int((~hard & rows).sum()),
            known.n_unique(),
            len(owners) - len(known),
        )
        groups.append(group)
        if group.enough:
            if traits is not None:
                findings += _traits(label, traits, rows, hard, scores.subjects)
                findings += _flags(label, traits, rows, hard)
            findings += _subjects(label, subjects)
    corrected = holm([finding.found.p for finding in findings])
    kept = tuple(replace(f, corrected=p) for f, p in zip(findings, corrected, strict=True))
    return Causes(hard, tuple(groups), kept, subjects, len(scores.models))


def _traits(
    label: str,
    traits: pl.DataFrame,
    rows: NDArray[np.bool_],
    hard: NDArray[np.bool_],
    subjects: Sequence[str | None],
) -> list[Finding]:
    findings: list[Finding] = []
    for trait in TRAITS:
        column = traits[trait.column].to_numpy().astype(np.float64)
        known = rows & ~np.isnan(column)
        values, missed = column[known], hard[known]
        ours, theirs = values[missed], values[~missed]
        if min(len(ours), len(theirs)) < FEWEST or np.ptp(values) == 0:
            continue
        owners = [subjects[int(row)] for row in np.flatnonzero(known)]
        within, both = effects.delta_within(values, missed, owners)
        findings.append(
            TraitFinding(
                label,
                trait,
                len(ours),
                len(theirs),
                float(np.median(ours)),
                float(np.median(theirs)),
                effects.difference(ours, theirs),
                within,
                both,
                corrected=1.0,
            )
        )
    return findings


def _flags(
    label: str, traits: pl.DataFrame, rows: NDArray[np.bool_], hard: NDArray[np.bool_]
) -> list[Finding]:
    findings: list[Finding] = []
    for flag in FLAGS:
        flagged, missed = traits[flag].to_numpy()[rows], hard[rows]
        if min(int(flagged.sum()), int((~flagged).sum())) < FEWEST:
            continue
        findings.append(
            FlagFinding(
                label,
                flag,
                (int(missed[flagged].sum()), int(flagged.sum())),
                (int(missed[~flagged].sum()), int((~flagged).sum())),
                effects.association(flagged, missed),
                corrected=1.0,
            )
        )
    return findings


def _subjects(label: str, subjects: pl.DataFrame) -> list[Finding]:
    mine = subjects.filter(pl.col("label") == label)
    hard, cells = mine["hard"].to_numpy(), mine["cells"].to_numpy()
    if len(mine) < 2 or not 0 < hard.sum() < cells.sum():
        return []
    if cells.mean() < PER_SUBJECT:
        return []
    return [SubjectFinding(label, len(mine), effects.heterogeneity(hard, cells), corrected=1.0)]


def _by_subject(scores: AlignedPredictions, hard: NDArray[np.bool_]) -> pl.DataFrame:
    table = (
        scores.cells.select("subject", "label")
        .with_columns(hard=pl.Series(hard))
        .filter(pl.col("subject").is_not_null())
        .group_by("subject", "label")
        .agg(cells=pl.len().cast(pl.Int64), hard=pl.col("hard").sum().cast(pl.Int64))
        .with_columns(rate=pl.col("hard") / pl.col("cells"))
    )
    low, high = wilson_interval(table["hard"].to_numpy(), table["cells"].to_numpy())
    return table.with_columns(low=pl.Series(low), high=pl.Series(high)).sort(
        "label", "rate", "cells", "subject", descending=[False, True, True, False]
    )
