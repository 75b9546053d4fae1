"""The decision of an adapted bundle: calibration, threshold, referral and conformal sets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from blastscope.adaptation.cells import AdaptationCells, count_classes
from blastscope.adaptation.fitting import AdaptationFit
from blastscope.decision.blast_share import reference
from blastscope.decision.calibration_choice import FEWEST_CELLS, CalibrationChoice
from blastscope.decision.conformal import fit_conformal
from blastscope.decision.decision import Decision, DecisionRequest
from blastscope.decision.decision_file import FORMAT
from blastscope.decision.fitting import ADAPTATION, FittedOn, ShippedPoint
from blastscope.decision.operating_point import choose_point
from blastscope.decision.referral import choose_referral, sureness


def sets_threshold(cells: AdaptationCells, shipped: Decision | None) -> bool:
    """Whether the threshold is fitted: if there are enough cells of each class, or none before."""
    return shipped is None or min(count_classes(cells.is_all)) >= FEWEST_CELLS


def adapted_decision(
    cells: AdaptationCells, found: AdaptationFit, shipped: Decision | None
) -> Decision:
    """Fit a decision by the rule of the bundle, to probabilities that are cross-fitted.

    With fewer than ``FEWEST_CELLS`` of a class the threshold, referral and conformal sets stay
    those of the bundle, if it has any: they hold for calibrated probabilities. Sensitivity and
    specificity of the operating point stay too, since they are of the cells that chose it.
    """
    request = request_of(shipped)
    p = found.p_all
    choice = CalibrationChoice("log-loss", found.losses, found.by, found.folds)
    if shipped is not None and not sets_threshold(cells, shipped):
        point, referral, conformal = shipped.point, shipped.referral, shipped.conformal
        called = p > point.threshold
    else:
        point = choose_point(request.rule, cells.is_all, p)
        called = p > point.threshold
        referral = choose_referral(called != cells.is_all, sureness(p, called), request.error)
        conformal = fit_conformal(cells.is_all, p, request.coverage)
    return Decision(
        calibration=found.calibration,
        choice=choice,
        point=point,
        referral=referral,
        conformal=conformal,
        reference=reference(cells.is_all, called, cells.subjects),
        cells=len(cells),
        share_all=float(cells.is_all.mean()),
        subjects=len(_named(cells)),
    )


def request_of(shipped: Decision | None) -> DecisionRequest:
    """Return what a bundle's decision was asked for; the defaults if it has none."""
    if shipped is None:
        return DecisionRequest()
    return DecisionRequest(shipped.point.rule, shipped.referral.wanted, shipped.conformal.promised)


def decision_content(
    decision: Decision,
    cells: AdaptationCells,
    found: AdaptationFit,
    *,
    shipped: Decision | None,
    model: str,
    checkpoint: str,
    synthetic: bool,
) -> dict[str, Any]:
    """Return the content of the bundle's ``decision.json``; it names no subject.

    ``shipped`` is the decision of the bundle that was adapted.
    """
    called = found.p_all > decision.point.threshold
    sensitivity, specificity = called[cells.is_all].mean(), (~called[~cells.is_all]).mean()
    fitted_on = FittedOn(
        part=ADAPTATION,
        reported=ADAPTATION,
        folds=1,
        cells=len(cells),
        subjects=len(_named(cells)),
        unnamed=cells.subjects.count(None),
        subjects_reported=0,
        shared_reported=0,
        shipped=None
        if sets_threshold(cells, shipped)
        else ShippedPoint(float(sensitivity), float(specificity)),
    )
    request = request_of(decision)
    scores = ("ece", "brier", "log_loss")
    return {
        "format": FORMAT,
        "model": model,
        "checkpoint": checkpoint,
        "synthetic": synthetic,
        "part": ADAPTATION,
        "settings": None,
        "fitted_on": asdict(fitted_on),
        "request": {**asdict(request), "rule": str(request.rule)},
        "decision": decision.as_json(),
        "reliability": {
            "before": {name: found.before[name] for name in scores},
            "after": {name: found.after[name] for name in scores},
        },
    }


def _named(cells: AdaptationCells) -> set[str]:
    return {subject for subject in cells.subjects if subject is not None}
