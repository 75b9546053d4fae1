"""The model card that travels with a bundle (Mitchell et al., FAT* 2019)."""

from __future__ import annotations

from blastscope.bundle.manifest import EvaluationEntry, Manifest, SizeCurve
from blastscope.bundle.provenance import (
    EQUAL_SIZE,
    NEXT_SUBJECT,
    NORMAL_SUBJECTS,
    OF_SIZE,
    OF_SIZE_AT_EQUAL_SIZE,
)
from blastscope.decision.decision_file import DecisionFile
from blastscope.evaluation.bootstrap import SamplingUnits
from blastscope.io.json_objects import read_as
from blastscope.report.adaptation_text import adaptation_lines, adaptation_rows, adapted_from
from blastscope.report.card_metadata import front_matter
from blastscope.report.decision_text import (
    CALIBRATIONS,
    fitted_on_text,
    reached_text,
    rule_text,
)
from blastscope.report.evaluation_text import CITATION, sampling_text
from blastscope.report.generalization_text import SYNTHETIC, doubt_text, generalization_text
from blastscope.report.html import render_text
from blastscope.report.shortcut_text import SUBGROUP_NAMES
from blastscope.report.size_curve_text import size_columns, size_rows, size_text
from blastscope.report.text import escaped, number, protocol_name

_NAMES = {
    "weighted_f1": "weighted F1",
    "auc": "AUC",
    "recall_all": "sensitivity",
    "recall_hem": "specificity",
    EQUAL_SIZE: "AUC at equal size",
    NORMAL_SUBJECTS: "AUC, mean over normal subjects",
    NEXT_SUBJECT: "AUC of the next normal subject (95 % prediction interval)",
    OF_SIZE: "AUC of the size of a cell alone",
    OF_SIZE_AT_EQUAL_SIZE: "AUC of the size of a cell alone, at equal size",
}

SUBGROUP_COLUMNS = (
    "subgroup", "ALL cells", "normal cells", "AUC", "sensitivity", "specificity",
)  # fmt: skip
_SAME_SUBJECTS = ("image", "paper")
"""The protocols that split the cells of a subject between parts."""


def bundle_card(manifest: Manifest, decision: DecisionFile | None) -> str:
    """Write the card of a bundle from its manifest and decision: YAML metadata, then Markdown."""
    return front_matter(manifest) + render_text(
        "bundle_card.md",
        manifest=manifest,
        decision=decision,
        synthetic_note=SYNTHETIC,
        worth="" if manifest.synthetic else generalization_text(manifest),
        doubt=doubt_text(manifest),
        evaluated_on=evaluated_on,
        metric_rows=metric_rows,
        subgroup_columns=SUBGROUP_COLUMNS,
        subgroup_rows=subgroup_rows,
        size_columns=size_columns,
        size_rows=size_rows,
        size_text=size_text,
        interval_notes=interval_notes,
        calibrations=CALIBRATIONS,
        rule_text=rule_text,
        fitted_on_text=fitted_on_text,
        reached_text=reached_text,
        citation=CITATION,
        adapted_from=adapted_from,
        adaptation_lines=adaptation_lines,
        adaptation_rows=adaptation_rows,
    )


def evaluated_on(found: EvaluationEntry | SizeCurve) -> str:
    """Write which weights an evaluation is of, and which cells it was made on."""
    weights = (
        "These weights" if found.own else "Other weights of the same recipe, not these very ones"
    )
    whose = " of subjects that are also in training" if found.protocol in _SAME_SUBJECTS else ""
    return (
        f"{weights}, on {found.cells:,} {escaped(found.part)} cells{whose}, "
        f"{protocol_name(found.protocol)}; a cell is called ALL if the network's own p > 0.5."
    )


def metric_rows(found: EvaluationEntry) -> list[tuple[str, float, float | None, float | None]]:
    """Return the main metrics of an evaluation, each with the bounds of its interval."""
    return [
        (name, metric.value, metric.low, metric.high)
        for key, name in _NAMES.items()
        if (metric := found.metrics.get(key)) is not None
    ]


def subgroup_rows(found: EvaluationEntry) -> list[tuple[str, ...]]:
    """Return the cells of both classes, AUC, sensitivity and specificity of each subgroup."""
    return [
        (
            f"{SUBGROUP_NAMES[one.by]}: {escaped(one.name)}",
            f"{one.cells_all:,}",
            f"{one.cells_hem:,}",
            *(number(value, 3) for value in (one.auc, one.recall_all, one.recall_hem)),
        )
        for one in found.subgroups
    ]


def interval_notes(manifest: Manifest) -> list[str]:
    """Write how the intervals of a bundle's evaluations were drawn, each way once."""
    found = (read_as(SamplingUnits, each.sampling) for each in manifest.evaluations)
    return list(dict.fromkeys(f"Intervals: {sampling_text(one)}" for one in found))
