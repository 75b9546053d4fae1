"""The models under a stress test: runs and cross-validations, each network on unseen cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from blastscope.data.contradictions import refuse_contradictions
from blastscope.data.store import Store
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.aligned_predictions import name_and_path
from blastscope.evaluation.overlap import Overlap, part_overlap
from blastscope.experiments.crossval_folder import FORMAT
from blastscope.io.files import read_json
from blastscope.io.predictions import (
    SYNTHETIC_MARK,
    marked,
    read_predictions,
    refuse_pseudo_labels,
)
from blastscope.training.class_balance import Rows
from blastscope.training.finished_run import FinishedRun, open_run, refuse_other_preparation
from blastscope.training.run_folder import RunFolder

_CROSSVAL = "crossval.json"


@dataclass(frozen=True)
class TestedNetwork:
    """A network, and the cells that it is tested on."""

    run: FinishedRun  # the network's run
    # ``cell, subject, label``, ``p_all`` as the run recorded it, and ``row`` in the store; labelled
    # cells only.
    cells: pl.DataFrame

    @property
    def rows(self) -> Rows:
        """The cells' rows in the store."""
        return self.cells["row"].to_numpy().astype(np.int64)


@dataclass(frozen=True)
class TestedModel:
    """A model."""

    name: str  # what it is called
    # The networks, one for a run, one a fold for a cross-validation.
    members: tuple[TestedNetwork, ...]
    overlap: Overlap  # whether the cells' subjects are in their training
    protocol: str  # of the split that chose the cells

    @property
    def cells(self) -> pl.DataFrame:
        """The cells of all members, one after the other."""
        return pl.concat([member.cells for member in self.members])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the recipe that trained them, without the seed."""
        return self.members[0].run.recipe.settings

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on synthetic cells."""
        return any(member.run.synthetic for member in self.members)


def open_tested(folders: Sequence[str | Path], store: Store, part: str) -> tuple[TestedModel, ...]:
    """Open folders of runs or cross-validations; ``NAME=PATH`` gives one another name.

    ``part`` is one of a run's own split. Each fold of a cross-validation is tested on its own test
    cells; of several repeats the first counts.

    Raises:
        BlastscopeError: if a folder is neither, or unfinished or stale; the store's cells are
            prepared differently from the networks', or some are missing; or two models share a
            name.
    """
    models: list[TestedModel] = []
    for text in folders:
        name, path = name_and_path(text)
        opened = _open(path, store, part)
        shown = marked(name or opened.name, opened.name.endswith(SYNTHETIC_MARK))
        if shown in {model.name for model in models}:
            raise BlastscopeError(
                f"Two models are called '{shown}': name them apart, A={path} and so on."
            )
        models.append(replace(opened, name=shown))
    return tuple(models)


def _open(path: Path, store: Store, part: str) -> TestedModel:
    if not (path / _CROSSVAL).is_file():
        run = open_run(path)
        table, about = read_predictions(RunFolder(path).predictions)
        refuse_pseudo_labels(about, path)
        overlap = part_overlap(table, part, about)
        protocol = str(about.get("protocol") or "unknown")
        members = (_member(run, table, store, part),)
        return TestedModel(str(table["model"][0]), members, overlap, protocol)
    if part != "test":
        raise BlastscopeError(
            f"{path} is a cross-validation, whose cells are all test cells: leave --part out."
        )
    content = read_json(path / _CROSSVAL)
    if content.get("format") != FORMAT or not content.get("folds"):
        raise BlastscopeError(
            f"{path} is an unfinished cross-validation: give its crossval command again, which "
            "goes on."
        )
    name, by = str(content["recipe"]), str(content["identity"]["by"])
    folds: list[TestedNetwork] = []
    for fold in content["folds"]:
        if fold["repeat"] != 1:
            continue
        folder = path / "runs" / f"repeat1-fold{fold['fold']}" / Path(name).name
        table, _ = read_predictions(RunFolder(folder).predictions)
        folds.append(_member(open_run(folder), table, store, part))
    overlap = part_overlap(pl.DataFrame(), part, {"out_of_fold": by})
    return TestedModel(marked(name, store.synthetic), tuple(folds), overlap, by)


def _member(run: FinishedRun, table: pl.DataFrame, store: Store, part: str) -> TestedNetwork:
    refuse_other_preparation(run, store)
    wanted_cells = table.filter((pl.col("part") == part) & pl.col("label").is_not_null())
    if wanted_cells.is_empty():
        raise BlastscopeError(
            f"{run.path} has no labelled {part} cells, only "
            f"{listing(table['part'].unique().sort().to_list())} cells: choose with --part."
        )
    known = store.cells.with_row_index("row").select("cell", "row")
    placed = wanted_cells.join(known, on="cell", how="inner", maintain_order="left")
    absent = wanted_cells.height - placed.height
    if absent:
        raise BlastscopeError(
            f"{store.path} lacks {absent} of the {wanted_cells.height} {part} cells of {run.path}: "
            "give the store that it was trained on."
        )
    refuse_contradictions(
        wanted_cells, str(run.path), store.cells, str(store.path),
        "give the store that it was trained on",
    )  # fmt: skip
    return TestedNetwork(run, placed.select("cell", "subject", "label", "p_all", "row"))
