"""What decisions are worth, in sentences: the same on the screen, the page and a model's card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.report.text import metric

if TYPE_CHECKING:
    from blastscope.decision.assessment import DecisionAssessment

METHODS = {
    "none": "left as they are",
    "temperature": "divided by a temperature",
    "platt": "put on Platt's curve",
    "isotonic": "put on isotonic steps",
}


def sentences(found: DecisionAssessment) -> dict[str, str]:
    """Say what calibration, operating point, referral and conformal sets come to.

    Returns:
        Sentences by what they are about: ``Calibration``, ``Operating point``, ``Referral``,
        ``Conformal sets``.
    """
    return {
        "Calibration": calibration(found),
        "Operating point": operating_point(found),
        "Referral": referral(found),
        "Conformal sets": conformal(found),
    }


def calibration(found: DecisionAssessment) -> str:
    """How far the probabilities are from what happens, before and after."""
    before, after = found.before, found.after
    made = METHODS[found.decision.calibration.method]
    if found.folds > 1:
        made = f"calibrated fold by fold as the others suggest (what is kept: {made})"
    errors = (
        f"calibration error (ECE) {before.ece:.3f} before and {after.ece:.3f} after, Brier score "
        f"{before.brier:.3f} and {after.brier:.3f}"
    )
    if (after.ece, after.brier) == (before.ece, before.brier):
        made = METHODS["none"]
        errors = f"calibration error (ECE) {before.ece:.3f}, Brier score {before.brier:.3f}"
    all_named = found.persons["cells"].sum() == len(found.of.called)
    drawn = "subjects" if all_named else "cells"  # as the intervals are
    worse = ""
    if after.brier > before.brier + 0.0005:
        worse = " On these cells calibration makes it worse: those it was fitted on were others."
    return (
        f"Probabilities {made}: {errors}; probabilities that are right on the whole would show an "
        f"ECE of about {after.by_chance:.3f} on so many {drawn}.{worse}"
    )


def operating_point(found: DecisionAssessment) -> str:
    """From which probability on a cell is called ALL, and what that reaches."""
    point, rule = found.decision.point, found.decision.point.rule
    sensitivity, specificity = found.estimates["sensitivity"], found.estimates["specificity"]
    whose = "" if found.folds == 1 else ", by what the other folds chose"
    sentence = (
        f"ALL above p = {max(point.threshold, 0):.3f}, by the rule {rule.sentence}. Where it was "
        f"chosen it has sensitivity {point.sensitivity:.3f} and specificity "
        f"{point.specificity:.3f}; on the cells reported{whose}, {metric(sensitivity)} and "
        f"{metric(specificity)}."
    )
    asked = {"sensitivity": sensitivity, "specificity": specificity}.get(rule.kind)
    if asked is None or not asked.known or asked.value >= rule.value:
        return sentence
    if asked.high < rule.value:
        return f"{sentence} That is less than was asked for."
    return f"{sentence} That falls short of what was asked for, perhaps by chance."


def referral(found: DecisionAssessment) -> str:
    """Which share goes to the expert, and what is left wrong."""
    chosen, e = found.decision.referral, found.estimates
    asked = f"For at most {chosen.wanted:.1%} of wrong calls among those kept"
    if not found.of.refer.any():
        return f"{asked} none has to be referred; a share of {metric(e['kept_error'])} is wrong."
    if found.of.refer.all():
        return (
            f"{asked} every cell would have to be referred: where it was fitted, no number of the "
            "surest has so few errors."
        )
    kept = ""
    if found.folds > 1:
        kept = f" (by what is kept for new cells {1 - chosen.kept:.1%} of all would be)"
    missed = ""
    if e["kept_error"].low > chosen.wanted:
        missed = " That is more than was asked for."
    elif e["kept_error"].value > chosen.wanted:
        missed = " That is more than was asked for, perhaps by chance."
    return (
        f"{asked} the least sure {1 - e['kept'].value:.1%} are referred to the expert{kept}, "
        f"{1 - e['kept_all'].value:.1%} of ALL and {1 - e['kept_hem'].value:.1%} of normal cells; "
        f"of the others a share of {metric(e['kept_error'])} is wrong.{missed} Area under risk and "
        f"coverage {found.curve.area:.4f}, where the best order of as many errors has "
        f"{found.curve.best:.4f}."
    )


def conformal(found: DecisionAssessment) -> str:
    """How often the promise of the conformal sets is kept, and what other persons do to it."""
    promised, e = found.decision.conformal.promised, found.estimates
    worst = found.persons.filter(found.persons["covered"].is_not_null()).sort("covered", "subject")
    person = ""
    if worst.height > 1:
        name, share = worst.row(0, named=True)["subject"], worst["covered"][0]
        person = f", of the worst subject {name} {share:.3f}"
    known = ""
    if found.known_coverage is not None:
        known = (
            f" On other cells of the persons they were fitted on it is {found.known_coverage:.3f}:"
            " the rest is what other cells do, and other persons where they are others."
        )
    return (
        f"Sets that should hold the truth in {promised:.0%} of cells hold it in "
        f"{metric(e['covered'])} (ALL {metric(e['covered_all'])}, normal {metric(e['covered_hem'])}"
        f"{person}); {e['single'].value:.1%} name one label, {e['both'].value:.1%} both, "
        f"{e['neither'].value:.1%} none.{known}"
    )
