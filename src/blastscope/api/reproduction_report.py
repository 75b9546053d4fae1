"""Write the report of a reproduction: its results so far, and the cells behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blastscope.data.images import read_image
from blastscope.data.layouts import list_cells
from blastscope.data.names import ALL, HEM
from blastscope.data.split_table import describe, read_split
from blastscope.data.store import Store
from blastscope.errors import BlastscopeError
from blastscope.experiments.runner import Failure
from blastscope.io.files import write_text
from blastscope.io.workfolder import refuse_foreign
from blastscope.report.preparation_plots import example_cell, preparation_figures
from blastscope.report.reproduction_page import results_markdown, write_reproduction
from blastscope.report.text import protocol_name, spread
from blastscope.reproduction.outcomes import outcomes
from blastscope.reproduction.plan import FIRST_SEED, PROTOCOLS, StudyJob, StudyPlan
from blastscope.reproduction.results import DataSection, read_experiments
from blastscope.reproduction.study import ReproductionRequest, plan_of
from blastscope.reproduction.study_folder import MARKER, whole_stores
from blastscope.training.class_balance import balanced


def report(
    request: ReproductionRequest, plan: StudyPlan, failures: Mapping[Any, Failure] | None = None
) -> Path:
    """Write ``report.html`` and ``results.md`` of the results so far; return the page."""
    out = request.location.out
    refuse_foreign(out, MARKER)
    # The page says of every experiment whether it can be run here, also if it was not requested:
    # then with the settings of the package, because those of this call may not fit it.
    whole = plan_of(replace(request, only=None, protocols=PROTOCOLS, overrides=()))
    planned = {job.key for job in plan.jobs}
    packaged = {key: why for key, why in whole.left_out.items() if key not in planned}
    failed = {key: str(failure) for key, failure in (failures or {}).items()}
    reasons = {**packaged, **plan.left_out, **failed}
    found = outcomes(out, plan, request.overrides, reasons)
    data, synthetic = data_section(request.data, out, PROTOCOLS, plan.jobs)
    write_reproduction(found, data, out, synthetic=synthetic, command=request.command)
    write_text(out / "results.md", results_markdown(found))
    return out / "report.html"


def over_seeds(request: ReproductionRequest, plan: StudyPlan) -> list[tuple[str, str, str, str]]:
    """Return experiment, split, weighted F1 and AUC: mean ± standard deviation over the seeds.

    Each seed is a split and a training of its own.
    """
    return [
        (
            experiment.recipe.name,
            protocol_name(protocol),
            spread(experiment.over_seeds(protocol, "weighted_f1"), count=True),
            spread(experiment.over_seeds(protocol, "auc"), count=True),
        )
        for experiment in read_experiments(outcomes(request.location.out, plan, request.overrides))
        for protocol, results in experiment.results.items()
        if len(results) > 1
    ]


def data_section(
    data: Path, out: Path, protocols: Sequence[str], jobs: Sequence[StudyJob] = ()
) -> tuple[DataSection, bool]:
    """Describe the cells of a study for its report, and whether they are synthetic.

    The source images in ``data`` are for the paper's Figures 1 to 3. The first split of each
    protocol is described, if it is there, and the first store of the jobs, or any whole one.

    Raises:
        BlastscopeError: if there is no store, or the data or a split cannot be read.
    """
    planned = {job.store(out) for job in jobs}
    stores = sorted(whole_stores(out), key=lambda store: store.path not in planned)
    if not stores:
        raise BlastscopeError(f"{out} has no store: run blastscope reproduce --out {out} first.")
    store = stores[0]
    splits = [out / "splits" / f"{protocol}-seed{FIRST_SEED}.parquet" for protocol in protocols]
    there = [path for path in splits if path.is_file()]
    reports = [describe(read_split(path), store.cells) for path in there]
    shown = example_cell(list_cells([data]))
    figures = preparation_figures(read_image(shown.path).pixels, shown.cell)
    pairs = zip(reports, there, strict=True)
    counts = [(report.protocol, *_balance(store, path)) for report, path in pairs]
    return DataSection(reports, counts, figures, _facts(store)), store.synthetic


def _balance(store: Store, split: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Count the classes of the training part before and after the paper's class balancing."""
    table = read_split(split).table
    cells = store.cells.with_row_index("row").join(table, on="cell", how="inner").sort("row")
    training = cells.filter(cells["part"] == "train")
    is_all = (store.cells["label"].fill_null("") == ALL).to_numpy()
    rows = training["row"].to_numpy().astype("int64")
    after = is_all[balanced(rows, is_all[rows], "paper", FIRST_SEED).rows]
    return _counts(is_all[rows]), _counts(after)


def _counts(is_all: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, int]:
    return {ALL: int(is_all.sum()), HEM: int((~is_all).sum())}


def _facts(store: Store) -> list[tuple[str, str]]:
    cells = store.cells
    facts = []
    for label, name in ((ALL, "ALL"), (HEM, "Normal")):
        own = cells.filter(cells["label"] == label)
        facts.append((name, f"{own.height:,} cells, {own['subject'].n_unique()} subjects"))
    return [("Cells", f"{cells.height:,}"), *facts]
