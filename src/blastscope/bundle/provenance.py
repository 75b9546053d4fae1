"""What a manifest says of a run: its preparation in words, its data in numbers, its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.bundle.manifest import (
    EvaluationEntry,
    MetricEntry,
    Preparation,
    TrainingCells,
)
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import SamplingUnits
from blastscope.evaluation.result import read_metrics
from blastscope.io.files import read_json
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions

if TYPE_CHECKING:
    from blastscope.training.finished_run import FinishedRun

_SHOWN = (
    "weighted_f1", "auc", "recall_all", "recall_hem", "precision_all", "precision_hem",
    "accuracy", "balanced_accuracy", "mcc",
)  # fmt: skip


def preparation_of(settings: StoreSettings) -> Preparation:
    """Describe a preparation so that others can do it again."""
    outline = "all its pieces" if settings.contour == "union" else "the first of its outlines"
    steps = [
        "Decode to 8-bit RGB; transparency is laid on black.",
        f"The cell is what is brighter than {settings.threshold} of 255 in grey; its box holds "
        f"{outline}.",
    ]
    if settings.scale == "crop":
        steps.append("Cut the box out and pad it with black, centred, to a square.")
    else:
        steps.append(
            f"Cut a square of {settings.field} pixels of the image about the box's centre; what "
            "is outside box or image is black."
        )
    if settings.clahe:
        steps.append("Equalise Y of YUV: CLAHE, clip limit 2, 8 × 8 tiles.")
    steps.append(
        f"Resize to {settings.size} × {settings.size} pixels: by area where it shrinks, "
        "bilinear where it grows."
    )
    return Preparation(
        size=settings.size,
        scale=settings.scale,
        clahe=settings.clahe,
        contour=settings.contour,
        field=settings.field,
        threshold=settings.threshold,
        steps=tuple(steps),
    )


def data_of(run: FinishedRun) -> TrainingCells:
    """Count a run's cells by part and class, and the persons of its training part."""
    table, about = read_predictions(run.path / "predictions.parquet")
    counts = table.group_by("part", "label").len()
    cells: dict[str, dict[str, int]] = {}
    for part, label, count in counts.sort("part", "label").iter_rows():
        cells.setdefault(part, {})[label or "unlabelled"] = count
    trained = table.filter(pl.col("part") == "train", pl.col("subject").is_not_null())
    persons = trained.group_by("label").agg(pl.col("subject").n_unique()).sort("label")
    return TrainingCells(
        store=str(about["store"]),
        split=str(about["split"]),
        protocol=str(about.get("protocol")),
        cells=cells,
        subjects={label or "unlabelled": count for label, count in persons.iter_rows()},
    )


def judged_from(folder: Path, names: set[str], checkpoint: str) -> EvaluationEntry:
    """Read an evaluation that belongs to a model.

    Args:
        folder: with its ``metrics.json``.
        names: of the model, or of the recipe whose cross-validation it may be.
        checkpoint: of the model's weights.

    Raises:
        BlastscopeError: where it is missing or of another model.
    """
    from blastscope.report.evaluation_text import sampling_text

    content = read_metrics(folder / "metrics.json")
    model = str(content.get("model")).removesuffix(SYNTHETIC_MARK).partition(" #")[0]
    own = content.get("checkpoint") == checkpoint
    if not own and model not in names:
        raise BlastscopeError(
            f"{folder} evaluates {model}, not {' or '.join(sorted(names))}: give an evaluation of "
            "this model, or of its recipe."
        )
    part = str(content["part"])
    metrics, bounds = content["parts"][part], content["intervals"]
    figures = {}
    for name in _SHOWN:
        value = metrics.get(name)
        if value is not None:
            low, high = bounds.get(name) or (None, None)
            figures[name] = MetricEntry(value=float(value), low=low, high=high)
    return EvaluationEntry(
        own=own,
        part=part,
        protocol=content.get("protocol") or "unknown",
        cells=int(metrics["n"]),
        figures=figures,
        intervals=sampling_text(SamplingUnits.from_json(content["sampling"])),
    )


def evaluations_of(
    own: Path, others: Sequence[Path], name: str, checkpoint: str
) -> tuple[EvaluationEntry, ...]:
    """Read a model's own evaluation, if there is one, and further ones.

    Returns:
        Those on unseen subjects first, since they say what to expect of a new subject.

    Raises:
        BlastscopeError: if one of ``others`` is missing or of another model.
    """
    folders = [own] if (own / "metrics.json").is_file() else []
    found = (judged_from(folder, {name}, checkpoint) for folder in (*folders, *others))
    return tuple(sorted(found, key=lambda judged: judged.protocol != "subject"))


def environment_of(path: Path) -> dict[str, Any]:
    """Read what a run says of its making; empty where it says nothing."""
    place = path / "environment.json"
    return read_json(place) if place.is_file() else {}
