"""What an adaptation did, in words: for the card, the screen and ``inspect``."""

from __future__ import annotations

from collections.abc import Mapping

from blastscope.bundle.manifest import Adaptation, AdaptationStep
from blastscope.data.names import ALL, HEM
from blastscope.decision.calibration_choice import FEWEST_CELLS, FEWEST_SUBJECTS
from blastscope.report.text import counted, number

METRICS = {
    "weighted_f1": "weighted F1 (ALL above p = 0.5)",
    "auc": "AUC",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
    "log_loss": "log loss",
}
STEPS = {"calibration": "Calibration", "last-layer": "Last layer"}


def adaptation_cells(found: Adaptation) -> str:
    """Write which cells a bundle was adapted to."""
    text = f"{found.cells[ALL]} ALL and {found.cells[HEM]} normal cells"
    if any(found.subjects.values()):
        text += f" of {found.subjects[ALL]} and {found.subjects[HEM]} subjects"
    if found.unnamed:
        text += f" ({counted(found.unnamed)} without a subject)"
    return text


def adaptation_judged(found: Adaptation) -> str:
    """Write on which cells before and after were measured."""
    if found.by == "subject":
        return (
            f"Measured on cells whose subject was left out, in {found.folds} folds. Which steps "
            "are kept was chosen on the same cells, so the metrics are slightly too good."
        )
    return (
        f"Measured on cells left out in {found.folds} folds, whose subjects are not left out: the "
        "metrics do not hold for other subjects."
    )


def step_text(step: AdaptationStep) -> str:
    """Write what became of a step, and why."""
    losses = (
        ""
        if step.log_loss is None
        else f" ({number(step.log_loss)} after, {number(step.without)} before)"
    )
    said = {
        "better": f"fitted and kept: the log loss of cells left out is lower with it{losses}",
        "replaced": (
            f"fitted and not kept: it was better{losses}, but the new last layer has a slope and "
            "an intercept of its own"
        ),
        "not-better": f"left as it was: the log loss of cells left out is not lower{losses}",
        "few-cells": f"left as it was: a new one needs {FEWEST_CELLS} cells of each class",
        "few-subjects": (
            f"left as it was: a new one needs {FEWEST_SUBJECTS} known subjects of each class"
        ),
        "ensemble": "left as it was: the model has several networks",
        "not-fitted": "left as it was: no sensible one could be fitted",
    }[step.reason]
    return f"{STEPS[step.step]} {said}."


def threshold_text(found: Adaptation) -> str:
    """Write whether the threshold was fitted."""
    if found.threshold:
        return "Threshold, referral and conformal sets fitted to cells left out."
    return (
        "Threshold, referral and conformal sets left as they were: new ones need "
        f"{FEWEST_CELLS} cells of each class."
    )


def adaptation_lines(found: Adaptation) -> list[str]:
    """Write what was fitted, a sentence for each step."""
    return [*map(step_text, found.steps), threshold_text(found), adaptation_judged(found)]


def adaptation_rows(found: Adaptation) -> list[tuple[str, float, float]]:
    """Return each metric before and after."""
    return [(name, found.before[key], found.after[key]) for key, name in METRICS.items()]


def adapted_from(found: Adaptation) -> str:
    """Write what a bundle was adapted from."""
    return f"Adapted from {found.name} ({short_digest(found.bundle)}) to {adaptation_cells(found)}."


def short_digest(digest: str) -> str:
    """Return enough of a digest to tell bundles apart."""
    return digest[:19]


def changed_by(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Write the first metrics before and after."""
    pairs = (
        f"{METRICS[key]} {number(before[key], 3)} → {number(after[key], 3)}" for key in METRICS
    )
    return ", ".join(list(pairs)[:4])
