"""Sum up a stress test: what each perturbation costs each model, and where its cost begins."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from blastscope.data.names import ALL
from blastscope.evaluation.overlap import Overlap
from blastscope.io.files import without_nan
from blastscope.robustness.metrics import StepDraws, StepMetrics, measure
from blastscope.robustness.ood_check import OodCheck, judge
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Perturbation, steps

if TYPE_CHECKING:
    from blastscope.robustness.models import TestedModel
    from blastscope.robustness.step_predictions import PartialStressTest

NOTICED = 0.02
"""The smallest drop in AUC that counts as a cost."""


@dataclass(frozen=True)
class ModelRobustness:
    """One model.

    Attributes:
        model: its name.
        cells: how many were perturbed.
        overlap: whether their subjects are in its training.
        found: its metrics at every step.
        ood: its out-of-distribution flag; None if it has none.
    """

    model: str
    cells: int
    overlap: Overlap
    found: StepDraws
    ood: OodCheck | None

    @property
    def unchanged(self) -> StepMetrics:
        """Its metrics on unchanged cells."""
        return self.found.steps[0]

    def of(self, perturbation: Perturbation) -> tuple[StepMetrics, ...]:
        """Return the steps of a perturbation, by value."""
        return tuple(one for one in self.found.steps if one.step.perturbation is perturbation)

    def noticed(self, perturbation: Perturbation) -> tuple[StepMetrics, ...]:
        """Return the first step in each direction at which AUC has dropped by ``NOTICED``."""
        mine = self.of(perturbation)
        sides = [
            [one for one in reversed(mine) if (one.step.value or 0) < perturbation.unchanged],
            [one for one in mine if (one.step.value or 0) > perturbation.unchanged],
        ]
        past = [
            next((one for one in side if one.drops["auc"].value >= NOTICED), None) for side in sides
        ]
        return tuple(one for one in past if one is not None)

    def worst(self, perturbation: Perturbation) -> StepMetrics:
        """Return the step of a perturbation at which AUC falls most (weighted F1 without AUC)."""
        return max(self.of(perturbation), key=lambda one: one.drops[self.judged].value)

    @property
    def judged(self) -> str:
        """The metric that compares costs: ``auc``, or ``weighted_f1`` if there is one class."""
        return "auc" if not np.isnan(self.unchanged.values["auc"]) else "weighted_f1"

    def dearest(self, name: str) -> StepMetrics:
        """Return the step at which a metric falls most."""
        return max(self.found.steps[1:], key=lambda one: one.drops[name].value)


def summarize(parts: PartialStressTest) -> tuple[ModelRobustness, ...]:
    """Compute the metrics of every model from its predictions."""
    return tuple(_sum_up(parts, k, model) for k, model in enumerate(parts.models))


def _sum_up(parts: PartialStressTest, k: int, model: TestedModel) -> ModelRobustness:
    cells, taken = model.cells, tuple(steps())
    frames = [parts.of_step(k, step) for step in taken]
    p_all, scores = (
        np.column_stack([frame[name].cast(pl.Float64).to_numpy() for frame in frames])
        for name in ("p_all", "ood_score")
    )
    is_all = (cells["label"] == ALL).to_numpy()
    found = measure(is_all, cells["subject"].to_list(), taken, p_all, scores)
    beside = cells.select("subject", "label").with_columns(frames[0]["ood_score"])
    ood = judge(beside, parts.of_non_cells(k))
    return ModelRobustness(model.name, cells.height, model.overlap, found, ood)


def as_json(models: tuple[ModelRobustness, ...]) -> list[dict[str, Any]]:
    """Return the models for ``stress.json``; None for what is undefined."""
    content = []
    for one in models:
        costs = {
            way.name: {
                "worst": one.worst(way).step.value,
                "auc_drop": asdict(one.worst(way).drops["auc"]),
                "weighted_f1_drop": asdict(one.worst(way).drops["weighted_f1"]),
                "noticed": [at.step.value for at in one.noticed(way)],
            }
            for way in PERTURBATIONS
        }
        dearest = one.dearest(one.judged).step
        content.append(
            {
                "model": one.model,
                "cells": one.cells,
                "judged": one.judged,
                "most_costly": {"perturbation": dearest.name, "value": dearest.value},
                "costs": costs,
                "out_of_distribution": None if one.ood is None else asdict(one.ood),
            }
        )
    clean: list[dict[str, Any]] = without_nan(content)
    return clean
