"""The cells on which an exported network is checked: of a store, or images prepared for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from blastscope.bundle.network import BundledNetwork
from blastscope.data.names import ALL
from blastscope.data.preparation import prepare
from blastscope.data.store import INFO, Store, open_store
from blastscope.errors import BlastscopeError
from blastscope.training.class_balance import Rows
from blastscope.training.finished_run import FinishedRun, refuse_other_preparation

SAMPLE = 256
"""How many cells show whether engines agree, and what range a layer's outputs have."""
Progress = Callable[[int, int], None]


@contextmanager
def cells_for(run: FinishedRun, path: Path, on_progress: Progress | None = None) -> Iterator[Store]:
    """Open the cells of a store or a folder of images, prepared as a run's training cells were.

    Yields a store with at least one cell; images are prepared in a temporary folder.

    Raises:
        BlastscopeError: if the store is prepared by other settings, or no image can be used.
    """
    if (path / INFO).is_file():
        store = open_store(path)
        refuse_other_preparation(run, store)
        if not len(store):
            raise BlastscopeError(f"{path} has no cells: give a store with cells.")
        yield store
        return
    with TemporaryDirectory(prefix="blastscope-") as folder:
        made = Path(folder) / "store"
        prepare([path], made, run.settings, skip_bad=True, on_progress=on_progress)
        yield open_store(made)


def sample(rows: Rows) -> Rows:
    """Return at most ``SAMPLE`` of ``rows``, evenly spread."""
    chosen = np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows)))
    return rows[chosen.astype(np.int64)]


def parts_for_int8(run: FinishedRun, store: Store) -> tuple[Rows, Rows, np.ndarray[Any, Any]]:
    """Choose the cells that set the ranges of int8 and those that show what it costs.

    Ranges come from cells that the run was trained on, if the store has any, and the cost from
    labelled cells that it was neither trained nor chosen on. If the store has no training cell,
    every fourth cell sets the ranges. A bundle does not name its training cells, so all cells of
    another store than its own count as unseen (see ``training_known``). Returns rows that set
    ranges, other rows that are labelled, and whether each of these is ALL.

    Raises:
        BlastscopeError: if either would be none, or the store is the one that a bundle was made
            from.
    """
    _refuse_own_store(run, store)
    parts = run.recorded("part")
    of_cells = pl.Series([parts.get(cell, "") for cell in store.cells["cell"]], dtype=pl.String())
    cells = store.cells.with_row_index("row").with_columns(part=of_cells)
    seen = cells.filter(pl.col("part") == "train")
    ranges = _rows(seen) if seen.height else _rows(cells)[::4]
    rest = cells.filter(
        pl.col("label").is_not_null()
        & ~pl.col("part").is_in(["train", "validation"])
        & ~pl.col("row").is_in(ranges)
    )
    if rest.is_empty():
        raise BlastscopeError(
            f"{store.path} has no labelled cells that {run.path} was not trained on: give --cells "
            "with labelled cells of other subjects, to measure what int8 costs."
        )
    return sample(ranges), _rows(rest), (rest["label"] == ALL).to_numpy()


def training_known(run: FinishedRun) -> bool:
    """Return whether a network records which cells it was trained on; a bundle does not."""
    return bool(run.recorded("part"))


def _refuse_own_store(run: FinishedRun, store: Store) -> None:
    """Refuse the cells of a bundle's training: most would show int8 on known cells."""
    if not isinstance(run, BundledNetwork) or training_known(run):
        return
    network = run.manifest.network
    if network is not None and network.data.store == store.fingerprint:
        raise BlastscopeError(
            f"{run.path} was trained on cells of this store and does not say on which: give the "
            "run instead of the bundle, or --cells with other cells, to measure what int8 costs."
        )


def _rows(cells: pl.DataFrame) -> Rows:
    return cells["row"].to_numpy().astype(np.int64)
