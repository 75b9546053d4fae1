"""The outcome of an evaluation, and the JSON that others read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.evaluation.confidence_intervals import Intervals
from blastscope.evaluation.metrics import EXCHANGED, THRESHOLD, Metrics
from blastscope.evaluation.overlap import Overlap
from blastscope.evaluation.sources import Readings
from blastscope.io.files import read_json, refuse_other_version

METRICS_FORMAT = "blastscope-metrics/2"


@dataclass(frozen=True)
class Evaluation:
    """One model's metrics: on every labelled split part, and on one of them in detail.

    Attributes:
        parts: metrics of every part that has labelled cells.
        intervals: 95 % intervals of the metrics of ``part``, drawn by subject.
        checkpoint: ``sha256:...`` of what made the predictions, if known.
        protocol: how the cells were split (``image``, ``subject``...), if known.
        cells: the labelled rows of ``part``.
        unlabelled: how many cells of ``part`` carry no label and are left out.
        subjects: accuracy by subject, worst first (see ``subject_table``).
        overlap: whether the part's subjects are also in training.
        readings: what was assumed and joined when the tables were read.
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
    readings: Readings = field(default_factory=dict, kw_only=True)

    @property
    def metrics(self) -> Metrics:
        """The metrics of the reported part."""
        return self.parts[self.part]

    @property
    def hard_calls(self) -> bool:
        """Whether every probability is 0 or 1, so that AUC has one operating point to go by."""
        return bool(self.cells["p_all"].is_in([0.0, 1.0]).all())

    @property
    def exchanged(self) -> bool:
        """Whether every part's AUC is so low that labels or the sign of p may be exchanged."""
        found = [metrics["auc"] for metrics in self.parts.values() if metrics["auc"] is not None]
        return bool(found) and max(found) < EXCHANGED

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
            "sampling": asdict(self.intervals.sampling),
            "overlap": asdict(self.overlap),
            "readings": dict(self.readings),
            "hints": ["exchanged"] if self.exchanged else [],
        }


def read_metrics(path: Path) -> dict[str, Any]:
    """Read a ``metrics.json`` that an evaluation wrote."""
    content = read_json(path)
    refuse_other_version(content, METRICS_FORMAT, path, "blastscope evaluate")
    return content
