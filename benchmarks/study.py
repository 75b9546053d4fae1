"""A study of the paper's experiments by image, against the same without what is kept.

Every experiment is run one after the other, each fine-tuning from what it starts from, for as many
epochs each. Rival: the same code, the frozen part of each network computed anew in every epoch.
Of the experiments asked for both are measured; for the paper's whole table, and its own cells and
epochs, operations are counted (forward, and twice that backward where there is training).

    python benchmarks/study.py [--data DIR] [--weights-dir DIR] [--only 'paper/mobilenetv2-*']
        [--cells 150] [--epochs 8]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from common import arguments, link_cells, machine, some_cells, table

from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.parallel import cores
from blastscope.process import tune_process
from blastscope.reproduction.estimate import USUAL_EPOCHS, CellCost, cost_of, structure_of
from blastscope.reproduction.plan import StudyJob, make_plan
from blastscope.reproduction.study import cells_by_part
from blastscope.training.train import train

PAPERS = 10661  # cells


def main() -> None:
    parser = arguments(__doc__, 150)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--only", default="paper/mobilenetv2-*")
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    tune_process()
    given = [f"training.epochs={asked.epochs}", f"training.patience={asked.epochs}"]
    given += ["training.precision=32", *([] if asked.weights_dir else ["model.weights=none"])]
    jobs = make_plan(asked.only, ("image",), 1, given).jobs
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen = some_cells(asked.data, asked.cells, place)
        cells = link_cells(chosen, len(chosen), place / "cells")
        taken = {kept: _run(jobs, cells, place / str(kept), asked, kept) for kept in (True, False)}
        off = max(_difference(job, place) for job in jobs)
    once, every = taken[True], taken[False]
    rows = [
        [
            f"{len(jobs)} of `{asked.only}`, {len(chosen)} cells, {asked.epochs} epochs: measured",
            f"{every:.0f} s",
            f"{once:.0f} s",
            f"{every / once:.2f}×",
            f"{off:.0e}",
        ],
        *_counted(),
    ]
    print(machine("torch", "timm"))
    table(
        f"A study by image, {cores()} cores",
        ["", "computed anew", "kept", "ratio", "max Δp"],
        rows,
        f"counted: {PAPERS:,} cells, {USUAL_EPOCHS} epochs or the recipe's limit (P: 10¹⁵)",
    )


def _run(jobs: tuple[StudyJob, ...], cells: Path, out: Path, asked, kept: bool) -> float:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Prepare, split and train all of them; return the seconds."""
    began = time.perf_counter()
    for store, settings in {job.store(out): job.settings for job in jobs}.items():
        prepare([cells], store, settings)
        make_split(store, "image", jobs[0].seed, out=jobs[0].split(out))
    for job in jobs:
        train(
            job.recipe,
            job.store(out),
            job.split(out),
            job.run(out),
            weights_dir=asked.weights_dir,
            start=job.beginning(out),
            keep_features=kept,
        )
    return time.perf_counter() - began


def _difference(job: StudyJob, place: Path) -> float:
    tables = (job.run(place / kept) / "predictions.parquet" for kept in ("True", "False"))
    kept, anew = (pl.read_parquet(table).sort("cell")["p_all"].to_numpy() for table in tables)
    return float(np.abs(kept - anew).max())


def _counted() -> list[list[str]]:
    """Count the operations of the paper's whole table, family by family, in units of the least."""
    jobs = make_plan("paper/*", ("image",), 1, ("model.weights=none",)).jobs
    costs: dict[str, CellCost] = {}
    speeds = {(job.recipe.model.backbone, job.recipe.input.size): 1e-12 for job in jobs}
    sums: dict[str, np.ndarray] = {}
    known = set()
    for job in jobs:
        structure = structure_of(job.recipe)
        if structure not in costs:
            costs[structure] = cost_of(job.recipe, torch.device("cpu"), speeds)
        cost = costs[structure]
        shared = (cost.boundary, job.recipe.input)
        family = f"`{job.recipe.name.partition('-')[0]}-*`: counted"
        both = _work_of(job, cost, computed=shared in known)
        known.add(shared)
        for name in (family, "**the whole table: counted**"):
            sums[name] = sums.get(name, np.zeros(2)) + both
    total = "**the whole table: counted**"
    order = [*(name for name in sums if name != total), total]
    return [
        [name, *(f"{value / 1e3:,.1f} P" for value in sums[name]), _ratio(sums[name]), ""]
        for name in order
    ]


def _ratio(both: np.ndarray) -> str:
    return f"{both[0] / both[1]:.2f}×"


def _work_of(job: StudyJob, cost: CellCost, *, computed: bool) -> np.ndarray:
    """Return tera-operations: all anew in every epoch, and with what is kept."""
    part = cells_by_part(PAPERS)
    epochs = min(job.recipe.training.epochs, USUAL_EPOCHS)
    trained = cost.trained * (epochs * (3 * part["train"] + part["validation"]) + PAPERS)
    anew = cost.frozen * (epochs * (part["train"] + part["validation"]) + PAPERS)
    return np.array([trained + anew, trained + (0 if computed else cost.frozen * PAPERS)])


if __name__ == "__main__":
    main()
