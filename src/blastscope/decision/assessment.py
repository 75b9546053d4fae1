"""Decisions judged: fitted on cells that are not reported, applied to those that are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from blastscope.decision.conformal import fit_conformal
from blastscope.decision.decision import Decided, Decision, DecisionRequest
from blastscope.decision.decision_metrics import DecisionMetrics
from blastscope.decision.fitting import both_classes, fit_for, labelled, truth
from blastscope.decision.referral import RiskCoverage, risk_coverage
from blastscope.decision.reliability import Reliability, reliability
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw


@dataclass(frozen=True)
class DecisionAssessment:
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


def assess_decisions(
    table: pl.DataFrame, part: str, metadata: Mapping[str, Any], request: DecisionRequest
) -> DecisionAssessment | str:
    """Fit on validation, or fold by fold on the other folds, and judge on ``part``.

    Args:
        table: one model's prediction table, every part of it.
        part: the part to judge on; its labelled cells count.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
        request: what is asked for.

    Returns:
        The judgement; or a sentence that says why there is none.
    """
    cells = labelled(table, part)
    is_all, raw = truth(cells), cells["p_all"].to_numpy()
    if not both_classes(is_all):
        return f"The {part} cells are of one class: decisions are judged on both."
    fitted = fit_for(table, part, metadata, request)
    if isinstance(fitted, str):
        return fitted
    of = fitted.laid(cells)
    figures = DecisionMetrics(is_all, raw, of)
    draws = resampling(is_all, cells["subject"].to_list())
    intervals = draw(figures.of, draws).estimates()
    return DecisionAssessment(
        decision=fitted.decision,
        sentence=fitted.sentence,
        folds=len(fitted.pieces),
        of=of,
        before=reliability(is_all, raw, draws),
        after=reliability(is_all, of.p_all, draws),
        curve=risk_coverage(of.called != is_all, of.sure),
        estimates=dict(zip(figures.names, intervals, strict=True)),
        known_coverage=_known_coverage(fitted.on, fitted.decision, request.coverage),
        persons=fitted.persons(cells, of),
    )


def _known_coverage(on: pl.DataFrame, decision: Decision, promised: float) -> float | None:
    """Fit sets on one half of the cells and try them on the other, both ways."""
    on = on.sort("cell")
    is_all, p_all = truth(on), decision.calibration.apply(on["p_all"].to_numpy())
    half = np.random.default_rng(24).permutation(on.height) % 2 == 0
    if not (both_classes(is_all[half]) and both_classes(is_all[~half])):
        return None
    held = np.empty(on.height, np.bool_)
    for here in (half, ~half):
        sets = fit_conformal(is_all[~here], p_all[~here], promised).sets(p_all[here])
        held[here] = np.where(is_all[here], sets[:, 1], sets[:, 0])
    return float(held.mean())
