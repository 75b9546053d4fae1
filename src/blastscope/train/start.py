"""The run that another starts from: found, and held against the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.files import read_json, sha256_of
from blastscope.recipes.schema import Recipe
from blastscope.train.folder import RunFolder


def find_start(
    recipe: Recipe, run: Path, given: Path | None, identity: dict[str, Any]
) -> Path | None:
    """Return the folder of the run whose weights a recipe starts from; None where it needs none.

    Without ``given``, the finished run of that recipe, on the same store and split, is looked for
    among the folders beside ``run``.

    Raises:
        BlastscopeError: where there is none, or it learnt from another store or split (its
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
    environment = read_json(folder.environment)
    theirs = environment.get("identity")
    if not isinstance(theirs, dict) or theirs.get("recipe") != name:
        return "is a run of another recipe"
    for key in ("store", "split"):
        if theirs.get(key) != identity[key]:
            return f"was trained on another {key}"
    if environment.get("checkpoint") != sha256_of(folder.checkpoint):
        return "has a checkpoint that is not its own"
    return ""
