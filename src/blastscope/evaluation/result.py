"""The outcome of an evaluation, and the JSON that others read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError
from blastscope.evaluation.confidence_intervals import Intervals
from blastscope.evaluation.metrics import THRESHOLD, Metrics
from blastscope.evaluation.subjects import Overlap
from blastscope.io.files import read_json

METRICS_FORMAT = "blastscope-metrics/1"


@dataclass(frozen=True)
class Evaluation:
    """One model's figures: every labelled part of them, one part in detail.

    Attributes:
        model: the model's name.
        part: the part that the report is about.
        parts: metrics of every part that has labelled cells.
        intervals: of the figures of ``part``, 95 %, drawn by subject.
        synthetic: whether the cells are synthetic.
        checkpoint: ``sha256:...`` of what made the predictions, where known.
        protocol: how the cells were split (``image``, ``subject``...), where known.
        cells: the labelled rows of ``part``.
        unlabelled: how many cells of ``part`` carry no label and are left out.
        subjects: figures by subject, worst first (see ``subject_table``).
        overlap: whether the part's subjects are also in training.
    """

    model: str
    part: str
    parts: Mapping[str, Metrics]
    intervals: Intervals
    synthetic: bool
    checkpoint: str | None
    protocol: str | None
    cells: pl.DataFrame
    unlabelled: int
    subjects: pl.DataFrame
    overlap: Overlap

    @property
    def metrics(self) -> Metrics:
        """The metrics of the reported part."""
        return self.parts[self.part]

    @property
    def hard_calls(self) -> bool:
        """Whether every probability is 0 or 1, so that AUC has one operating point to go by."""
        return bool(self.cells["p_all"].is_in([0.0, 1.0]).all())

    @property
    def headline(self) -> str:
        """The figures that a reader asks for first, in a line."""
        shown = {"weighted F1": "weighted_f1", "AUC": "auc", "sensitivity": "recall_all"}
        shown["specificity"] = "recall_hem"
        figures = ((name, self.metrics[key]) for name, key in shown.items())
        told = (f"{name} {value:.4f}" for name, value in figures if value is not None)
        return f"{self.part} " + ", ".join(told)

    def as_json(self) -> dict[str, Any]:
        """The content of ``metrics.json``."""
        return {
            "format": METRICS_FORMAT,
            "model": self.model,
            "synthetic": self.synthetic,
            "threshold": THRESHOLD,
            "part": self.part,
            "checkpoint": self.checkpoint,
            "protocol": self.protocol,
            "parts": dict(self.parts),
            "intervals": {name: list(bounds) for name, bounds in self.intervals.bounds.items()},
            "intervals_drawn": self.intervals.sentence,
        }


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json`` that an evaluation wrote.

    Raises:
        BlastscopeError: where it is missing or of another format.
    """
    content = read_json(path)
    if content.get("format") != METRICS_FORMAT:
        raise BlastscopeError(f"{path} is not a {METRICS_FORMAT} file: evaluate the run again.")
    return content
