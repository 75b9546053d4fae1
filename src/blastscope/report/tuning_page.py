"""The page of a search: the winner against the hand-made recipe, and what choosing it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from blastscope.io.files import write_json, write_text
from blastscope.report.crossval_page import cut_text
from blastscope.report.html import render, svg_uri
from blastscope.report.style import COLOURS, INK, QUIET, name_rows, one_panel, save_all, styled
from blastscope.report.text import counted, metric, number, signed
from blastscope.tuning.outcome import FAILED, FINISHED, PRUNED, RUNNING, SearchOutcome

OBJECTIVE_NAMES = {
    "equal-size-auc": "AUC at equal size",
    "auc": "AUC",
    "weighted-f1": "weighted F1",
    "balanced-accuracy": "balanced accuracy",
}
OUTCOME = "outcome.json"
_PLOTS = ("history", "importance")


def score_name(outcome: SearchOutcome) -> str:
    """Name the objective."""
    return OBJECTIVE_NAMES[outcome.objective]


def answer_text(outcome: SearchOutcome) -> str:
    """Write the winner's score beside that of the hand-made recipe."""
    best, name = outcome.best, score_name(outcome)
    if best is None:
        return (
            f"No trial was finished; the hand-made recipe reaches {name} "
            f"{number(outcome.hand_made)} on the cells that trials are scored on."
        )
    ahead = (outcome.gain or 0.0) > 0
    verb = "reaches" if ahead else "does not beat the hand-made recipe: it reaches"
    return (
        f"The best of {counted(outcome.looks, 'trial')} {verb} {name} {number(best.score)} on "
        f"{scored_text(outcome)}, and the hand-made recipe {number(outcome.hand_made)} "
        f"({signed(outcome.gain)})."
    )


def scored_text(outcome: SearchOutcome) -> str:
    """Name the cells that trials are scored on."""
    subjects = counted(outcome.scored_subjects, "subject")
    cells = f"{counted(outcome.scored_cells)} of {subjects}"
    return f"{cells} in {outcome.folds} folds" if outcome.folds else f"{cells} (validation)"


def looks_text(outcome: SearchOutcome) -> str:
    """Write how often the validation cells were looked at."""
    counts = [f"{outcome.count(state)} {state}" for state in (FINISHED, PRUNED, FAILED)]
    running = outcome.count(RUNNING)
    more = f"; {running} more are running" if running else ""
    return (
        f"{counted(outcome.looks, 'trial')} ({', '.join(counts)}) and the hand-made recipe were "
        f"scored on these cells{more}."
    )


def folds_text(outcome: SearchOutcome) -> tuple[str, ...]:
    """Write how the folds of a trial were cut, and how many were asked for if they are fewer."""
    return () if outcome.cut is None else cut_text(outcome.cut)


def judged_text(outcome: SearchOutcome) -> list[str]:
    """Write what subjects say that took no part in the search, and what selection cost."""
    judged, name = outcome.judged, score_name(outcome)
    if judged is None:
        return [
            "The best score of many trials is too high, by an amount that this page does not know: "
            "judge the winner on subjects that took no part (--judge)."
        ]
    difference = judged.difference
    which = "is ahead" if difference.low > 0 else "is behind" if difference.high < 0 else (
        "is not shown to differ"
    )  # fmt: skip
    if math.isnan(difference.low):
        which = "cannot be told from it"
    subjects = counted(judged.subjects, "subject")
    return [
        f"On {counted(judged.cells)} of {subjects} that took no part, the winner reaches {name} "
        f"{metric(judged.winner)} and the hand-made recipe {metric(judged.hand_made)}: the winner "
        f"{which} ({metric(difference, sign=True)}).",
        "Selection cost: the winner's score on the cells that chose it, minus its score on these "
        f"subjects, is {signed(outcome.cost)}; for the hand-made recipe, which no cells chose, it "
        f"is {signed(outcome.hand_made_drop)}. The search saw the winner ahead of the hand-made "
        f"recipe by {signed(outcome.gain)}; on these subjects the difference is "
        f"{signed(difference.value)}.",
    ]


def leak_text(outcome: SearchOutcome) -> str:
    """Warn of a split at image level; empty for another."""
    if not outcome.leaks:
        return ""
    return (
        "The split has subjects in several parts: these scores also reward networks that know the "
        "subjects, and so may the choice."
    )


def write_tuning(outcome: SearchOutcome, out: Path, base: Mapping[str, Any]) -> Path:
    """Write ``report.html``, ``outcome.json`` and ``figures/*`` of a search; return the page.

    Args:
        base: the hand-made values of the searched keys.
    """
    drawn = {"history": history_plot(outcome)}
    if outcome.importance:
        drawn["importance"] = importance_plot(outcome)
    plots = save_all(drawn, out / "figures", _PLOTS)
    write_json(out / OUTCOME, outcome.as_json())
    best = outcome.best
    page = render(
        "tuning.html",
        title=f"{outcome.recipe}: a search of {outcome.looks} trials",
        synthetic=outcome.synthetic,
        outcome=outcome,
        name=score_name(outcome),
        answer=answer_text(outcome),
        looks=looks_text(outcome),
        judged=judged_text(outcome),
        folds=folds_text(outcome),
        leak=leak_text(outcome),
        settings=[
            (key, value_text(value), "" if best is None else value_text(best.settings.get(key)))
            for key, value in base.items()
        ],
        keys=list(base),
        shown=value_text,
        plots={name: svg_uri(path) for name, path in plots.items()},
        winner="" if best is None else "winner.yaml",
        links=[
            (name, f"judged/{name}/report.html")
            for name in ("winner", "hand-made")
            if (out / "judged" / name / "report.html").is_file()
        ],
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def value_text(value: Any) -> str:
    """Write the value of a setting."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


@styled
def history_plot(outcome: SearchOutcome) -> Figure:
    """Plot each trial's score, the best so far, and the hand-made recipe."""
    figure, axes = one_panel(7.6, 3.4)
    done = [(one.number, one.score) for one in outcome.trials if one.score is not None]
    pruned = [
        (one.number, one.last)
        for one in outcome.trials
        if one.state == PRUNED and one.last is not None
    ]
    failed = [one.number for one in outcome.trials if one.state == FAILED]
    axes.axhline(outcome.hand_made, color=COLOURS["all"], linewidth=1.2, label="hand-made recipe")
    if done:
        numbers, scores = zip(*done, strict=True)
        axes.plot(numbers, scores, "o", color=COLOURS["hem"], markersize=5, label="finished")
        best = [max(scores[: k + 1]) for k in range(len(scores))]
        axes.step(numbers, best, where="post", color=INK, linewidth=1.2, label="best so far")
    if pruned:
        axes.plot(
            *zip(*pruned, strict=True), "x", color=QUIET, markersize=5, label="pruned, last score"
        )
    if failed:
        low = axes.get_ylim()[0]
        axes.plot(failed, [low] * len(failed), "|", color=COLOURS["all"], label="failed")
    axes.set_xlabel("trial")
    axes.set_ylabel(score_name(outcome))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=5)
    return figure


@styled
def importance_plot(outcome: SearchOutcome) -> Figure:
    """Plot the share of the scores' variance that each key explains."""
    figure, axes = one_panel(7.6, 0.8 + 0.32 * len(outcome.importance))
    for row, share in enumerate(outcome.importance.values()):
        axes.barh(row, share, color=COLOURS["hem"], height=0.6)
    name_rows(axes, list(outcome.importance))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_xlabel("share of the variance of the finished trials' scores (fANOVA)")
    return figure
