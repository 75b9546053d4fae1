"""Find causes of errors: what missed cells have in common, tested within each class.

Size depends on class, so ALL and normal cells are never pooled. All tests of an analysis are
corrected together (Holm). The tests treat cells as independent, but cells of one subject are alike,
so each effect is also measured within subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Literal

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
"""A class with fewer hard or right cells is not tested, nor a flag with fewer cells on a side."""
PER_SUBJECT = 2
"""Subjects are not compared if they have fewer cells than this on average."""
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Group:
    """A class: its hard cells, its right cells and its subjects.

    ``nameless`` counts the cells that name no subject.
    """

    label: str
    hard: int
    right: int
    subjects: int
    nameless: int

    @property
    def enough(self) -> bool:
        """Whether there are enough cells of both kinds to compare."""
        return min(self.hard, self.right) >= FEWEST

    @property
    def of_one(self) -> bool:
        """Whether every cell is of the same subject: nothing can be said of other subjects."""
        return self.subjects == 1 and not self.nameless


class EffectSize(StrEnum):
    """The size of an effect, in the usual four steps."""

    NEGLIGIBLE = "negligible"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Within(StrEnum):
    """Whether an effect is also seen within subjects, and not only between them."""

    HOLDS = "holds"
    WEAK = "weak"
    """Within subjects the effect is negligible, or points the other way."""
    FEW_SUBJECTS = "few-subjects"
    """Fewer than two subjects have both hard and right cells."""
    ONE_SUBJECT = "one-subject"
    """The whole class is of one subject: within and overall are the same."""
    UNKNOWN = "unknown"
    """No cell of the class names its subject."""


@dataclass(frozen=True)
class _Tested:
    """What every test has: its class, and p with Holm's correction.

    ``steps`` are the effects from which a size is called small, medium and large.
    """

    label: str
    corrected: float
    steps: ClassVar[tuple[float, float, float]]

    @property
    def effect(self) -> float:
        """The size of the effect, on the scale of ``steps``."""
        raise NotImplementedError

    @property
    def size(self) -> EffectSize:
        """The size of the effect: negligible, small, medium or large."""
        return list(EffectSize)[sum(abs(self.effect) >= step for step in self.steps)]

    @property
    def notable(self) -> bool:
        """Whether the finding is unlikely by chance (corrected) and its effect not negligible."""
        return self.corrected < SIGNIFICANCE and self.size is not EffectSize.NEGLIGIBLE


@dataclass(frozen=True)
class TraitFinding(_Tested):
    """A trait of the hard cells of a class compared with that of the right ones.

    Attributes:
        found: Cliff's delta; steps of J. Romano and others (Annual meeting of the Florida
            Association of Institutional Research, 2006).
        within: the delta averaged over the ``both`` subjects that have hard and right cells.
        both: how many subjects these are.
        seen_within: what ``within`` says of the effect.
    """

    trait: Trait
    hard: int
    right: int
    median_hard: float
    median_right: float
    found: Difference
    within: float | None
    both: int
    seen_within: Within
    steps = (0.147, 0.33, 0.474)

    @property
    def effect(self) -> float:
        """Cliff's delta."""
        return self.found.delta


@dataclass(frozen=True)
class FlagFinding(_Tested):
    """How many cells with a flag, and without it, are hard: (hard, cells) each.

    The steps of Cohen's h and V are J. Cohen's (Statistical Power Analysis, 1988).
    """

    flag: str
    flagged: tuple[int, int]
    others: tuple[int, int]
    found: Association
    steps = (0.2, 0.5, 0.8)

    @property
    def effect(self) -> float:
        """Cohen's h."""
        return self.found.h


@dataclass(frozen=True)
class SubjectFinding(_Tested):
    """Whether the hard cells of a class are spread evenly over its subjects."""

    subjects: int
    found: Heterogeneity
    steps = (0.1, 0.3, 0.5)

    @property
    def effect(self) -> float:
        """Cramér's V."""
        return self.found.v


Finding = TraitFinding | FlagFinding | SubjectFinding


@dataclass(frozen=True)
class Causes:
    """All tests of an analysis.

    Attributes:
        hard: cells that at least half of the models miss, shape (cells,).
        subjects: ``subject``, ``label``, ``cells``, ``hard``, ``rate`` with its 95 % Wilson
            interval ``low`` to ``high``; the worst of each class first.
    """

    hard: NDArray[np.bool_]
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    subjects: pl.DataFrame
    models: int
    measured: bool

    def trait(self, label: str, column: str) -> TraitFinding | None:
        """Return the finding on one trait in one class; None if it was not tested."""
        tested = (found for found in self.findings if isinstance(found, TraitFinding))
        wanted = (f for f in tested if (f.label, f.trait.column) == (label, column))
        return next(wanted, None)


def find_causes(scores: AlignedPredictions, traits: pl.DataFrame | None) -> Causes:
    """Compare the cells that at least half of the models miss with the rest of their class.

    ``traits`` are those of the same labelled cells of one part, in order; only subjects are
    compared without them.
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
                findings += _traits(group, traits, rows, hard, scores.subjects)
                findings += _flags(label, traits, rows, hard)
            findings += _subjects(label, subjects)
    corrected = holm([finding.found.p for finding in findings])
    kept = tuple(replace(f, corrected=p) for f, p in zip(findings, corrected, strict=True))
    measured = traits is not None
    return Causes(hard, tuple(groups), kept, subjects, len(scores.models), measured)


Verdict = Literal["supports", "contradicts", "no-difference", "not-tested"]


@dataclass(frozen=True)
class PaperGuess:
    """The paper's guess held against one class.

    Its authors saw more black background and more irregular shapes in missed cells (Section 3.4.1).
    Irregular is taken as a lower solidity of the outline.
    """

    label: str
    background: Verdict
    outline: Verdict


def check_guess(causes: Causes) -> tuple[PaperGuess, ...]:
    """Hold the paper's guess against the findings of each class."""
    return tuple(
        PaperGuess(
            group.label,
            _verdict(causes.trait(group.label, "background"), expected=1),
            _verdict(causes.trait(group.label, "solidity"), expected=-1),
        )
        for group in causes.groups
    )


def _verdict(finding: TraitFinding | None, expected: int) -> Verdict:
    if finding is None:
        return "not-tested"
    if not finding.notable:
        return "no-difference"
    return "supports" if finding.found.delta * expected > 0 else "contradicts"


def _traits(
    group: Group,
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
        found = effects.difference(ours, theirs)
        findings.append(
            TraitFinding(
                label=group.label,
                corrected=1.0,
                trait=trait,
                hard=len(ours),
                right=len(theirs),
                median_hard=float(np.median(ours)),
                median_right=float(np.median(theirs)),
                found=found,
                within=within,
                both=both,
                seen_within=_seen_within(group, found.delta, within, both),
            )
        )
    return findings


def _seen_within(group: Group, delta: float, within: float | None, both: int) -> Within:
    if group.of_one:
        return Within.ONE_SUBJECT
    if not group.subjects:
        return Within.UNKNOWN
    if within is None or both < 2:
        return Within.FEW_SUBJECTS
    weak = within * delta <= 0 or abs(within) < TraitFinding.steps[0]
    return Within.WEAK if weak else Within.HOLDS


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
                label=label,
                corrected=1.0,
                flag=flag,
                flagged=(int(missed[flagged].sum()), int(flagged.sum())),
                others=(int(missed[~flagged].sum()), int((~flagged).sum())),
                found=effects.association(flagged, missed),
            )
        )
    return findings


def _subjects(label: str, subjects: pl.DataFrame) -> list[Finding]:
    mine = subjects.filter(pl.col("label") == label)
    hard, cells = mine["hard"].to_numpy(), mine["cells"].to_numpy()
    if len(mine) < 2 or not 0 < hard.sum() < cells.sum() or cells.mean() < PER_SUBJECT:
        return []
    return [SubjectFinding(label, 1.0, len(mine), effects.heterogeneity(hard, cells))]


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
