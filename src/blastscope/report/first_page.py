"""What a report says first: who was tested, how far to believe it, and what it is worth."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from blastscope.decision.assessment import DecisionAssessment
from blastscope.evaluation.leakage import Leakage
from blastscope.evaluation.model_baselines import ModelBaseline
from blastscope.evaluation.result import Evaluation
from blastscope.report.decision_text import sentences
from blastscope.report.text import LABELS, number

WORST_SUBJECTS = "Worst subjects"
_WORST = 3


@dataclass(frozen=True)
class ReportedEvaluation(Evaluation):
    """An evaluation, and what a reader has to know beside it.

    Attributes:
        decisions: calibration, operating point, referral and conformal sets, judged; or why not.
        baselines: rules without a network on the same cells, always-ALL first.
        gauge: what an image-level split hides of this recipe, where it was measured.
    """

    decisions: DecisionAssessment | str
    baselines: tuple[ModelBaseline, ...]
    gauge: Leakage | None

    def as_json(self) -> dict[str, Any]:
        """The content of ``metrics.json``, the baselines and the gauge with it."""
        return {
            **super().as_json(),
            "baselines": {baseline.name: dict(baseline.metrics) for baseline in self.baselines},
            "leakage": None if self.gauge is None else self.gauge.as_json(),
        }


def reported(
    evaluation: Evaluation,
    decisions: DecisionAssessment | str,
    baselines: tuple[ModelBaseline, ...],
    gauge: Leakage | None,
) -> ReportedEvaluation:
    """Set an evaluation and what belongs beside it into one."""
    own = {field.name: getattr(evaluation, field.name) for field in fields(evaluation)}
    return ReportedEvaluation(**own, decisions=decisions, baselines=baselines, gauge=gauge)


def first_page(found: ReportedEvaluation) -> list[tuple[str, str]]:
    """Return what stands below the headline figures: pairs of a word and a sentence."""
    rows = [("Tested on", _tested(found))]
    if found.gauge is not None:
        rows.append(("Leakage", found.gauge.sentence))
    elif not found.synthetic:
        rows.append(
            ("Leakage", "Not measured: blastscope leakage says what an image-level split hides.")
        )
    if isinstance(found.decisions, str):
        rows.append(("Decisions", found.decisions))
    else:
        rows += sentences(found.decisions).items()
    if found.subjects.height > 1:
        rows.append((WORST_SUBJECTS, _worst(found)))
    rows.append(("Baselines", _baselines(found)))
    return rows


def _tested(found: ReportedEvaluation) -> str:
    m, people = found.metrics, found.subjects
    n_all, n_hem = int(m["tp"] or 0) + int(m["fn"] or 0), int(m["tn"] or 0) + int(m["fp"] or 0)
    who = ""
    if people.height:
        of = ", ".join(
            f"{people.filter(people['label'] == label).height} {name}"
            for label, name in LABELS.items()
            if label in set(people["label"])
        )
        nameless = found.cells["subject"].null_count()
        rest = f"; {nameless:,} cells name none" if nameless else ""
        who = f" of {people.height} subjects ({of}{rest})"
    return (
        f"{number(m['n'])} cells ({n_all:,} ALL, {n_hem:,} normal){who}. {found.overlap.sentence}"
    )


def _worst(found: ReportedEvaluation) -> str:
    told = [
        f"{s['subject']} ({LABELS[s['label']]}, {s['cells']:,} cells): {s['accuracy']:.3f} "
        f"({s['low']:.3f} to {s['high']:.3f})"
        for s in found.subjects.head(_WORST).iter_rows(named=True)
    ]
    best = found.subjects["accuracy"].to_list()[-1]
    return f"Accuracy {'; '.join(told)}. The best subject: {best:.3f}."


def _baselines(found: ReportedEvaluation) -> str:
    """Set the model beside the best rule that has no network."""
    told = []
    for baseline in found.baselines:
        auc = baseline.metrics["auc"]
        area = "" if auc is None or baseline.name == "always ALL" else f", AUC {auc:.3f}"
        told.append(f"{baseline.name} weighted F1 {baseline.metrics['weighted_f1']:.3f}{area}")
    sentence = f"Without a network, on the same cells: {'; '.join(told)}."
    best = max(float(baseline.metrics["weighted_f1"] or 0) for baseline in found.baselines)
    bounds = found.intervals.bounds.get("weighted_f1")
    if len(found.baselines) == 1:
        return f"{sentence} Size and colour need --store, and training cells to be fitted on."
    if bounds is not None and bounds[0] > best:
        return f"{sentence} The model's whole interval is above them."
    if float(found.metrics["weighted_f1"] or 0) <= best:
        return f"{sentence} The model is not above them."
    return f"{sentence} The model is above them, but its interval is not."
