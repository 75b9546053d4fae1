"""Knowledge distillation: a network that also learns what other networks think of its cells.

The target of a training cell is a mixture of its label and the teachers' probability (Hinton,
Vinyals and Dean, Distilling the Knowledge in a Neural Network, arXiv 1503.02531). The teachers are
prediction tables, so they may be of any architecture, of any way to prepare cells, or an ensemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.io.predictions import (
    SYNTHETIC_MARK,
    read_predictions,
    refuse_corrected,
    refuse_pseudo_labels,
    select_model,
)
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.dataset import TrainingData

Targets = NDArray[np.float32]
_EDGE = 1e-4
"""Probabilities closer to 0 or 1 count as this far from it, so that one teacher that is certain
does not outvote the others."""


@dataclass(frozen=True)
class Teachers:
    """The prediction tables of the teachers."""

    tables: tuple[Path, ...]

    @classmethod
    def at(cls, paths: Sequence[Path]) -> Teachers:
        """Take runs, ensembles or prediction tables.

        Raises:
            BlastscopeError: if one has no predictions, or two have the same.
        """
        tables = tuple(path / "predictions.parquet" if path.is_dir() else path for path in paths)
        for path, table in zip(paths, tables, strict=True):
            if not table.is_file():
                raise BlastscopeError(
                    f"{path} has no predictions: give a finished run, an ensemble or a prediction "
                    "table as a teacher."
                )
        found = cls(tables)
        if len(set(found.hashes)) < len(tables):
            names = ", ".join(map(str, paths))
            raise BlastscopeError(
                f"Two of the teachers have the same predictions: give each once ({names})."
            )
        return found

    @property
    def hashes(self) -> list[str]:
        """What a run that learns from them follows from."""
        return [sha256_of(table) for table in self.tables]


def learns_from_teachers(recipe: Recipe) -> bool:
    """Whether a recipe has distillation and is trained; a mean of runs is not."""
    return recipe.training.distillation > 0 and recipe.model.weights != AVERAGED


def refuse_without_teacher(recipe: Recipe, teachers: Sequence[Path]) -> None:
    """Refuse a recipe that needs a teacher and has none, or the other way round.

    Raises:
        BlastscopeError: if ``training.distillation`` and the teachers do not fit each other.
    """
    if learns_from_teachers(recipe) and not teachers:
        what = (
            "runs with --teacher."
            if recipe.training.teachers_see == "augmented"
            else "runs or prediction tables with --teacher, or --set training.distillation=0."
        )
        raise BlastscopeError(f"{recipe.name} learns from teachers: give their {what}")
    if teachers and not recipe.training.distillation:
        raise BlastscopeError(
            f"{recipe.name} learns from no teacher: give --set training.distillation=0.7 or so, or "
            "leave --teacher out."
        )


def soft_targets(recipe: Recipe, inputs: TrainingData, teachers: Teachers) -> Targets:
    """Return the target of each row of the store; only training rows are ever used.

    It is the label, and for training cells (1 - d) times the label plus d times the probability of
    the mean of the teachers' log-odds, where d is ``training.distillation``.

    Raises:
        BlastscopeError: if a teacher lacks training cells, knows cells that are for validation or
            testing here (the metrics would not be of unseen cells), or is synthetic and the cells
            are not.
    """
    share = recipe.training.distillation
    targets = inputs.is_all.astype(np.float32)
    rows = inputs.rows["train"]
    taught = taught_probabilities(inputs, teachers, "train")
    targets[rows] = (1 - share) * targets[rows] + share * taught
    return targets


def taught_probabilities(
    inputs: TrainingData, teachers: Teachers, part: str
) -> NDArray[np.float64]:
    """Return the probability of the teachers' mean log-odds for each cell of a split part.

    Raises:
        BlastscopeError: if a teacher lacks cells of the part, was trained on cells that are for
            validation or testing here, was chosen by cells that are for testing, is a
            cross-validation, learnt from pseudo-labels, or is synthetic and the cells are not.
    """
    rows = inputs.rows[part]
    held = [(name, inputs.rows[name]) for name in ("validation", "test")]
    cells = inputs.store.cells["cell"]
    odds = np.zeros(len(rows))
    for path in teachers.tables:
        read, about = read_predictions(path)
        refuse_pseudo_labels(about, path)
        refuse_corrected(read, path)
        table, name = select_model(read, path, None)
        synthetic = about.get("synthetic") is True or name.endswith(SYNTHETIC_MARK)
        if synthetic != inputs.store.synthetic:
            raise BlastscopeError(
                f"{path} is of {'synthetic' if synthetic else 'real'} cells and the store is not: "
                "give a teacher of the same cells."
            )
        if about.get("out_of_fold") is not None:
            raise BlastscopeError(
                f"{path} is of a cross-validation, whose networks were trained on cells that are "
                "held out here: give runs of the same split."
            )
        for other, members in held:
            seen = _known(table, cells[members.tolist()], other)
            if seen:
                raise BlastscopeError(
                    f"{path} was trained on {seen} of the {len(members)} {other} cells, or chosen "
                    "by them: a teacher must not know them; train it on the same split."
                )
        p = _of_cells(table, cells[rows.tolist()], path)
        odds += np.log(p / (1 - p)) / len(teachers.tables)
    found: NDArray[np.float64] = 1 / (1 + np.exp(-odds))
    return found


def _known(table: pl.DataFrame, cells: pl.Series, part: str) -> int:
    """Count the cells of a part that a teacher knows.

    Those for testing must not have been the teacher's for validation either: its epoch was chosen
    by them.
    """
    parts = ["train", "validation"] if part == "test" else ["train"]
    known = table.filter(pl.col("part").is_in(parts))["cell"]
    return int(cells.is_in(known.implode()).sum())


def _of_cells(table: pl.DataFrame, cells: pl.Series, path: Path) -> NDArray[np.float64]:
    """Return the teacher's probabilities of ``cells``."""
    found = pl.DataFrame({"cell": cells}).join(
        table.select("cell", "p_all"), on="cell", how="left", maintain_order="left"
    )
    lost = found.filter(pl.col("p_all").is_null())
    if lost.height:
        raise BlastscopeError(
            f"{path} lacks {lost.height} of {found.height} cells that it is to teach (first: "
            f"{lost['cell'][0]}): a teacher must have predicted all of them."
        )
    p: NDArray[np.float64] = found["p_all"].to_numpy().clip(_EDGE, 1 - _EDGE)
    return p
