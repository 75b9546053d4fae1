"""Sum up an audit: for each model, whether its explanations can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.crop import Scale
from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import Resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.explanation.audit.curves import (
    KINDS,
    MUST_BEAT,
    Blurred,
    MeanCurve,
    RivalComparison,
    RivalVerdict,
    blur_away,
    compare_curves,
)
from blastscope.explanation.audit.regions import (
    ByRadius,
    OffCell,
    RegionShares,
    average_by_radius,
    find_off_cell,
    share_by_region,
)
from blastscope.explanation.audit.rows import CHANCE, FEWEST, Floats, Rows, means
from blastscope.explanation.audit.sanity_checks import (
    Randomized,
    WeightsVerdict,
    judge_randomization,
)
from blastscope.explanation.audit.size import SizeQuestion, ask_size
from blastscope.io.files import without_nan


class Doubt(StrEnum):
    """A test of an explanation that a model does not pass."""

    ONE_CLASS = "calls-one-class"
    NOT_ABOVE_CHANCE = "not-above-chance"
    REGION_TOO_FEW = "attribution-too-few-cells"
    LESS_ON_CELL = "attribution-off-cell"
    DELETION = "deletion"
    INSERTION = "insertion"
    NOT_RANDOMIZED = "weights-not-randomized"
    WEIGHTS = "does-not-follow-weights"


@dataclass(frozen=True)
class CallSummary:
    """The calls of a model on the cells of an audit."""

    cells: int  # how many there are
    called_all: int  # how many of them it calls ALL
    # Of its probabilities; None without ``FEWEST`` labelled cells of each class.
    auc: Estimate | None

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Why there may be no decision to explain; empty if there is one."""
        found = []
        if self.called_all in (0, self.cells):
            found.append(Doubt.ONE_CLASS)
        if self.auc is not None and not self.auc.low > CHANCE:
            found.append(Doubt.NOT_ABOVE_CHANCE)
        return tuple(found)


def count_calls(rows: Rows) -> CallSummary:
    """Count a model's calls, and compute the AUC of its probabilities if labels are known."""
    called_all = int((rows.frame["called"] == "all").sum())
    labelled = rows.labelled
    is_all = labelled.is_all
    if min(is_all.sum(), (~is_all).sum()) < FEWEST:
        return CallSummary(rows.frame.height, called_all, None)
    p_all = labelled.column("p_all")
    drawn = draw(WeightedMetrics(is_all, p_all[:, None]).of, labelled.draws)
    (auc,) = drawn.of(lambda metrics: metrics[..., METRICS.index("auc")]).estimates()
    return CallSummary(rows.frame.height, called_all, auc)


@dataclass(frozen=True)
class ModelAudit:
    """The audit of one model."""

    model: str  # its name
    cells: int  # how many cells were audited
    calls: CallSummary  # whether it makes a decision that an explanation can show
    # What is left of its calls if everything is blurred; None without deletion.
    blurred: Blurred | None
    # Where the attribution lies: of Grad-CAM, and of occlusion if it was used.
    shares: tuple[RegionShares, ...]
    # Deletion and insertion of every method; empty if they were not measured.
    curves: tuple[MeanCurve, ...]
    gains: tuple[RivalComparison, ...]  # Grad-CAM compared with its rivals
    # Whether the map follows the weights; None if that was not tested.
    randomized: Randomized | None
    # The attribution from centre to outline; None without labels or attribution.
    by_radius: ByRadius | None
    size: SizeQuestion | None  # the size question; None if no cell was rescaled
    # The cells in which the attribution lies on the background or on debris.
    off_cell: tuple[OffCell, ...]

    @property
    def grad_cam(self) -> RegionShares:
        """The attribution of Grad-CAM by region."""
        return self.shares[0]

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The tests of its Grad-CAM maps that it does not pass.

        Whether a map follows the weights may also be undecided: see :attr:`undecided`.
        """
        found = [*self.calls.doubts]
        if not self.grad_cam.judged:
            found.append(Doubt.REGION_TOO_FEW)
        elif self.grad_cam.less_on_cell:
            found.append(Doubt.LESS_ON_CELL)
        found += [Doubt(kind) for kind in KINDS if self.not_beaten(kind)]
        if self.randomized is None:
            found.append(Doubt.NOT_RANDOMIZED)
        elif self.randomized.verdict in (WeightsVerdict.IN_PART, WeightsVerdict.STAYS):
            found.append(Doubt.WEIGHTS)
        return tuple(found)

    @property
    def undecided(self) -> bool:
        """Whether the randomization test was made and has no verdict."""
        tested = self.randomized
        return tested is not None and tested.verdict is WeightsVerdict.UNDECIDED

    def not_beaten(self, kind: str) -> dict[str, RivalVerdict | None]:
        """Return the rivals that it must beat and does not, with the verdict; None: not measured.

        Args:
            kind: ``deletion`` or ``insertion``.
        """
        gains = {rival: self.gain(kind, rival) for rival in MUST_BEAT}
        return {
            rival: None if gain is None else gain.verdict
            for rival, gain in gains.items()
            if gain is None or not gain.better
        }

    def curve(self, kind: str, method: str) -> MeanCurve | None:
        """Return one mean curve; None if it was not measured."""
        wanted = (c for c in self.curves if (c.kind, c.method) == (kind, method))
        return next(wanted, None)

    def gain(self, kind: str, against: str) -> RivalComparison | None:
        """Return Grad-CAM's difference from a rival; None if it was not measured."""
        wanted = (g for g in self.gains if (g.kind, g.against) == (kind, against))
        return next(wanted, None)


@dataclass(frozen=True)
class AuditSummary:
    """The audit of all models."""

    models: tuple[ModelAudit, ...]  # in the order of the table
    cells: int  # how many each of them explained
    unlabelled: int  # how many of these have no label; then resamples are drawn regardless of class
    # Of the cells, for every model the same; there are no intervals with fewer than ``FEWEST``
    # cells.
    draws: Resampling
    # Models × models: the mean correlation of their maps; None on the diagonal, and if no cell has
    # both maps.
    agreement: tuple[tuple[float | None, ...], ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """The models whose Grad-CAM maps pass every test."""
        return tuple(m.model for m in self.models if not m.doubts and not m.undecided)

    def as_json(self) -> dict[str, Any]:
        """The content of ``audit-summary.json``; None for what is undefined."""
        content: dict[str, Any] = {
            "passed": list(self.passed),
            "cells": self.cells,
            "unlabelled": self.unlabelled,
            "resamples": self.draws.resamples,
            "unit": self.draws.sampling.unit,
            "fewest": self.draws.sampling.fewest,
            "models": [
                {**asdict(one), "doubts": one.doubts, "undecided": one.undecided}
                for one in self.models
            ],
            "agreement": self.agreement,
        }
        clean: dict[str, Any] = without_nan(content)
        return clean


def summarize(
    cells: pl.DataFrame,
    randomization: pl.DataFrame,
    scales: Mapping[str, Scale],
    seed: int = 24,
) -> AuditSummary:
    """Sum up the tables ``audit.parquet`` and ``randomization.parquet`` of an audit.

    All intervals are of 95 %, from resamples of the subjects, the same for every model. A mean of
    fewer than ``FEWEST`` cells has no interval, and no verdict. ``scales`` says by model how its
    cells were prepared: ``crop`` or ``keep``.

    Raises:
        BlastscopeError: if there are no cells, or the models did not explain the same cells.
        ValueError: if lists of the tables do not have the audit's lengths.
    """
    models = [str(name) for name in cells["model"].unique(maintain_order=True)]
    if not models:
        raise BlastscopeError("The audit has no cells: run it again.")
    rows = {model: _rows(cells, model, models[0], seed) for model in models}
    off_cell = find_off_cell(cells)
    found = tuple(
        _sum_up(model, mine, randomization, scales[model], off_cell[model])
        for model, mine in rows.items()
    )
    agreement = tuple(_agreement(mine, k, len(models)) for k, mine in enumerate(rows.values()))
    first = rows[models[0]]
    unlabelled = first.frame["label"].null_count()
    return AuditSummary(found, first.frame.height, unlabelled, first.draws, agreement)


def _rows(cells: pl.DataFrame, model: str, first: str, seed: int) -> Rows:
    """Return a model's rows in the order of the first model, so that their resamples are paired."""
    order = cells.filter(pl.col("model") == first).select("cell")
    mine = cells.filter(pl.col("model") == model)
    laid = order.join(mine, on="cell", how="inner", maintain_order="left")
    if not laid.height == order.height == mine.height or order["cell"].is_duplicated().any():
        raise BlastscopeError(
            f"The audit has other cells for {model} than for {first}: run it again into an empty "
            "folder."
        )
    return Rows(laid, seed)


def _sum_up(
    model: str,
    rows: Rows,
    randomization: pl.DataFrame,
    scale: Scale,
    off_cell: tuple[OffCell, ...],
) -> ModelAudit:
    curves, gains = compare_curves(rows)
    mine = randomization.filter(pl.col("model") == model)
    return ModelAudit(
        model=model,
        cells=rows.frame.height,
        calls=count_calls(rows),
        blurred=blur_away(rows),
        shares=share_by_region(rows),
        curves=curves,
        gains=gains,
        randomized=judge_randomization(mine, rows),
        by_radius=average_by_radius(rows),
        size=ask_size(rows, scale),
        off_cell=off_cell,
    )


def _agreement(rows: Rows, k: int, models: int) -> tuple[float | None, ...]:
    """Return the ``k``-th model's row of the matrix of agreement.

    Raises:
        ValueError: if its lists do not have one number per other model and none for itself: then
            the models are in another order.
    """
    values: Floats = rows.lists("agreement")
    if not values.shape[1]:
        return (None,) * models
    if values.shape[1] != models or not np.isnan(values[:, k]).all():
        raise ValueError("the agreement's numbers are not in the order of the models")
    return tuple(None if np.isnan(value) else float(value) for value in means(values))
