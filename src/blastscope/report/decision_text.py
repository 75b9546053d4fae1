"""The text of decisions: calibration, operating point, referral, conformal sets, blast share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.decision.blast_share import simulated_share_coverage
from blastscope.decision.calibration_choice import FEWEST_CELLS, FEWEST_SUBJECTS
from blastscope.decision.decision_file import DecisionFile
from blastscope.decision.fitting import ADAPTATION
from blastscope.report.text import counted, listed, metric, number, percent, requested

if TYPE_CHECKING:
    from blastscope.decision.assessment import DecisionAssessment
    from blastscope.decision.blast_share import Reference
    from blastscope.decision.decision import Decision
    from blastscope.decision.fitting import FittedOn, NoDecision
    from blastscope.decision.operating_point import OperatingRule


CALIBRATIONS = {
    "none": "not calibrated",
    "temperature": "calibrated by a temperature",
    "platt": "calibrated by Platt's logistic curve",
    "isotonic": "calibrated by isotonic regression",
}
SHARE_ASSUMPTIONS = (
    "the cells are all the nucleated cells of an unselected field, or a random sample of them",
    "each of them is a lymphoblast or a normal cell of the kind that the model was trained on",
    "sensitivity and specificity for this subject lie within the range of the other subjects",
)
"""What a corrected share of blasts assumes."""


def rule_text(rule: OperatingRule) -> str:
    """Write the rule of an operating point."""
    return {
        "sensitivity": f"sensitivity of at least {rule.value:g}",
        "specificity": f"specificity of at least {rule.value:g}",
        "youden": "the largest sum of sensitivity and specificity (Youden)",
        "cost": f"the lowest cost, if a missed blast costs {rule.value:g} false alarms",
        "half": "a fixed threshold of 0.5",
    }[rule.kind]


def operating_point_text(decision: Decision) -> str:
    """Write threshold, rule and calibration of a decision, for what it is applied to."""
    point = decision.point
    return (
        f"ALL above p = {number(max(point.threshold, 0), 3)}, chosen for {rule_text(point.rule)} "
        f"(there: sensitivity {number(point.sensitivity, 2)}, specificity "
        f"{number(point.specificity, 2)}); probabilities "
        f"{CALIBRATIONS[decision.calibration.method]}."
    )


def no_decision(found: NoDecision) -> str:
    """Write why there is no decision."""
    return {
        "one-class": f"the {found.part} cells have one class only, and decisions need both.",
        "fitted-here": "decisions are fitted on validation cells: report the test part.",
        "no-validation": (
            "the table has no validation cells of both classes to fit decisions on; they are "
            "never fitted on the cells that are reported."
        ),
        "transductive": (
            "decisions are not fitted to probabilities that were corrected by neighbours, because "
            "these depend on which cells are predicted together."
        ),
    }[found.reason]


def fitted_on_text(found: FittedOn) -> str:
    """Write which cells a decision was fitted on, and what that means for other subjects."""
    other = "the metrics do not show how decisions do on other subjects."
    if found.folds > 1:
        text = (
            f"Called in {found.folds} folds: each fold's cells by a decision that was fitted on "
            "the out-of-fold predictions of the other folds. The kept decision is fitted on all "
            f"{counted(found.cells)}."
        )
        if found.shared_reported:
            subjects = counted(found.shared_reported, "subject has", "subjects have")
            text += f" {subjects} cells in more than one fold: {other}"
        return text
    cells = counted(found.cells)
    if found.subjects:
        cells += f" of {counted(found.subjects, 'subject')}"
        if found.unnamed:
            cells += f" ({counted(found.unnamed)} without a subject)"
    if found.shipped is not None:
        return (
            "Threshold, referral and conformal sets are those of the bundle that was adapted; only "
            f"the calibration was chosen on the {cells} that the model was adapted to. On these, "
            f"each left out of the fit, sensitivity is {number(found.shipped.sensitivity, 3)} and "
            f"specificity {number(found.shipped.specificity, 3)}."
        )
    if found.part == ADAPTATION:
        return f"Fitted on the {cells} that the model was adapted to."
    text = f"Fitted on {cells} of {found.part}, applied to the {found.reported} cells."
    if found.ensemble:
        text += " The ensemble's weights were fitted on these cells too: it does better on them."
    if found.shared_reported:
        text += (
            f" {found.shared_reported} of the {counted(found.subjects, 'subject')} are also among "
            f"the {found.subjects_reported} reported: {other}"
        )
    if found.shared_training:
        text += (
            f" {found.shared_training} of the {counted(found.subjects, 'subject')} are also in "
            "training: the network is more certain of them than of unseen subjects."
        )
    return text


def shares_left_out(found: DecisionAssessment) -> str:
    """Write for how many subjects no share of blasts is corrected, and why; "" if for none."""
    subjects = found.fitted_on.shared_reported
    if not subjects or found.decision.reference is None:
        return ""
    return (
        f"The share of blasts is not corrected for {counted(subjects, 'subject')}: sensitivity and "
        "specificity were measured on cells of the same subject."
    )


def choice_text(decision: Decision) -> str:
    """Write how a decision's calibration was chosen."""
    choice = decision.choice
    if choice.reason == "no-information":
        return (
            "The probabilities are not calibrated: they say next to nothing of the labels of the "
            "cells that a calibration would be fitted on."
        )
    needed = {"few-cells": f"{FEWEST_CELLS} cells", "few-subjects": f"{FEWEST_SUBJECTS} subjects"}
    if choice.reason in needed:
        return (
            f"The probabilities are not calibrated: that needs {needed[choice.reason]} of each "
            "class."
        )
    losses = listed([f"{name} {number(loss)}" for name, loss in choice.log_loss.items()])
    return (
        f"The method with the lowest log loss on {choice.by}s it was not fitted on "
        f"({choice.folds} folds): {losses}."
    )


def decision_lines(found: DecisionAssessment) -> dict[str, str]:
    """Return a sentence or two on each of calibration, operating point, referral and sets."""
    return {
        "Calibration": calibration(found),
        "Operating point": operating_point(found),
        "Referral": referral(found),
        "Conformal sets": conformal(found),
    }


def calibration(found: DecisionAssessment) -> str:
    """Write calibration error and Brier score, before and after, and the slope after."""
    before, after = found.before, found.after
    made = CALIBRATIONS[found.decision.calibration.method]
    if found.fitted_on.folds > 1:
        made = f"calibrated fold by fold (the kept decision: {made})"
    errors = (
        f"calibration error (ECE) {number(before.ece, 3)} before and {number(after.ece, 3)} after, "
        f"Brier score {number(before.brier, 3)} and {number(after.brier, 3)}"
    )
    if (after.ece, after.brier) == (before.ece, before.brier):
        kept, made = made, CALIBRATIONS["none"]
        if found.fitted_on.folds > 1 and found.decision.calibration.method != "none":
            made = kept.replace("calibrated fold by fold", "not calibrated fold by fold")
        errors = (
            f"calibration error (ECE) {number(before.ece, 3)}, Brier score "
            f"{number(before.brier, 3)}"
        )
    worse = ""
    if after.brier > before.brier + 0.0005:
        worse = " Calibration makes these cells worse: they differ from those it was fitted on."
    line = after.line
    slope = ""
    if line.intercept == line.intercept and line.slope == line.slope:
        slope = (
            f" Intercept {number(line.intercept, 2, sign=True)} (0 if they are right on average), "
            f"slope {number(line.slope, 2)} (1 if they are as extreme as they should be)."
        )
    return (
        f"Probabilities {made}: {errors}.{slope} Calibrated probabilities would show an ECE of "
        f"about {number(after.by_chance, 3)} on so many {found.sampling.unit}s.{worse}"
    )


def operating_point(found: DecisionAssessment) -> str:
    """Write the threshold above which a cell is called ALL, and what it reaches."""
    point, rule = found.decision.point, found.decision.point.rule
    sensitivity, specificity = found.estimates["sensitivity"], found.estimates["specificity"]
    whose = " (each fold called by the decision of the others)" * (found.fitted_on.folds > 1)
    sentence = (
        f"ALL above p = {number(max(point.threshold, 0), 3)}, chosen for {rule_text(rule)}. There "
        f"it has sensitivity {number(point.sensitivity, 3)} and specificity "
        f"{number(point.specificity, 3)}; on the reported cells{whose} {metric(sensitivity)} and "
        f"{metric(specificity)}."
    )
    asked = {"sensitivity": sensitivity, "specificity": specificity}.get(rule.kind)
    if asked is None or not asked.known or asked.value >= rule.value:
        return sentence
    if asked.high < rule.value:
        return f"{sentence} The {rule.kind} is below the requested one."
    return f"{sentence} The {rule.kind} is below the requested one, perhaps by chance."


def referral(found: DecisionAssessment) -> str:
    """Write which share of the cells is referred, and how many of the other calls are wrong."""
    chosen, e = found.decision.referral, found.estimates
    wrong = metric(e["kept_error"], 1, percent=True)
    asked = f"For at most {requested(chosen.wanted, 1)} wrong calls"
    if not found.calls.refer.any():
        return f"{asked} no cell has to be referred; {wrong} of the calls are wrong."
    if found.calls.refer.all():
        return (
            f"{asked} every cell has to be referred: no share of the most certain calls has so few "
            "errors on the cells it was fitted on."
        )
    kept = ""
    if found.fitted_on.folds > 1:
        kept = f" (by the kept decision {percent(1 - chosen.kept)})"
    missed = ""
    if e["kept_error"].low > chosen.wanted:
        missed = " That is more than requested."
    elif e["kept_error"].value > chosen.wanted:
        missed = " That is more than requested, perhaps by chance."
    return (
        f"{asked} the least certain {percent(1 - e['kept'].value)} of the cells are referred to an "
        f"expert{kept}, {percent(1 - e['kept_all'].value)} of ALL and "
        f"{percent(1 - e['kept_hem'].value)} of normal cells; {wrong} of the other calls are "
        f"wrong.{missed} Area under the risk-coverage curve {number(found.curve.area)}; with the "
        f"same errors in the best order {number(found.curve.best)}."
    )


def conformal(found: DecisionAssessment) -> str:
    """Write how often conformal sets contain the true label."""
    promised, e = found.decision.conformal.promised, found.estimates
    shares = found.subject_shares
    worst = shares.filter(shares["covered"].is_not_null()).sort("covered", "subject")
    subject = ""
    if worst.height > 1:
        name = worst["subject"][0]
        subject = f", for the worst subject {name} {percent(worst['covered'][0])}"
    known = ""
    if found.known_coverage is not None:
        known = (
            f" For other cells of the subjects it was fitted on: {percent(found.known_coverage)}."
        )
    every, of_all, of_hem = (
        metric(e[name], 1, percent=True) for name in ("covered", "covered_all", "covered_hem")
    )
    return (
        f"{requested(promised)} prediction sets contain the true label for {every} of the "
        f"{found.fitted_on.reported} cells (ALL {of_all}, normal {of_hem}{subject}); "
        f"{percent(e['single'].value)} have one label, {percent(e['both'].value)} both, "
        f"{percent(e['neither'].value)} none.{known}"
    )


def share_coverage_text(known: Reference) -> str:
    """Write how often intervals of a share of blasts contained it in simulations."""
    simulated = simulated_share_coverage(known)
    alike, unlike = ("{} to {} %".format(*bounds) for bounds in (simulated.alike, simulated.unlike))
    subjects = counted(simulated.subjects, "known subject")
    return (
        f"In simulations with {subjects} of each class {alike} of such 95 % intervals contained "
        f"the share of blasts; if one subject in ten was unlike the others, {unlike}."
    )


def how_decided(by: DecisionFile, brief: bool = False) -> str:
    """Write the rule, threshold and calibration by which cells are called.

    Args:
        by: the decision.
        brief: leave out its file and which cells it was fitted on.
    """
    text = operating_point_text(by.decision)
    return text if brief else f"{text} {fitted_on_text(by.fitted_on)} ({by.path})"


def reached_text(by: DecisionFile) -> str:
    """Write what calls and referrals reached on the cells that were reported, if recorded."""
    found, text = by.reached(), ""
    if {"sensitivity", "specificity"} <= set(found):
        text = (
            f"On the reported cells sensitivity was {metric(found['sensitivity'], 3)} and "
            f"specificity {metric(found['specificity'], 3)}."
        )
    if {"kept", "kept_error"} <= set(found) and found["kept"].known and found["kept"].value < 1:
        text += (
            f" At most {requested(by.decision.referral.wanted, 1)} wrong calls were requested: "
            f"{percent(1 - found['kept'].value)} of these cells were referred, and "
            f"{metric(found['kept_error'], 1, percent=True)} of the other calls were wrong."
        )
    return f"{text} {_errors_text(by.errors_after())}".strip()


def _errors_text(found: dict[str, float]) -> str:
    """Write the calibration error of the probabilities as used, and how extreme they are."""
    text = ""
    if {"ece", "by_chance"} <= set(found):
        text = (
            f"The calibration error (ECE) there was {number(found['ece'], 3)}; calibrated "
            f"probabilities would show about {number(found['by_chance'], 3)}."
        )
    if {"intercept", "slope"} <= set(found):
        text += (
            f" Intercept {number(found['intercept'], 2, sign=True)} (0 if they are right on "
            f"average), slope {number(found['slope'], 2)} (below 1: too sure)."
        )
    return text.lstrip()


def intervals_held(by: DecisionFile) -> str:
    """Write how often intervals of subjects' shares contained them in simulations, if known."""
    reference = by.decision.reference
    return "" if reference is None else share_coverage_text(reference)
