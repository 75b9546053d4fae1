"""Open what is evaluated: a run, an ensemble or a bare prediction table, and its notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.contradictions import BelieveTable, check_names
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.io.predictions import check_predictions, is_shards, read_predictions
from blastscope.io.text_tables import read_text_table
from blastscope.recipes.reading import read_yaml

ENSEMBLE = "ensemble.json"
"""What tells the folder of an ensemble, whose predictions it made, from that of a run."""
FOLDS = "folds"
"""A key of an ensemble's ``fitted``: its members are the folds of one cross-validation, so that no
cells of that are unseen by all of them. Such an ensemble has no predictions of its own."""
CROSSVAL, SEEDS = "crossval.json", "seeds.json"
"""Likewise those of a cross-validation and of several seeds, each with runs of its own."""
HISTORY_COLUMNS = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")


_OF_OURS = {"checkpoint", "members", "ensemble", "protocol", "store"}
"""What the metadata of tables have that blastscope made of a store or a model."""


@dataclass(frozen=True)
class RunNotes:
    """What a run wrote about itself; everything is empty for a bare prediction table."""

    recipe_text: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    history: pl.DataFrame | None = None
    network: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None


@dataclass(frozen=True)
class InMemoryTable:
    """A prediction table that is in memory, and perhaps the name that its model is to have."""

    frame: pl.DataFrame
    name: str | None = None

    def __str__(self) -> str:
        return "the table" if self.name is None else f"the table '{self.name}'"


@dataclass(frozen=True)
class Source:
    """A checked prediction table, its metadata and the run's notes.

    Attributes:
        path: where it comes from; None for a table in memory.
        where: what messages call it.
        default_out: the folder that its report belongs into; None for a table in memory.
    """

    path: Path | None
    where: str
    predictions: pl.DataFrame
    metadata: dict[str, Any]
    default_out: Path | None
    notes: RunNotes


Readings = Mapping[str, Mapping[str, Any]]
"""By table: what was ``assumed`` of its text, the spellings ``joined`` to one subject, the subjects
that look ``alike`` and are not joined, and how many cells were ``unusable``, by model, part and
label."""
_TOLD = ("assumed", "joined", "alike", "unusable")


def readings(opened: Iterable[tuple[str, Mapping[str, Any]]]) -> Readings:
    """Return what was assumed, joined and left out when tables were read.

    Args:
        opened: pairs of place and metadata.
    """
    found: dict[str, dict[str, Any]] = {}
    for where, metadata in opened:
        told = {name: metadata[name] for name in _TOLD if metadata.get(name)}
        for place, assumed in metadata.get("labels_assumed", {}).items():
            found[place] = {"assumed": assumed}
        if told:
            found[where] = told
    return found


def open_source(source: Path | InMemoryTable, believe: BelieveTable | None = None) -> Source:
    """Open a run, an ensemble, a cross-validation, several seeds, or a table.

    Args:
        source: which of them.
        believe: what to believe if a table, of predictions that blastscope did not train for, and
            the names of its cells contradict each other; without it that is an error.

    Raises:
        BlastscopeError: if there is nothing to evaluate, a table contradicts the names of its
            cells, or a folder's predictions were not made by the checkpoint or the weights that lie
            beside them.
    """
    where = str(source)
    if isinstance(source, InMemoryTable):
        predictions, metadata = check_predictions(source.frame, where)
        predictions = check_names(predictions, where, believe)
        return Source(None, where, predictions, metadata, None, RunNotes())
    path = source
    if not path.is_dir() or is_shards(path):
        predictions, metadata = read_predictions(path)
        if not _OF_OURS & metadata.keys():  # the labels of others were believed when prepared
            predictions = check_names(predictions, where, believe)
        out = path.with_name(f"{path.stem}-evaluation")
        return Source(path, where, predictions, metadata, out, RunNotes())
    table = path / "predictions.parquet"
    if not table.is_file() and _is_of_folds(path / ENSEMBLE):
        raise BlastscopeError(
            f"{path} is an ensemble of the folds of a cross-validation, without predictions of its "
            "own: predict new cells with it, and give that table."
        )
    if not table.is_file():
        raise BlastscopeError(
            f"{path} has no predictions.parquet, so it is not a finished run: if it is a run, give "
            "its train command again, which resumes; otherwise give a run or a prediction table."
        )
    predictions, metadata = read_predictions(table)
    if (path / ENSEMBLE).is_file():
        _refuse_stale(path / ENSEMBLE, metadata.get("ensemble"))
        return Source(path, where, predictions, metadata, path / "evaluation", RunNotes())
    if (path / CROSSVAL).is_file() or (path / SEEDS).is_file():  # of several networks
        out = path if (path / CROSSVAL).is_file() else path / "evaluation"
        return Source(path, where, predictions, metadata, out, RunNotes())
    _refuse_stale(path / "checkpoint.safetensors", metadata.get("checkpoint"))
    return Source(path, where, predictions, metadata, path, _read_notes(path))


def _is_of_folds(path: Path) -> bool:
    return path.is_file() and FOLDS in (read_json(path).get("fitted") or {})


def _refuse_stale(checkpoint: Path, recorded: object) -> None:
    """Refuse stale files: the paper's authors lost three experiments to those of another run."""
    folder, again = checkpoint.parent, "train into a new folder"
    if checkpoint.name == ENSEMBLE:
        again = "build the ensemble again with `--force`, or into a new folder"
    if not checkpoint.is_file():
        raise BlastscopeError(
            f"{folder} has no checkpoint.safetensors to check its predictions against: evaluate "
            f"{folder / 'predictions.parquet'} instead, as a table."
        )
    if recorded != sha256_of(checkpoint):
        raise BlastscopeError(
            f"{folder / 'predictions.parquet'} was not made by the {checkpoint.name} beside it "
            f"(stale checkpoint or predictions): {again} and evaluate that one."
        )


def _read_notes(run: Path) -> RunNotes:
    path, history = run / "recipe.yaml", run / "history.csv"
    recipe = read_yaml(path) if path.is_file() else {}
    return RunNotes(
        recipe_text=path.read_text(encoding="utf-8") if recipe else "",
        recipe=recipe,
        history=_read_history(history) if history.is_file() else None,
        network=_read_object(run / "network.json", "layers", "total", "trainable"),
        environment=_read_object(run / "environment.json"),
    )


def _read_object(path: Path, *keys: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    content = read_json(path)
    if not content.keys() >= set(keys):
        raise BlastscopeError(f"{path} is not what a run writes: remove it or train again.")
    return content


def _read_history(path: Path) -> pl.DataFrame | None:
    """Read the learning history; None if no epoch was finished."""
    if path.is_file() and not path.stat().st_size:
        return None
    frame = read_text_table(path).frame
    try:
        numbers = frame.select(pl.col(HISTORY_COLUMNS).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise BlastscopeError(f"{path} is not a learning history ({reason}).") from error
    return None if numbers.is_empty() else numbers
