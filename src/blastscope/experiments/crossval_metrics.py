"""The figures of a cross-validation: by fold, and of all cells, each tested once, together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.data.names import ALL, HEM
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.spread import Spread
from blastscope.experiments.crossval_folder import FORMAT, CrossvalRequest
from blastscope.io.files import read_json

if TYPE_CHECKING:
    from blastscope.experiments.crossval import CrossvalRun


@dataclass(frozen=True)
class FoldMetrics:
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
class CrossvalMetrics:
    """The figures of all folds.

    Attributes:
        folds: one a fold and repeat.
        pooled: by repeat, the metrics of all cells together, each predicted by the network of the
            fold that tested it. Its AUC also asks that the folds' probabilities mean the same.
        sentences: how the folds were cut.
    """

    folds: tuple[FoldMetrics, ...]
    pooled: tuple[Metrics, ...]
    sentences: tuple[str, ...]

    def over_folds(self, name: str) -> Spread | None:
        """The spread of a metric over all folds that have it; None where none has it."""
        return Spread.of([value for f in self.folds if (value := f.metrics[name]) is not None])

    def over_repeats(self, name: str) -> Spread | None:
        """The spread of a metric of all cells together, over the repeats; None where undefined."""
        return Spread.of([value for m in self.pooled if (value := m[name]) is not None])

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


def crossval_metrics(started: CrossvalRun, table: pl.DataFrame) -> CrossvalMetrics:
    """Compute the figures of an out-of-fold table.

    Args:
        started: the cross-validation.
        table: as :func:`blastscope.experiments.crossval.gather` returns it.
    """
    folds = []
    for (repeat, number), rows in table.group_by("repeat", "fold", maintain_order=True):
        tested = {
            label: rows.filter(pl.col("label") == label)["subject"].drop_nulls().unique().sort()
            for label in (ALL, HEM)
        }
        people = {label: names.to_list() for label, names in tested.items()}
        folds.append(FoldMetrics(int(str(repeat)), int(str(number)), people, _metrics(rows)))
    folds.sort(key=lambda f: (f.repeat, f.fold))
    repeats = table.partition_by("repeat", maintain_order=True)
    return CrossvalMetrics(tuple(folds), tuple(map(_metrics, repeats)), started.plans[0].sentences)


def read_crossval_metrics(path: Path) -> CrossvalMetrics:
    """Read what :func:`record` wrote into ``crossval.json``.

    Raises:
        BlastscopeError: where it is none, or of a cross-validation that is not whole.
    """
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise KeyError("format")
        folds = tuple(
            FoldMetrics(int(f["repeat"]), int(f["fold"]), f["tested"], f["metrics"])
            for f in content["folds"]
        )
        return CrossvalMetrics(folds, tuple(content["pooled"]), tuple(content["sentences"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BlastscopeError(
            f"{path} has no folds ({error}): give the crossval command again, which goes on."
        ) from error


def record(order: CrossvalRequest, fingerprint: str, found: CrossvalMetrics) -> None:
    """Write the figures into ``crossval.json``, beside what the folder is."""
    order.folder(fingerprint).record({"recipe": order.name, **found.as_json()})


def _metrics(rows: pl.DataFrame) -> Metrics:
    is_all = (rows["label"] == ALL).to_numpy()
    return compute_metrics(is_all, rows["p_all"].to_numpy(), rows["subject"].to_list())
