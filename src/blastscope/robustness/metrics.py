"""Compute the metrics of a model at every step of a stress test, and how much they fall."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluation.bootstrap import SamplingUnits, resampling
from blastscope.evaluation.confidence_intervals import Estimate, draw
from blastscope.evaluation.metrics import THRESHOLD
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.tables import TableFormat
from blastscope.robustness.perturbations import Step

_TEXT, _NUMBER = pl.String(), pl.Float64()
STRESS = TableFormat(
    "stress",
    2,
    {
        "model": _TEXT, "perturbation": _TEXT, "strength": pl.Int32(), "value": _NUMBER,
        "unit": _TEXT, "cells": pl.Int64(),
        **{f"{name}{end}": _NUMBER for name in ("weighted_f1", "auc")
           for end in ("", "_drop", "_drop_low", "_drop_high")},
        "sensitivity": _NUMBER, "specificity": _NUMBER, "mean_change": _NUMBER,
        "calls_changed": _NUMBER, "out_of_distribution": _NUMBER,
    },
)  # fmt: skip
"""``mean_change`` is the mean of |p - p unchanged|; the last three are shares of the cells."""
_SEED = 24


@dataclass(frozen=True)
class StepMetrics:
    """A model at one step."""

    step: Step  # the perturbation
    values: dict[str, float]  # by metric (``weighted_f1, auc, recall_all, recall_hem``)
    # Of weighted F1 and AUC: unchanged minus perturbed; the interval is paired.
    drops: dict[str, Estimate]
    mean_change: float  # mean of the absolute change of p(ALL)
    calls_changed: float  # share of calls that change
    out_of_distribution: float  # share of cells that are flagged as OOD; NaN if that is not known


@dataclass(frozen=True)
class StepDraws:
    """All steps of a model, and what its intervals were drawn from."""

    steps: tuple[StepMetrics, ...]
    sampling: SamplingUnits


def measure(
    is_all: NDArray[np.bool_],
    subjects: list[str | None],
    taken: tuple[Step, ...],
    p_all: NDArray[np.float64],
    ood: NDArray[np.float64],
    resamples: int = 2000,
) -> StepDraws:
    """Compute the metrics of each step, and the drops with their intervals.

    The truth ``is_all`` and the subjects are of each cell; ``p_all`` and the OOD scores, NaN if not
    known, are of shape (cells, steps). The first step changes nothing. Subjects are drawn
    ``resamples`` times, the same ones at every step.
    """
    draws = resampling(is_all, subjects, resamples, _SEED)
    names = ("weighted_f1", "auc")
    columns = [METRICS.index(name) for name in names]
    drawn = draw(WeightedMetrics(is_all, p_all).of, draws)
    # The first step minus each step, over the last but one axis.
    fall = drawn.of(lambda found: np.asarray(found[..., :1, columns] - found[..., columns]))
    drops = fall.estimates()  # step by step, within a step name by name
    called = p_all > THRESHOLD
    found = []
    for k, step in enumerate(taken):
        far = ood[:, k]
        one = StepMetrics(
            step=step,
            values={name: float(drawn.value[0, k, at]) for at, name in enumerate(METRICS)},
            drops=dict(zip(names, drops[k * len(names) :], strict=False)),
            mean_change=float(np.abs(p_all[:, k] - p_all[:, 0]).mean()),
            calls_changed=float((called[:, k] != called[:, 0]).mean()),
            out_of_distribution=math.nan if np.isnan(far).any() else float((far > 1).mean()),
        )
        found.append(one)
    return StepDraws(tuple(found), draws.sampling)


def table(model: str, cells: int, found: StepDraws) -> pl.DataFrame:
    """Return a model's rows of ``stress.parquet``; null for what is undefined."""
    rows = []
    for one in found.steps:
        row: dict[str, object] = {
            "model": model,
            "perturbation": one.step.name,
            "strength": one.step.strength,
            "value": one.step.value,
            "unit": one.step.perturbation.unit if one.step.perturbation else None,
            "cells": cells,
            "sensitivity": one.values["recall_all"],
            "specificity": one.values["recall_hem"],
            "mean_change": one.mean_change,
            "calls_changed": one.calls_changed,
            "out_of_distribution": one.out_of_distribution,
        }
        for name, drop in one.drops.items():
            row |= {
                name: one.values[name],
                f"{name}_drop": drop.value,
                f"{name}_drop_low": drop.low,
                f"{name}_drop_high": drop.high,
            }
        rows.append(row)
    return pl.DataFrame(rows, schema=dict(STRESS.columns)).fill_nan(None)
