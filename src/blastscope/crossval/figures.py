"""The figures of a cross-validation: by fold, and of all cells, each tested once, together."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import polars as pl

from blastscope.cells.names import ALL, HEM
from blastscope.crossval.folder import FORMAT, Order
from blastscope.crossval.run import Started
from blastscope.evaluate.metrics import Metrics, compute_metrics
from blastscope.files import write_json

SHOWN = {
    "weighted F1": "weighted_f1",
    "AUC": "auc",
    "sensitivity": "recall_all",
    "specificity": "recall_hem",
}


@dataclass(frozen=True)
class FoldFigures:
    """How the network of one fold did on the cells that it never saw.

    Attributes:
        repeat: from 1.
        fold: from 1.
        tested: by class, the subjects it was tested on.
        metrics: on their cells.
    """

    repeat: int
    fold: int
    tested: dict[str, list[str]]
    metrics: Metrics


@dataclass(frozen=True)
class Figures:
    """The figures of all folds.

    Attributes:
        folds: one a fold and repeat.
        pooled: by repeat, the metrics of all cells together, each predicted by the network of the
            fold that tested it. Its AUC also asks that the folds' probabilities mean the same.
        sentences: how the folds were cut.
    """

    folds: tuple[FoldFigures, ...]
    pooled: tuple[Metrics, ...]
    sentences: tuple[str, ...]

    def over_folds(self, name: str) -> tuple[float, float | None] | None:
        """Mean and standard deviation of a metric over all folds that have it.

        One fold has no deviation; None where no fold has the metric.
        """
        found = [value for f in self.folds if (value := f.metrics[name]) is not None]
        if not found:
            return None
        return fmean(found), stdev(found) if len(found) > 1 else None

    @property
    def headline(self) -> str:
        """The figures that a reader asks for first, in a line."""
        told = []
        for shown, name in SHOWN.items():
            over = self.over_folds(name)
            if over is not None:
                spread = f" ± {over[1]:.4f}" if over[1] is not None else ""
                told.append(f"{shown} {over[0]:.4f}{spread}")
        return f"mean over {len(self.folds)} folds ± standard deviation: {', '.join(told)}"

    def as_json(self) -> dict[str, Any]:
        """The figures for ``crossval.json``."""
        return {
            "sentences": list(self.sentences),
            "folds": [
                {"repeat": f.repeat, "fold": f.fold, "tested": f.tested, "metrics": dict(f.metrics)}
                for f in self.folds
            ],
            "pooled": [dict(metrics) for metrics in self.pooled],
        }


def figures(started: Started, table: pl.DataFrame) -> Figures:
    """Compute the figures of an out-of-fold table.

    Args:
        started: the cross-validation.
        table: as :func:`blastscope.crossval.run.gather` returns it.
    """
    folds = []
    for (repeat, number), rows in table.group_by("repeat", "fold", maintain_order=True):
        tested = {
            label: rows.filter(pl.col("label") == label)["subject"].drop_nulls().unique().sort()
            for label in (ALL, HEM)
        }
        people = {label: names.to_list() for label, names in tested.items()}
        folds.append(FoldFigures(int(str(repeat)), int(str(number)), people, _metrics(rows)))
    folds.sort(key=lambda f: (f.repeat, f.fold))
    repeats = table.partition_by("repeat", maintain_order=True)
    return Figures(tuple(folds), tuple(map(_metrics, repeats)), started.plans[0].sentences)


def record(order: Order, fingerprint: str, found: Figures) -> None:
    """Write the figures into ``crossval.json``, beside what the folder is."""
    identity = order.identity(fingerprint)
    content = {"format": FORMAT, "identity": identity, "recipe": order.name}
    write_json(order.record, {**content, **found.as_json()})


def _metrics(rows: pl.DataFrame) -> Metrics:
    is_all = (rows["label"] == ALL).to_numpy()
    return compute_metrics(is_all, rows["p_all"].to_numpy(), rows["subject"].to_list())
