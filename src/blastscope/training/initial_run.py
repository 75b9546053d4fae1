"""The run that another starts from: found, and held against the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.recipes.schema import Recipe
from blastscope.training.run_folder import RunFolder


def started_from(folder: RunFolder, given: Path | None) -> None:
    """Hold the run that is asked for against the one that a begun run started from.

    Raises:
        BlastscopeError: if ``given`` is another one.
    """
    if given is None:
        return
    recorded = read_json(folder.environment).get("starts_from", {})
    checkpoint = RunFolder(given).checkpoint
    if not checkpoint.is_file() or recorded.get("checkpoint") != sha256_of(checkpoint):
        raise BlastscopeError(
            f"{folder.path} did not start from {given} but from {recorded.get('run', 'no run')}: "
            "choose another folder for the new run."
        )


def start_note(start: Path | None) -> dict[str, Any]:
    """Return what a run's ``environment.json`` says of the run that it starts from."""
    if start is None:
        return {}
    checkpoint = sha256_of(RunFolder(start).checkpoint)
    return {"starts_from": {"run": str(start), "checkpoint": checkpoint}}


def initial_note(weights: Path | None) -> dict[str, Any]:
    """Return what a run's ``environment.json`` says of the pretrained weights it begins with."""
    if weights is None:
        return {}
    return {"initial_weights": {"file": weights.name, "sha256": sha256_of(weights)}}


def find_start(
    recipe: Recipe, run: Path, given: Path | None, identity: dict[str, Any]
) -> Path | None:
    """Return the folder of the run whose weights a recipe starts from; None if it needs none.

    Without ``given``, the finished run of that recipe, on the same store and split, is looked for
    among the folders beside ``run``.

    Raises:
        BlastscopeError: if there is none, or it learnt from another store or split (its
            training part may hold cells that are now for testing).
    """
    if recipe.starts_from is None:
        if given is not None:
            raise BlastscopeError(f"{recipe.name} starts from no other run: leave out --from.")
        return None
    if given is not None:
        reason = _misfit(given, recipe.starts_from, identity)
        if reason:
            raise BlastscopeError(f"{given} {reason}: give a finished run of {recipe.starts_from}.")
        return given
    beside = sorted(path for path in run.absolute().parent.glob("*") if path != run.absolute())
    fitting = [path for path in beside if not _misfit(path, recipe.starts_from, identity)]
    if len(fitting) == 1:
        return fitting[0]
    what = "more than one" if fitting else "no"
    raise BlastscopeError(
        f"{recipe.name} starts from a run of {recipe.starts_from}, and {what} finished one on this "
        f"store and split stands beside {run}: train it first, or name it with --from."
    )


def _misfit(path: Path, name: str, identity: dict[str, Any]) -> str:
    folder = RunFolder(path)
    if not folder.environment.is_file() or not folder.finished:
        return "is no finished run"
    try:
        environment = read_json(folder.environment)
        fingerprint = sha256_of(folder.checkpoint)
    except (BlastscopeError, OSError):
        return "cannot be read"
    theirs = environment.get("identity")
    if not isinstance(theirs, dict) or theirs.get("recipe") != name:
        return "is a run of another recipe"
    for key in ("store", "split"):
        if theirs.get(key) != identity[key]:
            return f"was trained on another {key}"
    if environment.get("checkpoint") != fingerprint:
        return "has a checkpoint that is not its own"
    return ""
