"""Align the predictions of several models for the same cells, from any number of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.sources import InMemoryTable, Readings, open_source, readings
from blastscope.io.predictions import (
    PARTS,
    SYNTHETIC_MARK,
    has_folds,
    refuse_corrected,
    refuse_pseudo_labels,
)
from blastscope.io.subject_names import LOST_ZEROS, differ_in_zeros


@dataclass(frozen=True)
class ModelSource:
    """A model; the file or folder of its predictions, None for a table in memory; its metadata."""

    name: str
    path: Path | None
    metadata: dict[str, Any]

    @property
    def where(self) -> str:
        """What messages call its place."""
        return f"the table '{self.name}'" if self.path is None else str(self.path)

    @property
    def derived(self) -> bool:
        """Whether it is made of the models beside it."""
        return bool(self.metadata.get("derived"))

    @property
    def out_of_fold(self) -> str | None:
        """How the folds of a cross-validation were cut; None if it is not of one."""
        by = self.metadata.get("out_of_fold")
        return None if by is None else str(by)


@dataclass(frozen=True)
class AlignedPredictions:
    """The probabilities of several models on the same cells.

    Attributes:
        cells: ``cell``, ``subject``, ``label`` and ``part``, a row a cell.
        members: the models, in the order in which they were given.
        p_all: probability of ALL, shape (cells, models); NaN if a model does not know a cell.
        fold: which network of a cross-validation predicted a cell, shape (cells, models); the same
            number for all cells of one network. None if no model has folds.
    """

    cells: pl.DataFrame
    members: tuple[ModelSource, ...]
    p_all: NDArray[np.float64]
    fold: NDArray[np.int64] | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, a column of ``p_all`` each."""
        return tuple(member.name for member in self.members)

    @property
    def is_all(self) -> NDArray[np.bool_]:
        """Truth, shape (cells,); False also if a label is missing."""
        return (self.cells["label"] == "all").fill_null(False).to_numpy()

    @property
    def subjects(self) -> list[str | None]:
        """Each cell's subject."""
        return self.cells["subject"].to_list()

    @property
    def readings(self) -> Readings:
        """What was assumed and joined when the tables were read."""
        return readings((member.where, member.metadata) for member in self.members)

    @property
    def synthetic(self) -> bool:
        """Whether any of the models is of synthetic cells."""
        return any(
            member.metadata.get("synthetic") is True or member.name.endswith(SYNTHETIC_MARK)
            for member in self.members
        )

    @property
    def protocol(self) -> str | None:
        """How the cells were split, if all the models agree on it."""
        found = set(self.protocols.values())
        return found.pop() if len(found) == 1 else None

    @property
    def protocols(self) -> dict[str, str | None]:
        """How the cells of each model were split; None if its table does not say."""
        known = {one.name: one.metadata.get("protocol") for one in self.members}
        return {name: None if one is None else str(one) for name, one in known.items()}

    @property
    def pooled(self) -> tuple[str, ...]:
        """The models whose cells several networks predicted, those of a cross-validation."""
        folds = [one.name for one in self.members if one.out_of_fold is not None]
        return tuple(
            one.name for one in self.members if one.name in folds or (folds and one.derived)
        )

    def table(self, model: str) -> pl.DataFrame:
        """Return the rows of one model, of every part, as in its prediction table.

        ``fold`` is there if the model has folds.
        """
        place = self.models.index(model)
        p_all = self.p_all[:, place]
        found = self.cells.with_columns(model=pl.lit(model), p_all=pl.Series(p_all))
        if self.fold is not None and self.fold[:, place].any():
            found = found.with_columns(fold=pl.Series(self.fold[:, place]))
        return found.filter(pl.Series(~np.isnan(p_all)))

    def take(self, rows: NDArray[np.bool_]) -> AlignedPredictions:
        """Keep the cells for which ``rows``, shape (cells,), is true."""
        fold = None if self.fold is None else self.fold[rows]
        cells = self.cells.filter(pl.Series(rows))
        return replace(self, cells=cells, p_all=self.p_all[rows], fold=fold)

    def with_models(
        self, added: Sequence[ModelSource], p_all: NDArray[np.float64]
    ) -> AlignedPredictions:
        """Set further models, made of these, with columns of shape (cells, added), beside these."""
        members = (*self.members, *added)
        _refuse_same_names(members)
        fold = self.fold
        if fold is not None:  # cells that the same networks predicted are on one scale
            _, together = np.unique(fold, axis=0, return_inverse=True)
            fold = np.column_stack([fold, *[together.reshape(-1)] * len(added)])
        return replace(self, members=members, p_all=np.column_stack([self.p_all, p_all]), fold=fold)

    def fitted_on(self, part: str) -> list[str]:
        """Name the models, ensembles, whose weights were fitted on the cells of a part."""
        return [
            member.name for member in self.members if part in member.metadata.get("fitted_on", ())
        ]

    def every(self, part: str) -> AlignedPredictions:
        """Return the cells of one part, labelled or not, of which every model must know all.

        Raises:
            BlastscopeError: if the part is not there, or a model lacks cells that another has.
        """
        if part not in PARTS:
            raise BlastscopeError(f"'{part}' is not a part of a split: choose {', '.join(PARTS)}.")
        rows = self.take((self.cells["part"] == part).to_numpy())
        if rows.cells.is_empty():
            present = [name for name in PARTS if name in set(self.cells["part"])]
            raise BlastscopeError(f"No table has {part} cells, only {listing(present)} cells.")
        rows._refuse_gaps(part)
        return rows

    def part(self, name: str) -> AlignedPredictions:
        """Return the labelled cells of one part, of which every model must know all.

        Raises:
            BlastscopeError: if the part is not there or has no labels, or a model lacks cells that
                another has.
        """
        rows = self.every(name)
        labelled = rows.take(rows.cells["label"].is_not_null().to_numpy())
        if labelled.cells.is_empty():
            raise BlastscopeError(
                f"None of the {rows.cells.height} {name} cells has a label, so nothing can be "
                "judged: fill the label column (all or hem) or choose another part."
            )
        return labelled

    def _refuse_gaps(self, part: str) -> None:
        missing = np.isnan(self.p_all)
        for column, member in enumerate(self.members):
            gaps = int(missing[:, column].sum())
            if gaps:
                first = self.cells["cell"][int(missing[:, column].argmax())]
                raise BlastscopeError(
                    f"{member.where} lacks {gaps} of {len(missing)} {part} cells that others have "
                    f"for its model '{member.name}' (first: {first}): models are compared on the "
                    "same cells only."
                )


def align_predictions(models: Sequence[str | Path | InMemoryTable]) -> AlignedPredictions:
    """Open runs, ensembles and prediction tables, and lay their models side by side.

    Args:
        models: each a folder or a table (Parquet, CSV or in memory), of one model or several, or
            ``NAME=PATH``, which names the model anew.

    Raises:
        BlastscopeError: if one cannot be read, was corrected by neighbours or trained with
            pseudo-labels, two models share a name, or they disagree on a cell's label, subject or
            part.
    """
    members: list[ModelSource] = []
    tables: list[pl.DataFrame] = []
    for text in models:
        name, place = (text.name, text) if isinstance(text, InMemoryTable) else name_and_path(text)
        source = open_source(place)
        refuse_pseudo_labels(source.metadata, place)
        refuse_corrected(source.predictions, place)
        known = source.predictions["model"].unique(maintain_order=True).to_list()
        for model in known:
            shown = model if name is None else name if len(known) == 1 else f"{name}/{model}"
            if model.endswith(SYNTHETIC_MARK) and not shown.endswith(SYNTHETIC_MARK):
                shown += SYNTHETIC_MARK  # a name may change, but not what it says of the cells
            members.append(ModelSource(shown, source.path, source.metadata))
            rows = source.predictions.filter(pl.col("model") == model)
            number = pl.col("fold") if has_folds(rows, source.metadata) else pl.lit(0)
            tables.append(
                rows.select("cell", "subject", "label", "part", "p_all", fold=number.cast(pl.Int64))
            )
    _refuse_same_names(members)
    for column in ("part", "label", "subject"):
        _refuse_contradictions(tables, members, column)
    cells = pl.concat(tables).group_by("cell", maintain_order=True).agg(
        pl.col("subject", "label", "part").drop_nulls().first()
    )  # fmt: skip
    columns = [
        cells.join(
            table.select("cell", "p_all", "fold"), on="cell", how="left", maintain_order="left"
        )
        for table in tables
    ]
    p_all = np.column_stack([column["p_all"].to_numpy() for column in columns])
    fold = np.column_stack([column["fold"].fill_null(0).to_numpy() for column in columns])
    return AlignedPredictions(
        cells, tuple(members), p_all.astype(np.float64), fold if fold.any() else None
    )


def name_and_path(text: str | Path) -> tuple[str | None, Path]:
    """Take ``NAME=PATH`` apart; a path that is there is taken as it is."""
    whole = Path(text)
    name, equals, rest = str(text).partition("=")
    if whole.exists() or not equals or not name.strip() or not rest:
        return None, whole
    return name.strip(), Path(rest)


def _refuse_same_names(members: Sequence[ModelSource]) -> None:
    seen: dict[str, ModelSource] = {}
    for member in members:
        other = seen.setdefault(member.name, member)
        if other is member:
            continue
        remedy = 'give a mapping of names to tables, {"A": first, "B": second}'
        if other.path and member.path:
            if other.path.resolve() == member.path.resolve():
                raise BlastscopeError(f"{member.where} is given twice: give each model once.")
            remedy = f"name them apart, A={other.where} B={member.where}"
        raise BlastscopeError(
            f"{other.where} and {member.where} both hold a model called '{member.name}': {remedy}."
        )


def _refuse_contradictions(
    tables: Sequence[pl.DataFrame], members: Sequence[ModelSource], column: str
) -> None:
    """Refuse tables of the same cells that were split or labelled differently."""
    first = tables[0].select("cell", pl.col(column).alias("known"), who=pl.lit(members[0].name))
    for table, member in zip(tables[1:], members[1:], strict=True):
        both = table.select("cell", column).join(first, on="cell", how="full", coalesce=True)
        wrong = both.filter(pl.col(column) != pl.col("known"))
        if not wrong.is_empty():
            row = wrong.row(0, named=True)
            others = f" (and {wrong.height - 1} more)" if wrong.height > 1 else ""
            remedy = "give predictions on the same split of the same cells"
            if column == "subject" and differ_in_zeros(wrong[column], wrong["known"]):
                remedy = LOST_ZEROS
            raise BlastscopeError(
                f"The {column} of the cell '{row['cell']}'{others} is '{row[column]}' in "
                f"{member.where} and '{row['known']}' for the model '{row['who']}': {remedy}."
            )
        known = pl.coalesce("known", column)
        who = pl.when(pl.col("known").is_null()).then(pl.lit(member.name)).otherwise("who")
        first = both.select("cell", known=known, who=who)
