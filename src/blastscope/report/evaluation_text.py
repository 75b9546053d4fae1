"""The text of an evaluation: verdict, baselines, subjects, intervals; for page, card and screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from blastscope.decision.fitting import NoDecision
from blastscope.decision.neighbourhood import STATEMENT
from blastscope.evaluation.baseline_rules import ALWAYS_ALL
from blastscope.evaluation.interval_coverage import FEW_SUBJECTS, simulated_coverage
from blastscope.report.decision_text import decision_lines, no_decision
from blastscope.report.shortcut_text import shortcut_lines, shortcut_rows, size_text
from blastscope.report.text import (
    EXCHANGED_TEXT,
    HEADLINE,
    LABELS,
    POOLED_TEXT,
    counted,
    interval,
    listed,
    metric,
    number,
    percent,
    readings_text,
)

if TYPE_CHECKING:
    from blastscope.decision.reported_evaluation import ReportedEvaluation
    from blastscope.evaluation.bootstrap import SamplingUnits
    from blastscope.evaluation.inductive import InductiveMetrics
    from blastscope.evaluation.leakage import Leakage
    from blastscope.evaluation.metrics import Metrics
    from blastscope.evaluation.overlap import Overlap
    from blastscope.evaluation.result import Evaluation
    from blastscope.evaluation.verdict import Level

CITATION = (
    "If the cells are from C-NMC 2019, cite: A. Gupta and R. Gupta, C-NMC 2019, The Cancer "
    "Imaging Archive, doi 10.7937/tcia.2019.dc64i46r, CC BY 3.0."
)
WORST_SUBJECTS = "Worst subjects"
PSEUDO_LABELS_STATEMENT = (
    "Trained with pseudo-labels of these very cells (transductive): it profits from having seen "
    "them, and nothing follows for other cells. The inductive metrics are those of the models that "
    "gave the pseudo-labels."
)
_WORST = 3


@dataclass(frozen=True)
class VerdictLine:
    """One finding of a verdict."""

    label: str
    level: Level
    text: str


def verdict_title(found: ReportedEvaluation) -> str:
    """Write the verdict in one sentence."""
    verdict = found.verdict
    if verdict.tested_on == "training":
        return "Not a test: the model was fitted on these cells."
    if verdict.calls in ("all-only", "hem-only"):
        return f"The model calls every cell {'ALL' if verdict.calls == 'all-only' else 'normal'}."
    if verdict.calls == "alike-in-folds":
        return "The network of every fold calls all cells that it tests alike."
    tested = {
        "disjoint": "on unseen subjects",
        "shared": "on subjects that are also in training",
        "chosen": "on cells that may have chosen its epoch",
    }.get(verdict.tested_on, "on subjects that may also be in training")
    if verdict.baselines == "one-class-cells":
        return "All cells have one label: they do not show whether the model tells two kinds apart."
    ahead_of = "every rule without a network" if verdict.all_compared else "calling every cell ALL"
    judged = {
        "behind": "worse than a rule without a network",
        "level": "not clearly better than a rule without a network",
        "ahead": f"better than {ahead_of}",
    }[verdict.baselines]
    return f"The model is {judged}, {tested}."


def verdict_lines(found: ReportedEvaluation) -> list[VerdictLine]:
    """Write each finding of the verdict."""
    levels = found.verdict.levels
    lines = {
        "baselines": ("Baselines", _against_baselines(found)),
        "size": ("Size", size_text(found)),
        "tested_on": ("Test", overlap_text(found.overlap)),
        "calls": ("Calls", _calls(found)),
        "subjects": ("Subjects", _subjects(found)),
        "calibration": ("Calibration", _calibration(found)),
    }
    made = [VerdictLine(label, levels[name], text) for name, (label, text) in lines.items()]
    return [*made, VerdictLine("Order", "bad", EXCHANGED_TEXT)] if found.exchanged else made


def _against_baselines(found: ReportedEvaluation) -> str:
    verdict = found.verdict
    if verdict.baselines == "one-class-cells":
        return "Not compared: calling every cell alike is never wrong on cells of one class."
    closest = next(one for one in found.baselines if one.name == verdict.closest)
    lead = closest.lead["weighted_f1"]
    difference = f"{metric(lead, sign=True)} weighted F1"
    if verdict.baselines == "ahead":
        text = f"Ahead of {listed(verdict.compared)}: {difference} against the closest."
    elif verdict.baselines == "level":
        text = f"Not clearly ahead of {closest.name}: {difference}."
    else:
        behind = [
            f"{one.name} ({metric(one.lead[name], sign=True)} {HEADLINE[name]})"
            for one in found.baselines
            for name in one.lead
            if one.lead[name].known and one.lead[name].negated().above_zero
        ]
        text = f"Behind {listed(behind)}."
    if verdict.all_compared:
        return text
    missing = (
        "Not compared with the size and colour of cells: that needs --store and training cells."
    )
    return f"{text} {missing}"


def _calls(found: ReportedEvaluation) -> str:
    m, verdict = found.metrics, found.verdict
    alike = ""
    if verdict.folds_called_alike:
        alike = (
            f" In {verdict.folds_called_alike} of {verdict.folds} folds the network calls all "
            "cells that it tests alike."
        )
    return {
        "all-only": "Every cell is called ALL.",
        "hem-only": "Every cell is called normal.",
        "one-class-cells": (
            "All cells have one label: AUC and other metrics of two classes are undefined."
        ),
        "both": (
            f"Both classes are called: {percent(m['recall_all'])} of ALL cells and "
            f"{percent(m['recall_hem'])} of normal cells are called correctly.{alike}"
        ),
        "alike-in-folds": (
            "The network of every fold calls all cells that it tests alike: sensitivity "
            f"{percent(m['recall_all'])} and specificity {percent(m['recall_hem'])} only show "
            "which folds are called ALL."
        ),
    }[verdict.calls]


def _subjects(found: ReportedEvaluation) -> str:
    verdict = found.verdict
    if verdict.subjects == "unknown":
        return "Not every cell names its subject: the intervals are too narrow."
    counts = (
        f"{counted(verdict.subjects_all, 'subject')} with ALL cells, {verdict.subjects_hem} normal"
    )
    if verdict.subjects == "enough":
        return f"{counts}."
    if verdict.subjects == "too-few":
        return f"{counts}: too few to know how subjects differ."
    return f"{counts}: the 95 % intervals contain the true value less often than 95 %."


def _calibration(found: ReportedEvaluation) -> str:
    if isinstance(found.decisions, NoDecision):
        return f"Not assessed: {no_decision(found.decisions)}"
    after = found.decisions.after
    by_chance = found.verdict.calibration == "calibrated"
    differ = "do not differ from the labels by more than chance" if by_chance else "are wrong"
    return (
        f"The probabilities {differ}: calibration error {number(after.ece, 3)}, by chance about "
        f"{number(after.by_chance, 3)}, at most {number(after.chance_limit, 3)} in 95 of 100 "
        f"draws; slope {number(after.line.slope, 2)} (1 if they are as extreme as they should be)."
    )


def metric_rows(evaluation: ReportedEvaluation) -> list[tuple[str, str, str]]:
    """Return a row of name, value and 95 % interval for each of the first metrics.

    They are those of ``HEADLINE``, AUC at equal size, and the mean AUC over normal subjects.
    """
    bounds = evaluation.intervals.bounds
    rows = [
        (name, number(evaluation.metrics[key], 3), interval(bounds.get(key)))
        for key, name in HEADLINE.items()
    ]
    return rows + shortcut_rows(evaluation)


def inductive_rows(found: ReportedEvaluation) -> list[tuple[str, str, str, str, str, str]]:
    """Return the ``HEADLINE`` metrics of corrected probabilities beside the model's own.

    Each row is the name, then value and 95 % interval of both, then their difference. No rows if
    nothing was corrected.
    """
    if found.inductive is None:
        return []
    own, gain, bounds = found.inductive.own, found.inductive.gain, found.intervals.bounds
    return [
        (name, number(found.metrics[key], 3), interval(bounds.get(key)),
         number(own[key].value, 3), interval(own[key]), metric(gain[key], sign=True))
        for key, name in HEADLINE.items()
    ]  # fmt: skip


def transductive_text(found: InductiveMetrics | None) -> list[str]:
    """Say why probabilities are transductive; nothing if they are not."""
    if found is None:
        return []
    return [STATEMENT if found.corrected else PSEUDO_LABELS_STATEMENT]


def headline(part: str, metrics: Metrics) -> str:
    """Write the first metrics in a line."""
    known = (
        f"{name} {number(metrics[key])}"
        for key, name in HEADLINE.items()
        if metrics[key] is not None
    )
    return f"{part} {', '.join(known)}"


def detail_lines(found: ReportedEvaluation) -> list[tuple[str, str]]:
    """Return pairs of a label and a sentence: what stands below the metrics."""
    rows = [("Tested on", _tested(found))]
    if lead := _lead_in_auc(found):
        rows.append(("Lead in AUC", lead))
    rows += shortcut_lines(found)
    if found.overlap.reason in ("out-of-fold", "folds-by-cell"):
        rows.append(("Folds", POOLED_TEXT))
    rows += [("Read", text) for text in readings_text(found.readings)]
    if found.leakage is not None:
        rows.append(("Leakage", leakage_text(found.leakage)))
    elif not found.synthetic:
        rows.append(("Leakage", "Not measured: run `blastscope leakage`."))
    if isinstance(found.decisions, NoDecision):
        rows.append(("Decisions", no_decision(found.decisions)))
    else:
        rows += decision_lines(found.decisions).items()
    if found.subjects.height > 1:
        rows.append((WORST_SUBJECTS, _worst(found)))
    return rows


def subject_counts(evaluation: Evaluation) -> str:
    """Count the known subjects of each class: ``3 ALL, 2 normal``."""
    known = evaluation.subjects["label"].to_list()
    return ", ".join(
        f"{known.count(label)} {name}" for label, name in LABELS.items() if label in known
    )


def _tested(found: ReportedEvaluation) -> str:
    m = found.metrics
    n_all, n_hem = int(m["tp"] or 0) + int(m["fn"] or 0), int(m["tn"] or 0) + int(m["fp"] or 0)
    text = f"{number(m['n'])} {found.part} cells ({n_all:,} ALL, {n_hem:,} normal)"
    if found.subjects.height:
        subjects = counted(found.subjects.height, "subject")
        text += f" of {subjects} ({subject_counts(found)})"
    unnamed = found.cells["subject"].null_count()
    if found.subjects.height and unnamed:
        text += f"; {counted(unnamed)} without a subject"
    if found.unlabelled:
        text += f"; left out: {counted(found.unlabelled)} without a label"
    return f"{text}."


def _lead_in_auc(found: ReportedEvaluation) -> str:
    """Write how far the AUC is ahead of size, and of size and colour; empty if not compared."""
    leads = [
        f"{metric(one.lead['auc'], sign=True)} against {one.name}"
        for one in found.baselines
        if one.name != ALWAYS_ALL and one.lead["auc"].known
    ]
    return f"{'; '.join(leads)}, with paired 95 % intervals." if leads else ""


def _worst(found: ReportedEvaluation) -> str:
    worst = "; ".join(
        f"{row['subject']} ({LABELS[row['label']]}, {counted(row['cells'])}): "
        f"{number(row['accuracy'], 3)} ({interval((row['low'], row['high']))})"
        for row in found.subjects.head(_WORST).iter_rows(named=True)
    )
    best = found.subjects["accuracy"].to_list()[-1]
    return f"Accuracy {worst}. The best subject: {number(best, 3)}."


def sampling_text(sampling: SamplingUnits) -> str:
    """Write what was drawn for 95 % intervals, and what they do not contain."""
    names = {"all": "ALL", "hem": "normal", "mixed": "mixed"}
    counts = {names[key]: n for key, n in sampling.counts.items()}
    which = f"of each class ({', '.join(f'{n:,} {name}' for name, n in counts.items())})"
    drawn = f"{sampling.resamples:,} resamples of the {sampling.unit}s {which}"
    narrow = "the intervals do not contain how subjects differ and are too narrow"
    if sampling.unit == "cell":
        unnamed = "no cell names its subject"
        if sampling.unnamed < sampling.cells:
            unnamed = f"{counted(sampling.unnamed)} of {sampling.cells:,} name no subject"
        return f"{drawn}. Cells were drawn because {unnamed}: {narrow}."
    single = next((name for name, n in counts.items() if n == 1), None)
    if single is not None:
        return f"{drawn}. Only one subject is {single}, so its cells were drawn: {narrow}."
    few = ", ".join(f"{n} {name}" for name, n in counts.items() if n <= FEW_SUBJECTS)
    drawn = f"{drawn}, each with all its cells."
    if not few:
        return drawn
    return f"{drawn} There are few subjects ({few}): {coverage_text(min(counts.values()))}."


def coverage_text(subjects: int) -> str:
    """Write how often intervals from so few subjects contain the true value."""
    simulated = simulated_coverage(subjects)
    return (
        f"in simulations with {simulated.subjects} subjects of each class {simulated.low} to "
        f"{simulated.high} % of such intervals contained the true value, not 95 %"
    )


def overlap_text(overlap: Overlap) -> str:
    """Write whether the tested subjects are also in training."""
    text = _overlap(overlap)
    if overlap.models:
        text += f" This applies to {listed(overlap.models)}."
    if overlap.fitted:
        fitted = (
            f"The weights of {listed(overlap.fitted)} were fitted on these {overlap.part} cells"
        )
        text = f"{fitted}: the metrics are not a test. {text}"
    return text


def _overlap(overlap: Overlap) -> str:
    part, shared, total = overlap.part, overlap.shared, overlap.subjects
    if overlap.reason == "training-part":
        return "These are the training cells: the metrics are not a test."
    if overlap.reason == "folds-by-cell":
        return (
            "Folds by cell: nearly every subject is also in the training of the network that tests "
            "it, so the metrics do not apply to unseen subjects."
        )
    if overlap.reason == "out-of-fold":
        return "Each cell was predicted by a network that was trained without its subject."
    unknown = {
        "no-subjects": "the cells name no subjects",
        "no-training-cells": "the table has no training cells",
        "unnamed-cells": f"{counted(overlap.unnamed)} without a subject",
    }
    if overlap.reason in unknown:
        return (
            f"It is unknown whether {part} subjects are also in training: "
            f"{unknown[overlap.reason]}."
        )
    if not shared:
        chosen = ""
        if overlap.in_validation:
            chosen = (
                f" But {overlap.in_validation} of {total} are in validation, which chose the epoch."
            )
        if overlap.kind == "chosen":
            chosen = " But its cells may have chosen the epoch: the metrics are slightly too good."
        return f"No {part} subject is in training.{chosen}"
    if shared < total:
        return (
            f"{shared} of the {total} {part} subjects {'is' if shared == 1 else 'are'} also in "
            "training: the metrics apply only in part to unseen subjects."
        )
    who = f"The only {part} subject is" if total == 1 else f"All {total} {part} subjects are"
    return f"{who} also in training: the metrics do not apply to unseen subjects."


def leakage_text(found: Leakage) -> str:
    """Write what an image-level split hides, in weighted F1."""
    gain = found.gains["weighted_f1"]
    lead = metric(gain.difference, sign=True)
    text = (
        f"On the same {found.cells:,} cells weighted F1 is {number(gain.known.value, 3)} if their "
        f"subjects are also in training and {number(gain.unseen.value, 3)} if they are not: a "
        f"difference of {lead}"
    )
    if gain.difference.above_zero:
        return f"{text}, which an image-level split hides."
    if gain.difference.negated().above_zero:
        return f"{text}. Known subjects do not help here."
    return f"{text}, which may be chance."
