"""A stress test in words and figures: what costs which model most, and where it begins to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.names import ALL
from blastscope.explanation.audit.words import NAMES, figure, listed, told
from blastscope.io.files import without_nan
from blastscope.robustness.metrics import StepDraws, StepFigures, measure
from blastscope.robustness.models import TestedModel
from blastscope.robustness.ood_check import OodCheck, judge
from blastscope.robustness.perturbation_plan import PERTURBATIONS, Perturbation, steps
from blastscope.robustness.step_predictions import PartialStressTest

NOTICED = 0.02
"""A drop in AUC from which a perturbation is said to cost something."""


@dataclass(frozen=True)
class ModelRobustness:
    """One model.

    Attributes:
        model: its name.
        cells: how many it was tried on.
        overlap: a sentence that says whether their subjects are known to it.
        found: its figures at every step.
        outsiders: what its flag does; None where it has none.
    """

    model: str
    cells: int
    overlap: str
    found: StepDraws
    outsiders: OodCheck | None

    @property
    def unchanged(self) -> StepFigures:
        """Its figures where nothing is changed."""
        return self.found.steps[0]

    def of(self, perturbation: Perturbation) -> tuple[StepFigures, ...]:
        """Return the steps of a perturbation, by value."""
        return tuple(one for one in self.found.steps if one.step.perturbation is perturbation)

    def noticed(self, perturbation: Perturbation) -> tuple[StepFigures, ...]:
        """Return, in each direction, the first step at which AUC has dropped by ``NOTICED``."""
        mine = self.of(perturbation)
        sides = [
            [one for one in reversed(mine) if (one.step.value or 0) < perturbation.unchanged],
            [one for one in mine if (one.step.value or 0) > perturbation.unchanged],
        ]
        past = [
            next((one for one in side if one.drops["auc"].value >= NOTICED), None) for side in sides
        ]
        return tuple(one for one in past if one is not None)

    def worst(self, perturbation: Perturbation) -> StepFigures:
        """Return the step of a perturbation at which AUC falls most (weighted F1 without AUC)."""
        return max(self.of(perturbation), key=lambda one: one.drops[self.judged].value)

    @property
    def judged(self) -> str:
        """The figure that says what costs most: ``auc``, or ``weighted_f1`` of one class alone."""
        return "auc" if not np.isnan(self.unchanged.values["auc"]) else "weighted_f1"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in words."""
        dearest = self._dearest(self.judged)
        name = "AUC" if self.judged == "auc" else "weighted F1"
        fall = self._fallen(dearest, self.judged)
        said = [f"{self.model}: {_step(dearest)} costs most: {name} falls by {fall}."]
        if self.judged == "auc":
            called = self._dearest("weighted_f1")
            fall = self._fallen(called, "weighted_f1")
            if called.drops["weighted_f1"].value > 0:
                said.append(f"Weighted F1 falls most at {_step(called)}: by {fall}.")
            said.append(self._noticed())
        if self.outsiders is not None:
            said.append(_flags(self.outsiders))
        return (*said, f"{self.cells:,} cells. {self.overlap}")

    def _dearest(self, name: str) -> StepFigures:
        return max(self.found.steps[1:], key=lambda one: one.drops[name].value)

    def _fallen(self, one: StepFigures, name: str) -> str:
        before, after = (figure(at.values[name], 3) for at in (self.unchanged, one))
        return f"{told(one.drops[name], 3)}, from {before} to {after}"

    def _noticed(self) -> str:
        passed, never = [], []
        for one in PERTURBATIONS:
            where = [one.told(at.step.value or 0) for at in self.noticed(one)]
            if where:
                passed.append(f"{one.shown} ({listed(where)})")
            else:
                never.append(one.shown)
        said = [f"A drop of {NOTICED:.2f} in AUC is first passed at {listed(passed)}"] * bool(
            passed
        )
        if never:
            start = (
                "; not at all by" if passed else f"A drop of {NOTICED:.2f} in AUC is not passed by"
            )
            said.append(f"{start} {listed(never)}")
        return f"{''.join(said)}."


def _step(one: StepFigures) -> str:
    step = one.step
    assert step.perturbation is not None
    assert step.value is not None
    return f"{step.perturbation.shown} ({step.perturbation.told(step.value)})"


def _flags(found: OodCheck) -> str:
    shares = [f"{NAMES[label]} {_percent(share, 1)}" for label, share in found.by_class.items()]
    said = f"{_percent(found.flagged, 1)} of the cells are flagged as out-of-distribution"
    said += f" ({', '.join(shares)})"
    if found.worst is not None and found.worst[1] > 0:
        subject, share, cells = found.worst
        said += f", at worst {_percent(share, 1)} of the {cells:,} of subject {subject}"
    kinds = [f"{kind.kind} {_percent(kind.flagged, 0)}" for kind in found.kinds]
    return f"{said}; of what is no cell: {', '.join(kinds)}."


def _percent(share: float, digits: int) -> str:
    return figure(share, digits, percent=True)


def summarise(parts: PartialStressTest) -> tuple[ModelRobustness, ...]:
    """Compute every model's figures from what was predicted."""
    return tuple(_sum_up(parts, k, model) for k, model in enumerate(parts.models))


def _sum_up(parts: PartialStressTest, k: int, model: TestedModel) -> ModelRobustness:
    cells, taken = model.cells, tuple(steps())
    frames = [parts.of_step(k, step) for step in taken]
    p_all, ood = (
        np.column_stack([frame[name].cast(pl.Float64).to_numpy() for frame in frames])
        for name in ("p_all", "ood_score")
    )
    is_all = (cells["label"] == ALL).to_numpy()
    found = measure(is_all, cells["subject"].to_list(), taken, p_all, ood)
    beside = cells.select("subject", "label").with_columns(frames[0]["ood_score"])
    outsiders = judge(beside, parts.of_strangers(k))
    return ModelRobustness(model.name, cells.height, model.overlap, found, outsiders)


def as_json(models: tuple[ModelRobustness, ...]) -> list[dict[str, Any]]:
    """Return the models for ``stress.json``; None for what is undefined."""
    content = []
    for one in models:
        outsiders = None if one.outsiders is None else asdict(one.outsiders)
        costs = {
            way.name: {
                "worst": one.worst(way).step.value,
                "auc_drop": asdict(one.worst(way).drops["auc"]),
                "weighted_f1_drop": asdict(one.worst(way).drops["weighted_f1"]),
                "noticed": [at.step.value for at in one.noticed(way)],
            }
            for way in PERTURBATIONS
        }
        content.append(
            {
                "model": one.model,
                "cells": one.cells,
                "sentences": list(one.sentences),
                "resampling": one.found.sentence,
                "costs": costs,
                "out_of_distribution": outsiders,
            }
        )
    clean: list[dict[str, Any]] = without_nan(content)
    return clean
