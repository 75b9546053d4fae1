"""The text of shortcuts: size, unseen subjects, subgroups, predictive values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.report.text import DASH, interval, listed, metric, number, percent, requested

if TYPE_CHECKING:
    from blastscope.decision.reported_evaluation import ReportedEvaluation
    from blastscope.evaluation.next_subject import NextSubject
    from blastscope.evaluation.shortcuts import Shortcuts

TRAIT_NAMES = {
    "size": "size (longer side)",
    "hue": "hue (angle of a*, b*)",
    "brightness": "brightness (L*)",
}
SUBGROUP_NAMES = {"size": "size", "focus": "focus (mean gradient)", "frame": "frame"}
EQUAL_SIZE = "AUC at equal size"
MEAN_AUC = "AUC, mean over normal subjects"


def size_text(found: ReportedEvaluation) -> str:
    """Write whether the model knows more than the size of a cell."""
    equal = found.shortcuts.equal_size
    if found.verdict.size == "not-measured" or equal is None:
        return "AUC at equal size was not measured: that needs --store and cells of both classes."
    said = f"AUC at equal size {metric(equal.matched, 3)}"
    follows = found.shortcuts.correlation("size", "hem")
    rank = f"rank correlation of size and p in normal cells {number(follows, 2)}"
    verdict = {
        "beyond": "The model knows more than the size of a cell",
        "partly": "The model knows more than size, but leans on it",
        "no-more": "The model does not clearly know more than the size of a cell",
    }[found.verdict.size]
    return f"{verdict}: {said}; {rank}."


def shortcut_rows(found: ReportedEvaluation) -> list[tuple[str, str, str]]:
    """Return a row of name, value and 95 % interval for what stands beside the first metrics."""
    rows, shortcuts = [], found.shortcuts
    if shortcuts.equal_size is not None and shortcuts.equal_size.matched.known:
        one = shortcuts.equal_size.matched
        rows.append((EQUAL_SIZE, number(one.value, 3), interval((one.low, one.high))))
    if shortcuts.subjects is not None and shortcuts.subjects.auc.subjects > 1:
        mean = shortcuts.subjects.auc_mean
        rows.append((MEAN_AUC, number(mean.value, 3), interval((mean.low, mean.high))))
    return rows


def shortcut_lines(found: ReportedEvaluation) -> list[tuple[str, str]]:
    """Return pairs of a label and a sentence: what folds away below the metrics."""
    shortcuts, rows = found.shortcuts, []
    if shortcuts.equal_size is not None and shortcuts.equal_size.matched.known:
        rows.append(("Equal size", _equal_size(shortcuts)))
    if shortcuts.subjects is not None:
        rows.append(("Normal subjects", _normal_subjects(shortcuts)))
        if next_subject := _next_subject(shortcuts):
            rows.append(("Next subject", f"{next_subject}."))
    if shortcuts.detectable > 0:
        rows.append(("Power", power_text(shortcuts)))
    for one in found.predictive_values:
        rows.append(
            (
                f"If {requested(one.prevalence)} of cells are ALL",
                f"{metric(one.ppv, 3)} of calls ALL and {metric(one.npv, 3)} of calls normal are "
                "right (at p > 0.5).",
            )
        )
    return rows


def _equal_size(shortcuts: Shortcuts) -> str:
    equal = shortcuts.equal_size
    assert equal is not None
    return (
        f"AUC {metric(equal.matched, 3)} over the {equal.pairs:,} pairs ({percent(equal.share)}) "
        "of an ALL and a normal cell whose longer sides differ by no more than 5 %; size itself "
        f"has {number(equal.size.value, 3)} there. With overlap weights: "
        f"{metric(equal.weighted, 3)}."
    )


def _normal_subjects(shortcuts: Shortcuts) -> str:
    subjects = shortcuts.subjects
    assert subjects is not None
    each = subjects.normal_subjects.head(5)
    named = listed([f"{row['subject']} {number(row['auc'], 3)}" for row in each.to_dicts()])
    worst = "" if each.height == subjects.normal_subjects.height else ", the worst first"
    return f"AUC of each against {rivals_text(shortcuts)}{worst}: {named}."


def rivals_text(shortcuts: Shortcuts) -> str:
    """Name the ALL cells that a normal subject's cells are compared with."""
    return "the ALL cells of its fold" if shortcuts.within_folds else "all ALL cells"


def _next_subject(shortcuts: Shortcuts) -> str:
    subjects = shortcuts.subjects
    assert subjects is not None
    told = (
        ("sensitivity", subjects.recall_all, "ALL subjects"),
        ("specificity", subjects.recall_hem, "normal subjects"),
        ("AUC", subjects.auc, "normal subjects"),
    )
    return "; ".join(
        f"{name} {number(one.mean, 3)} on average over {one.subjects} {who}, worst "
        f"{number(one.lowest, 3)} ({one.worst}), 95 % prediction interval {_prediction(one)}"
        for name, one, who in told
        if one.subjects > 1
    )


def _prediction(one: NextSubject) -> str:
    return interval((one.low, one.high)) if one.low == one.low else f"{DASH} (needs 3 subjects)"


def power_text(shortcuts: Shortcuts) -> str:
    """Write which difference between two models so few normal subjects cannot show."""
    assert shortcuts.subjects is not None
    count = shortcuts.subjects.auc.subjects
    if shortcuts.detectable >= 1:  # no two AUCs are so far apart
        return f"{count} normal subjects are too few to show any difference in AUC."
    return (
        f"{count} normal subjects cannot show a difference in AUC below "
        f"{number(shortcuts.detectable, 2)} between two models (paired t test, power 80 %, if the "
        "difference varies between subjects as the AUC does: standard deviation "
        f"{number(shortcuts.subjects.deviation, 3)})."
    )
