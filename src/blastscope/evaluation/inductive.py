"""The metrics of a model's own probabilities, beside those that were corrected by neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl

from blastscope.data.names import ALL
from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.files import without_nan
from blastscope.io.predictions import INDUCTIVE, PSEUDO_LABELS


@dataclass(frozen=True)
class InductiveMetrics:
    """Metrics by name (``weighted_metrics.METRICS``), with 95 % intervals by subject.

    Attributes:
        own: of the model's own probabilities, each cell by itself.
        by: what made them transductive: a correction by neighbours, or pseudo-labels of the cells;
            then ``own`` are those of the models that gave the pseudo-labels.
        gain: the metric of the corrected probabilities minus that of the own, on the same draws.
    """

    own: Mapping[str, Estimate]
    gain: Mapping[str, Estimate]
    by: Literal["neighbours", "pseudo-labels"] = "neighbours"

    @property
    def corrected(self) -> bool:
        """Whether a finished model's probabilities were corrected, after the fact."""
        return self.by == "neighbours"

    def as_json(self) -> dict[str, Any]:
        """The metrics as JSON, with null for what is undefined."""
        found: dict[str, Any] = without_nan(asdict(self))
        return found


def inductive_metrics(
    cells: pl.DataFrame, metadata: Mapping[str, Any] = MappingProxyType({})
) -> InductiveMetrics | None:
    """Judge what ``p_inductive`` holds; None if the probabilities were not corrected.

    Args:
        cells: labelled, of one split part.
        metadata: of their table.

    Raises:
        BlastscopeError: if the column holds something else.
    """
    if INDUCTIVE not in cells.columns:
        return None
    own = cells[INDUCTIVE].cast(pl.Float64, strict=False)
    if not own.is_between(0, 1).fill_null(False).all():
        raise BlastscopeError(
            f"The column {INDUCTIVE} holds what is not a probability: remove it, or predict again."
        )
    is_all = (cells["label"] == ALL).to_numpy()
    both = np.column_stack([cells["p_all"].to_numpy(), own.to_numpy()])
    drawn = draw(WeightedMetrics(is_all, both).of, resampling(is_all, cells["subject"].to_list()))
    alone = drawn.of(lambda found: found[:, 1]).estimates()
    gain = drawn.of(lambda found: found[:, 0] - found[:, 1]).estimates()
    return InductiveMetrics(
        dict(zip(METRICS, alone, strict=True)),
        dict(zip(METRICS, gain, strict=True)),
        "pseudo-labels" if PSEUDO_LABELS in metadata else "neighbours",
    )
