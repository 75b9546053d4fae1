"""Analyse the errors of one or several models on one part, as in the paper's Section 3.4.1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.data.store import Store
from blastscope.data.traits import measure
from blastscope.error_analysis.causes import (
    Causes,
    Finding,
    FlagFinding,
    PaperGuess,
    SubjectFinding,
    check_guess,
    find_causes,
)
from blastscope.error_analysis.counts import Counts, PairAgreement, agreements, count_errors, misses
from blastscope.evaluation.aligned_predictions import AlignedPredictions
from blastscope.evaluation.comparison import Comparison
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.overlap import Overlap, members_overlap

FORMAT = "blastscope-errors/2"
MOST_CONFIDENT = 24
"""How many of each model's most confident errors are listed."""


@dataclass(frozen=True)
class Pick:
    """A cell to look at.

    Attributes:
        row: its row in the cells of the analysis.
        model: the only model that is right, or the model that errs; None if every model errs.
        confidence: probability of the wrong class, the mean over the models that err.
    """

    row: int
    model: str | None
    confidence: float


@dataclass(frozen=True)
class ErrorAnalysis:
    """The error analysis of one part.

    Attributes:
        counts: cells by the number of models that miss them.
        pairs: the agreement of each two models; empty for one model.
        traits: what was measured of each cell, in the order of the cells; None without a store.
        causes: what the missed cells have in common.
        guess: the paper's guess, held against each class.
        missed_by_all: cells that every model misses, the most confident error first.
        rescued: cells that exactly one model gets right; empty for one model.
        most_confident: the most confident errors of each model, at most ``MOST_CONFIDENT``.
        synthetic: whether the predictions or the store are of synthetic cells.
        overlap: whether the subjects of the part are also in training, or its cells chose weights.
        unlabelled: cells of the part that are left out because they have no label.
        sized: of the same models on the same cells: AUC, AUC at equal size, and the leads over
            size; None if sizes are unknown.
    """

    scores: AlignedPredictions
    part: str
    counts: Counts
    pairs: tuple[PairAgreement, ...]
    traits: pl.DataFrame | None
    causes: Causes
    guess: tuple[PaperGuess, ...]
    missed_by_all: tuple[Pick, ...]
    rescued: tuple[Pick, ...]
    most_confident: dict[str, tuple[Pick, ...]]
    synthetic: bool
    overlap: Overlap
    unlabelled: int
    sized: Comparison | None = field(default=None, kw_only=True)

    @property
    def cells(self) -> pl.DataFrame:
        """One row per cell: the cell, how many models miss it, their probabilities, its traits."""
        frame = self.scores.cells.select("cell", "subject", "label").with_columns(
            missed_by=pl.Series(misses(self.scores).sum(axis=1), dtype=pl.Int64)
        )
        for column, model in enumerate(self.scores.models):
            frame = frame.with_columns(
                pl.Series(f"p_all {model}", np.ascontiguousarray(self.scores.p_all[:, column]))
            )
        if self.traits is None:
            return frame
        return pl.concat([frame, self.traits.drop("cell")], how="horizontal")

    def as_json(self) -> dict[str, Any]:
        """The content of ``errors.json``."""
        return {
            "format": FORMAT,
            "synthetic": self.synthetic,
            "part": self.part,
            "protocol": self.scores.protocol,
            "threshold": THRESHOLD,
            "models": list(self.scores.models),
            "cells": self.scores.cells.height,
            "unlabelled": self.unlabelled,
            "readings": dict(self.scores.readings),
            "overlap": asdict(self.overlap),
            **self._sized_json(),
            "missed_by": {label: list(row) for label, row in self.counts.missed_by.items()},
            "errors": [asdict(row) for row in self.counts.models],
            "pairs": [asdict(pair) for pair in self.pairs],
            "hard": [asdict(group) for group in self.causes.groups],
            "findings": [_finding_json(finding) for finding in self.causes.findings],
            "subjects": self.causes.subjects.to_dicts(),
            "paper_guess": [asdict(one) for one in self.guess],
            "missed_by_all": [self._pick_json(pick) for pick in self.missed_by_all],
            "rescued": [self._pick_json(pick) for pick in self.rescued],
            "most_confident": {
                model: [self._pick_json(pick) for pick in picks]
                for model, picks in self.most_confident.items()
            },
        }

    def _sized_json(self) -> dict[str, Any]:
        """Return what stands beside size, by model; empty if sizes are unknown."""
        if self.sized is None:
            return {"auc": {}, "equal_size": {}, "baselines": {}}
        told = self.sized.as_json()
        auc = {model: metrics["auc"] for model, metrics in told["estimates"].items()}
        return {"auc": auc, "equal_size": told["equal_size"], "baselines": told["baselines"]}

    def _pick_json(self, pick: Pick) -> dict[str, Any]:
        cell = self.scores.cells["cell"][pick.row]
        return {"cell": cell, "model": pick.model, "confidence": pick.confidence}


def analyse(
    scores: AlignedPredictions, part: str, store: Store | None, sized: Comparison | None = None
) -> ErrorAnalysis:
    """Analyse the errors of every model in ``scores`` on one part.

    ``scores`` have every part, so that subjects in training are known; the store measures the
    cells; ``sized`` compares these models on the part, with their AUC at equal size.

    Raises:
        BlastscopeError: if the part has no labelled cells, or the store is of other cells.
    """
    rows = scores.part(part)
    traits = None if store is None else measure(store, rows.cells)
    causes = find_causes(rows, traits)
    missed = misses(rows)
    confidence = np.where(rows.is_all[:, None], 1 - rows.p_all, rows.p_all)
    return ErrorAnalysis(
        scores=rows,
        part=part,
        counts=count_errors(rows),
        pairs=agreements(rows),
        traits=traits,
        causes=causes,
        guess=check_guess(causes),
        missed_by_all=_picks(missed, confidence),
        rescued=_rescued(rows.models, missed, confidence) if len(rows.models) > 1 else (),
        most_confident={
            model: _picks(missed[:, [k]], confidence[:, [k]], model)[:MOST_CONFIDENT]
            for k, model in enumerate(rows.models)
        },
        synthetic=rows.synthetic or (store is not None and store.synthetic),
        overlap=members_overlap(scores, part),
        unlabelled=scores.every(part).cells.height - rows.cells.height,
        sized=sized,
    )


def _picks(
    missed: NDArray[np.bool_], confidence: NDArray[np.float64], model: str | None = None
) -> tuple[Pick, ...]:
    """Select the cells that all these models miss, the most confident error first."""
    rows = np.flatnonzero(missed.all(axis=1))
    return _sorted(Pick(int(row), model, float(confidence[row].mean())) for row in rows)


def _rescued(
    models: tuple[str, ...], missed: NDArray[np.bool_], confidence: NDArray[np.float64]
) -> tuple[Pick, ...]:
    rows = np.flatnonzero(missed.sum(axis=1) == len(models) - 1)
    right = (~missed).argmax(axis=1)
    return _sorted(
        Pick(int(row), models[right[row]], float(confidence[row][missed[row]].mean()))
        for row in rows
    )


def _sorted(picks: Iterable[Pick]) -> tuple[Pick, ...]:
    return tuple(sorted(picks, key=lambda pick: (-pick.confidence, pick.row)))


def _finding_json(finding: Finding) -> dict[str, Any]:
    common: dict[str, Any] = {
        "label": finding.label,
        **asdict(finding.found),
        "p_corrected": finding.corrected,
        "size": finding.size,
        "notable": finding.notable,
    }
    if isinstance(finding, SubjectFinding):
        return {"of": "subject", "subjects": finding.subjects, **common}
    if isinstance(finding, FlagFinding):
        return {"of": finding.flag, "flagged": finding.flagged, "others": finding.others, **common}
    return {
        "of": finding.trait.column,
        "hard": finding.hard,
        "right": finding.right,
        "median_hard": finding.median_hard,
        "median_right": finding.median_right,
        "within_subjects": finding.within,
        "subjects_with_both": finding.both,
        "seen_within": finding.seen_within,
        **common,
    }
