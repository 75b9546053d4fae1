"""Measure baselines: what always-ALL, the size of a cell and its colours reach."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.result import AnyPath, Result, TextTable, without_place
from blastscope.evaluation.baselines import BASELINE_METRICS, Baselines, baselines
from blastscope.evaluation.cell_measurements import measure_cells
from blastscope.evaluation.controls import KERNELS, PENALTY, RANDOM_WEIGHTS, SIDE, add_controls
from blastscope.report.crossval_page import cut_text
from blastscope.report.data_text import together_text
from blastscope.report.text import DASH, number, spread

_SHUFFLED = ", shuffled subjects"


@dataclass(frozen=True, eq=False, repr=False)
class BaselinesResult(Result, Baselines):
    """The baselines of a data set, on the cells that they were fitted on and on unseen subjects."""

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each baseline and metric."""
        rows = [
            {
                "baseline": one.name,
                "metric": key,
                "in_sample": one.in_sample[key],
                "unseen_mean": found.mean if (found := one.folds.get(key)) else None,
                "unseen_deviation": found.deviation if found else None,
            }
            for one in self.baselines
            for key in BASELINE_METRICS
        ]
        rows += [
            {
                "baseline": f"{one.baseline}{_SHUFFLED}",
                "metric": "auc",
                "in_sample": None,
                "unseen_mean": one.auc.mean,
                "unseen_deviation": one.auc.deviation,
            }
            for one in self.by_chance
        ]
        return pl.DataFrame(rows)

    def as_json(self) -> dict[str, Any]:
        """Return the metrics of every baseline."""
        return without_place(Baselines.as_json(self))

    def tables(self) -> list[TextTable]:
        """Return the metrics of every baseline."""
        rows = []
        for one in self.baselines:
            name = one.name
            if one.threshold is not None:
                name = f"{name}, ALL from {one.threshold:g} px"
            rows.append(
                (
                    name,
                    "the same cells",
                    *(number(one.in_sample[key], 3) for key in BASELINE_METRICS),
                )
            )
            over = (spread(one.folds.get(key), 3) for key in BASELINE_METRICS)
            rows.append(("", "unseen subjects", *over))
        for chance in self.by_chance:
            name = f"{chance.baseline}{_SHUFFLED}"
            rows.append((name, f"{chance.draws} draws", DASH, spread(chance.auc, 3), DASH, DASH))
        columns = ("baseline", "judged on", "weighted F1", "AUC", "sensitivity", "specificity")
        return [TextTable.of(columns, rows)]

    def answers(self) -> list[str]:
        """Say how many cells and subjects they are of."""
        synthetic = " synthetic" if self.synthetic else ""
        return [f"{self.cells:,}{synthetic} cells of {self.subjects} subjects"]

    def notes(self) -> list[str]:
        """Say how unseen subjects were tested."""
        said = [
            f"Unseen subjects: mean ± standard deviation over the folds of {self.cuts} cuts. "
            f"{cut_text(self.cut)[0]}"
        ]
        if self.cut.kept_together:
            said.append(together_text(self.cut.kept_together))
        if any(one.name == RANDOM_WEIGHTS for one in self.baselines):
            said.append(
                f"Random weights: {KERNELS} random convolutions of the cell at {SIDE} pixels, "
                "never trained, under a logistic regression with a penalty "
                f"{PENALTY:g} times that of size and colour."
            )
        return said + [
            f"By chance, that is with labels exchanged between subjects, the AUC of "
            f"{one.baseline} on unseen subjects is {spread(one.auc, 3)} and exceeds "
            f"{number(one.percentile_95, 3)} in 5 of 100 draws (95th percentile of {one.draws})."
            for one in self.by_chance
        ]


def measure_baselines(
    source: AnyPath,
    *,
    folds: int = 5,
    cuts: int = 5,
    seed: int = 24,
    controls: bool = False,
) -> BaselinesResult:
    """Measure what always-ALL, the size of a cell and its colours reach, without a network.

    Args:
        source: a store, a cell table, or a CSV ``file,width,height`` of C-NMC names and boxes.
        folds: how many folds by subject.
        cuts: how many times to cut them.
        seed: of the first cut.
        controls: add what random weights reach (of a store), and what AUC reaches by chance, with
            labels exchanged between subjects. It takes minutes.

    Returns:
        The metrics of each baseline, on the same cells and on unseen subjects.

    Raises:
        BlastscopeError: if the cells cannot be read, or cut by subject.
    """
    measured = measure_cells(Path(source))
    found = baselines(measured, folds, cuts, seed)
    if controls:
        found = add_controls(found, measured, folds, cuts, seed)
    return BaselinesResult.of(found)
