"""What a model is worth on subjects that it has not seen: the first sentence about every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blastscope.bundle.provenance import (
    EQUAL_SIZE,
    NEXT_SUBJECT,
    OF_SIZE,
    OF_SIZE_AT_EQUAL_SIZE,
    UNSEEN,
)
from blastscope.report.text import LABELS, counted, interval, listed, number

if TYPE_CHECKING:
    from blastscope.bundle.manifest import EvaluationEntry, Manifest, MetricEntry

SYNTHETIC = (
    "Trained on synthetic cells: it shows how the software works, and nothing it says of a real "
    "cell means anything."
)
ENOUGH_SUBJECTS = 5
"""Fewer subjects of a class say little about the next subject."""


def generalization_text(manifest: Manifest | None, synthetic: bool = False) -> str:
    """Write what a model is worth on subjects that it has not seen, in a sentence.

    Args:
        manifest: of its bundle; None if it is not from a bundle.
        synthetic: whether synthetic cells have taught the model.
    """
    if synthetic or (manifest is not None and manifest.synthetic):
        return SYNTHETIC
    if manifest is None:
        return (
            "What this model is worth on unseen subjects is not recorded with it: see its own "
            "evaluation before you read on."
        )
    found = _on_unseen_subjects(manifest)
    if found is None:
        return (
            "This model was not evaluated on unseen subjects: its worth for a new one is unknown."
        )
    counts, of = _subjects(found), ""
    if counts:
        classes = listed([f"{count} {LABELS[name]}" for name, count in counts.items()])
        of = f" of {counted(sum(counts.values()), 'subject')} ({classes})"
    whose = "" if found.own else ", by other networks of the same recipe"
    rest = _beside(found)
    start = "On unseen subjects its AUC is"
    if manifest.adaptation is not None:
        start = "Before it was adapted, its AUC on unseen subjects was"
    return (
        f"{start} {_with_interval(found.metrics['auc'])}{rest}. Measured on "
        f"{counted(found.cells)}{of} together{whose}."
    )


def _beside(found: EvaluationEntry) -> str:
    """Write AUC at equal size and what size alone has, if they were measured."""
    said = ""
    if (equal := found.metrics.get(EQUAL_SIZE)) is not None:
        said += f", at equal size {_with_interval(equal)}"
    if (size := found.metrics.get(OF_SIZE)) is not None:
        said += f"; the size of a cell alone has {number(size.value, 3)}"
        if (left := found.metrics.get(OF_SIZE_AT_EQUAL_SIZE)) is not None:
            said += f", at equal size {number(left.value, 3)}"
    return said


def _with_interval(metric: MetricEntry) -> str:
    known = metric.low is not None and metric.high is not None
    bounds = f" (95 % interval {interval((metric.low, metric.high))})" if known else ""  # type: ignore[arg-type]
    return f"{number(metric.value, 3)}{bounds}"


def doubt_text(manifest: Manifest | None) -> str:
    """Write why that sentence says little, if it was measured on few subjects; empty if not."""
    found = None if manifest is None or manifest.synthetic else _on_unseen_subjects(manifest)
    if found is None:
        return ""
    counts = _subjects(found)
    name = min(counts, key=counts.__getitem__, default="")
    if not name or counts[name] >= ENOUGH_SUBJECTS:
        return ""
    few = counted(counts[name], f"{LABELS[name]} subject")
    said = f"It was measured on {few}: so few say little about the next one."
    following = found.metrics.get(NEXT_SUBJECT)
    if following is None or following.low is None or following.high is None:
        return said
    bounds = interval((following.low, following.high))
    return (
        f"{said} The AUC of the next normal subject may lie anywhere from {bounds} (95 % "
        "prediction interval)."
    )


def _on_unseen_subjects(manifest: Manifest) -> EvaluationEntry | None:
    """Find the evaluation on unseen subjects with an AUC that tells most of the next one.

    That is the one whose rarer class has most subjects, be it of other networks; else the first.
    """
    usable = [
        one for one in manifest.evaluations if one.protocol in UNSEEN and "auc" in one.metrics
    ]
    return max(usable, key=lambda one: min(_subjects(one).values(), default=0), default=None)


def _subjects(found: EvaluationEntry) -> dict[str, int]:
    """Count the subjects of an evaluation by class; empty if its cells do not all name one."""
    return dict(found.sampling["counts"]) if found.sampling["unit"] == "subject" else {}
