"""The folder of an ensemble: its members, and how their probabilities are combined.

Each member is a folder that can be applied to images by itself, named by a path relative to this
one and by the fingerprint of its weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import ModelSource
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import read_json, write_json
from blastscope.io.json_objects import read_as
from blastscope.io.provenance import record_beside

FORMAT = "blastscope-ensemble/1"


@dataclass(frozen=True)
class EnsembleMember:
    """One of an ensemble's models.

    Attributes:
        path: of its run or prediction table, relative to the ensemble's folder; empty for a table
            that was in memory.
        checkpoint: ``sha256:`` of its weights; None if only its predictions are known.
    """

    model: str
    path: Annotated[str, Field(max_length=4096), AfterValidator(lambda path: _relative(path))]
    checkpoint: str | None


@dataclass(frozen=True)
class EnsembleFolder:
    """The content of ``ensemble.json``."""

    name: str
    combination: Combination
    members: tuple[EnsembleMember, ...]
    synthetic: bool
    fitted: dict[str, Any]
    """On which part, on how many cells, with which settings."""


def ensemble_members(members: Sequence[ModelSource], out: Path) -> tuple[EnsembleMember, ...]:
    """Name members as ``ensemble.json`` in ``out`` does."""
    home = out.resolve()  # a relative path that crosses a link would lead elsewhere
    found = []
    for member in members:
        if member.path is None:
            found.append(EnsembleMember(member.name, "", None))
            continue
        checkpoint = member.metadata.get("checkpoint") if member.path.is_dir() else None
        found.append(ensemble_member(member.name, member.path, checkpoint, home))
    return tuple(found)


def ensemble_member(name: str, path: Path, checkpoint: str | None, out: Path) -> EnsembleMember:
    """Name a member as ``ensemble.json`` in ``out`` does."""
    relative = Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()
    return EnsembleMember(name, relative, checkpoint)


def write_ensemble(ensemble: EnsembleFolder, out: Path) -> None:
    """Write ``ensemble.json``, whose bytes are its fingerprint, and beside it what made it."""
    write_json(out / ENSEMBLE, {"format": FORMAT, **asdict(ensemble)})
    record_beside(out, ENSEMBLE)


def read_ensemble(path: Path) -> EnsembleFolder:
    """Read the ``ensemble.json`` of a folder; nothing in it is executed.

    Raises:
        BlastscopeError: if it is missing, of another format or damaged.
    """
    content = read_json(path / ENSEMBLE)
    if content.get("format") != FORMAT:
        raise BlastscopeError(
            f"{path / ENSEMBLE} is not a {FORMAT} file: build the ensemble again."
        )
    try:
        found = read_as(EnsembleFolder, content)
        if len(found.members) != len(found.combination.weights):
            counts = f"{len(found.members)} members, {len(found.combination.weights)} weights"
            raise ValueError(counts)
    except ValueError as error:
        raise BlastscopeError(
            f"{path / ENSEMBLE} is damaged ({error}): build the ensemble again."
        ) from error
    return found


def _relative(path: str) -> str:
    if "\0" in path or Path(path).is_absolute():
        raise ValueError("is not relative")
    return path
