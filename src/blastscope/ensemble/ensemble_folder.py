"""The folder of an ensemble: its members, and how their probabilities are combined.

Each member is a folder that can be applied to images by itself, named by a path relative to this
one and by the fingerprint of its weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import ModelSource
from blastscope.evaluation.sources import ENSEMBLE
from blastscope.io.files import read_json, write_json

FORMAT = "blastscope-ensemble/1"


@dataclass(frozen=True)
class EnsembleMember:
    """One of an ensemble's models.

    Attributes:
        model: its name.
        path: of its run or prediction table, relative to the ensemble's folder; empty for a table
            that was in memory.
        checkpoint: ``sha256:`` of its weights; None if only its predictions are known.
    """

    model: str
    path: str
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
    return tuple(
        EnsembleMember(
            member.name,
            "" if member.path is None else _relative(member.path, home),
            str(member.metadata["checkpoint"])
            if member.path is not None and member.path.is_dir() and "checkpoint" in member.metadata
            else None,
        )
        for member in members
    )


def _relative(path: Path, home: Path) -> str:
    return Path(os.path.relpath(path.resolve(), home)).as_posix()


def write_ensemble(ensemble: EnsembleFolder, out: Path) -> None:
    """Write ``ensemble.json``.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    content = {"format": FORMAT, **asdict(ensemble)}
    content["combination"] = ensemble.combination.as_json()
    write_json(out / ENSEMBLE, content)


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
        members = tuple(_member(**member) for member in content["members"])
        combination = Combination.from_json(content["combination"])
        if len(members) != len(combination.weights):
            raise ValueError(f"{len(members)} members, {len(combination.weights)} weights")
        return EnsembleFolder(
            str(content["name"]),
            combination,
            members,
            content["synthetic"] is True,
            dict(content["fitted"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BlastscopeError(
            f"{path / ENSEMBLE} is damaged ({error}): build the ensemble again."
        ) from error


def _member(model: object, path: object, checkpoint: object) -> EnsembleMember:
    """Check a member: its path must be relative and of a usual length, as we write it."""
    if not isinstance(model, str) or not isinstance(checkpoint, str | None):
        raise ValueError("the model or checkpoint of a member is not a text")
    if not isinstance(path, str) or len(path) > 4096 or "\0" in path or Path(path).is_absolute():
        raise ValueError(f"the path of the member {model[:80]!r} is not relative")
    return EnsembleMember(model, path, checkpoint)
