"""Assess decisions on the cells of a split part that they were not fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from blastscope.decision.conformal import fit_conformal
from blastscope.decision.decision import Decided, Decision, DecisionRequest
from blastscope.decision.decision_metrics import DecisionMetrics
from blastscope.decision.fitting import FittedOn, NoDecision, both_classes, fit_for, labelled, truth
from blastscope.decision.referral import RiskCoverage, risk_coverage
from blastscope.decision.reliability import Reliability, reliability
from blastscope.evaluation.bootstrap import SamplingUnits, resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw


@dataclass(frozen=True)
class DecisionAssessment:
    """How decisions do on the cells of one split part.

    Attributes:
        decision: the decision to keep. If cells were called in folds, it is fitted on all of them,
            and the metrics here belong to the decisions of the folds.
        fitted_on: which cells it was fitted on, and which subjects they share with others.
        curve: the error of the calls that are not referred.
        estimates: by name (``DecisionMetrics``), with 95 % intervals by subject.
        known_coverage: how often conformal sets contain the true label of other cells of the
            subjects that they were fitted on; None if there are too few cells to try.
        subject_shares: a row a subject (see :func:`subject_shares`), the worst first. The share of
            a subject that the decision was fitted on is not corrected.
    """

    decision: Decision
    fitted_on: FittedOn
    calls: Decided
    before: Reliability
    after: Reliability
    curve: RiskCoverage
    estimates: dict[str, Estimate]
    sampling: SamplingUnits
    known_coverage: float | None
    subject_shares: pl.DataFrame


def assess_decisions(
    table: pl.DataFrame, part: str, metadata: Mapping[str, Any], request: DecisionRequest
) -> DecisionAssessment | NoDecision:
    """Fit decisions on validation, or on the other folds, and assess them on ``part``, if possible.

    Args:
        table: one model's prediction table, every part of it.
        metadata: of the table; ``out_of_fold`` says that it is of a cross-validation.
    """
    cells = labelled(table, part)
    is_all, raw = truth(cells), cells["p_all"].to_numpy()
    if not both_classes(is_all):
        return NoDecision("one-class", part)
    fitted = fit_for(table, part, metadata, request)
    if isinstance(fitted, NoDecision):
        return fitted
    calls = fitted.call(cells)
    metrics = DecisionMetrics(is_all, raw, calls)
    draws = resampling(is_all, cells["subject"].to_list())
    intervals = draw(metrics.of, draws).estimates()
    return DecisionAssessment(
        decision=fitted.decision,
        fitted_on=fitted.fitted_on,
        calls=calls,
        before=reliability(is_all, raw, draws),
        after=reliability(is_all, calls.p_all, draws),
        curve=risk_coverage(calls.called != is_all, calls.sure),
        estimates=dict(zip(metrics.names, intervals, strict=True)),
        sampling=draws.sampling,
        known_coverage=_known_coverage(fitted.on, fitted.decision, request.coverage),
        subject_shares=fitted.subject_shares(cells, calls),
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
