"""Sum up a stress test: what each perturbation costs a model, and what its OOD flag is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from blastscope.data.names import ALL, HEM
from blastscope.evaluation.overlap import Overlap
from blastscope.io.files import without_nan
from blastscope.robustness.counterfactual_size import SizeStep, size_curve
from blastscope.robustness.metrics import StepDraws, StepMetrics, measure
from blastscope.robustness.perturbations import NON_CELLS, PERTURBATIONS, Perturbation, steps

if TYPE_CHECKING:
    from blastscope.robustness.models import TestedModel
    from blastscope.robustness.step_predictions import PartialStressTest

NOTICED = 0.02
"""The smallest drop in AUC that counts as a cost."""


@dataclass(frozen=True)
class Kind:
    """One kind of images that are not cells."""

    kind: str  # what they are
    images: int  # how many, over all networks of the model
    auroc: float  # how well the OOD score tells them from cells: 1 perfectly, .5 not at all
    flagged: float  # share of them that is flagged


@dataclass(frozen=True)
class OodCheck:
    """The shares of images that a model flags as out-of-distribution."""

    flagged: float  # share of the cells that are flagged, though they are cells
    by_class: dict[str, float]  # the same for each class
    # The subject with the highest share, its share and its number of cells; None if no cell names
    # its subject.
    worst: tuple[str, float, int] | None
    kinds: tuple[Kind, ...]  # images that are not cells


def judge_ood(cells: pl.DataFrame, non_cells: pl.DataFrame) -> OodCheck | None:
    """Judge the OOD flag of one model; None if the scores are not known.

    ``cells`` are ``subject, label, ood_score`` of the unchanged cells, ``non_cells`` are ``cell``
    (the kind) and ``ood_score``.
    """
    from sklearn.metrics import roc_auc_score

    if cells["ood_score"].null_count() or non_cells["ood_score"].null_count():
        return None
    known = cells["ood_score"].to_numpy()
    kinds = []
    for (kind,), rows in non_cells.group_by("cell", maintain_order=True):
        far = rows["ood_score"].to_numpy()
        truth = np.repeat([0, 1], [len(known), len(far)])
        auroc = float(roc_auc_score(truth, np.concatenate([known, far])))
        kinds.append(Kind(str(kind), len(far), auroc, float((far > 1).mean())))
    flag = pl.col("ood_score") > 1
    shares = dict(cells.group_by("label").agg(flag.mean()).iter_rows())
    by_subject = (
        cells.filter(pl.col("subject").is_not_null())
        .group_by("subject")
        .agg(flag.mean().alias("share"), pl.len())
        .sort("share", "subject", descending=[True, False])
    )
    worst = by_subject.row(0) if by_subject.height else None
    by_class = {label: float(shares[label]) for label in (ALL, HEM) if label in shares}
    return OodCheck(float((known > 1).mean()), by_class, worst, tuple(kinds))


@dataclass(frozen=True)
class ModelRobustness:
    """One model."""

    model: str  # its name
    cells: int  # how many were perturbed
    overlap: Overlap  # whether their subjects are in its training
    found: StepDraws  # its metrics at every step
    ood: OodCheck | None  # its out-of-distribution flag; None if it has none
    size: tuple[SizeStep, ...] = ()  # its metrics on cells of other sizes; empty if it sees no size

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
    frames = [parts.table(k, step.key) for step in taken]
    p_all, scores = (
        np.column_stack([frame[name].cast(pl.Float64).to_numpy() for frame in frames])
        for name in ("p_all", "ood_score")
    )
    is_all = (cells["label"] == ALL).to_numpy()
    found = measure(is_all, cells["subject"].to_list(), taken, p_all, scores)
    size: tuple[SizeStep, ...] = ()
    if parts.store.settings.scale == "keep":
        network = np.repeat(
            np.arange(len(model.members)), [one.cells.height for one in model.members]
        )
        subjects = cells["subject"].fill_null("").to_numpy().astype(np.str_)
        size = size_curve(is_all, subjects, network, taken, p_all)
    beside = cells.select("subject", "label").with_columns(frames[0]["ood_score"])
    ood = judge_ood(beside, parts.table(k, NON_CELLS))
    return ModelRobustness(model.name, cells.height, model.overlap, found, ood, size)


def as_json(
    models: tuple[ModelRobustness, ...], tested: tuple[TestedModel, ...]
) -> list[dict[str, Any]]:
    """Return the models, of which ``tested`` are the networks, for ``stress.json``.

    What is undefined is None.
    """
    content = []
    for one, of in zip(models, tested, strict=True):
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
                "settings": of.settings,
                "protocol": of.protocol,
                "cells": one.cells,
                "sampling": asdict(one.found.sampling),
                "judged": one.judged,
                "most_costly": {"perturbation": dearest.name, "value": dearest.value},
                "costs": costs,
                "size": [asdict(step) for step in one.size],
                "out_of_distribution": None if one.ood is None else asdict(one.ood),
            }
        )
    clean: list[dict[str, Any]] = without_nan(content)
    return clean
