"""Prepare the cells of a study: one store per preparation, one split per protocol and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blastscope.data.images import read_image
from blastscope.data.layouts import list_cells
from blastscope.data.names import ALL, HEM
from blastscope.data.preparation import prepare
from blastscope.data.split_table import describe, read_split
from blastscope.data.splits import make_split, refuse_overlap
from blastscope.data.store import INFO, Store, StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.report.preparation_plots import example_cell, preparation_figures
from blastscope.reproduction.plan import FIRST_SEED, Job
from blastscope.reproduction.results import DataSection
from blastscope.reproduction.study_folder import study_folder, whole_stores
from blastscope.training.class_balance import balanced


def prepare_cells(
    data: Path, out: Path, jobs: Sequence[Job], on_progress: Callable[[int, int], None] | None
) -> None:
    """Make the stores and splits that ``jobs`` need, if they are not there.

    Raises:
        BlastscopeError: if the data cannot be used or split, or ``out`` is another kind of folder
            or a study of other cells.
    """
    study_folder(data, out).open_or_resume()
    for path, settings in {job.store(out): job.settings for job in jobs}.items():
        _prepare_store(data, path, settings, on_progress)
    for job in jobs:
        # The split follows from the names of the cells, which are the same in every store.
        if not job.split(out).is_file():
            make_split(job.store(out), job.protocol, job.seed, out=job.split(out))
    for split, store in {job.split(out): job.store(out) for job in jobs}.items():
        refuse_overlap(describe(read_split(split), open_store(store).cells))


def _prepare_store(
    data: Path,
    path: Path,
    settings: StoreSettings,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    if (path / INFO).is_file():
        try:
            open_store(path)
        except BlastscopeError as error:
            raise BlastscopeError(
                f"{path} is damaged: remove it, and give the same command again."
            ) from error
    prepare([data], path, settings, on_progress=on_progress)


def data_section(
    data: Path, out: Path, protocols: Sequence[str], jobs: Sequence[Job] = ()
) -> tuple[DataSection, bool]:
    """Describe the cells of a study for its report, and whether they are synthetic.

    Args:
        data: the source images, for the paper's Figures 1 to 3.
        out: the study's folder, with at least one store.
        protocols: those whose first split is described, if it is there.
        jobs: the plan; its first store is described, or any whole one.

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
