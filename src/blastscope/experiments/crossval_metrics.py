"""The metrics of a cross-validation: by fold, and of all cells, each tested once, together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.data.folds import FoldCut
from blastscope.data.names import ALL, HEM
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import Metrics, compute_metrics
from blastscope.evaluation.spread import Spread
from blastscope.experiments.crossval_folder import FORMAT, CrossvalRequest
from blastscope.experiments.initial_weights import refuse_other_weights
from blastscope.io.files import read_json, refuse_other_version
from blastscope.io.json_objects import read_as

if TYPE_CHECKING:
    from blastscope.experiments.crossval import CrossvalRun


@dataclass(frozen=True)
class FoldMetrics:
    """The metrics of one fold's network on the cells of the tested subjects, named by class."""

    repeat: int
    fold: int
    tested: dict[str, list[str]]
    metrics: Metrics


@dataclass(frozen=True)
class CrossvalMetrics:
    """The metrics of all folds.

    Attributes:
        pooled: by repeat, the metrics of all cells together, each predicted by the network of the
            fold that tested it. Its AUC also asks that the folds' probabilities mean the same.
        cut: how the folds of the first repeat were cut.
    """

    folds: tuple[FoldMetrics, ...]
    pooled: tuple[Metrics, ...]
    cut: FoldCut

    def over_folds(self, name: str) -> Spread | None:
        """The spread of a metric over all folds that have it; None if none has it."""
        return Spread.of([value for f in self.folds if (value := f.metrics[name]) is not None])

    def over_repeats(self, name: str) -> Spread | None:
        """The spread of a metric of all cells together, over the repeats; None if undefined."""
        return Spread.of([value for m in self.pooled if (value := m[name]) is not None])

    def as_json(self) -> dict[str, Any]:
        """The metrics for ``crossval.json``."""
        return {
            "cut": asdict(self.cut),
            "folds": [asdict(fold) for fold in self.folds],
            "pooled": [dict(metrics) for metrics in self.pooled],
        }


def crossval_metrics(started: CrossvalRun, table: pl.DataFrame) -> CrossvalMetrics:
    """Compute the metrics of the table that :func:`blastscope.experiments.crossval.gather` made.

    Raises:
        BlastscopeError: if folds began with different pretrained weights; their table is removed,
            so that nobody takes the cross-validation for a whole one.
    """
    try:
        refuse_other_weights(f.run(one) for one in started.request.recipes for f in started.folds)
    except BlastscopeError:
        started.request.predictions.unlink(missing_ok=True)
        raise
    folds = []
    for (repeat, number), rows in table.group_by("repeat", "fold", maintain_order=True):
        named = rows.drop_nulls("subject")
        tested = {
            label: named.filter(pl.col("label") == label)["subject"].unique().sort().to_list()
            for label in (ALL, HEM)
        }
        folds.append(FoldMetrics(int(str(repeat)), int(str(number)), tested, _metrics(rows)))
    folds.sort(key=lambda f: (f.repeat, f.fold))
    repeats = table.partition_by("repeat", maintain_order=True)
    return CrossvalMetrics(tuple(folds), tuple(map(_metrics, repeats)), started.plans[0].cut)


def read_crossval_metrics(path: Path) -> CrossvalMetrics:
    """Read what :func:`record` wrote into ``crossval.json``.

    Raises:
        BlastscopeError: if it is not one, or is of a cross-validation that is not whole.
    """
    content = read_json(path)
    refuse_other_version(content, FORMAT, path, "blastscope crossval")
    try:
        return read_as(CrossvalMetrics, content)
    except ValueError as error:
        raise BlastscopeError(
            f"{path} has no folds ({error}): give the crossval command again, which goes on."
        ) from error


def record(request: CrossvalRequest, fingerprint: str, found: CrossvalMetrics) -> None:
    """Write the metrics into ``crossval.json``, beside what the folder is."""
    content = {"recipe": request.name, **found.as_json()}
    request.folder(fingerprint).record(content, [request.predictions.name])


def _metrics(rows: pl.DataFrame) -> Metrics:
    is_all = (rows["label"] == ALL).to_numpy()
    return compute_metrics(is_all, rows["p_all"].to_numpy(), rows["subject"].to_list())
