"""Check whether the run in a job's folder has the job's settings, cells, split and first weights.

Nothing is hashed: the records of runs, stores and splits are compared. Training and the report
compare the files themselves with these records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.store import INFO
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.tables import METADATA_KEY, read_metadata
from blastscope.recipes.library import read_recipe
from blastscope.reproduction.plan import StudyJob
from blastscope.training.run_folder import RunFolder


def misfit(job: StudyJob, out: Path) -> str:
    """Return why the run in a job's folder is not the job's; empty if it is.

    Store and split are compared if they are there.

    Raises:
        BlastscopeError: if the run's recipe or environment cannot be read.
    """
    folder = RunFolder(job.run(out))
    if read_recipe(folder.recipe).experiment != job.recipe.experiment:
        return "trained with another version of the recipe"
    identity = _identity(folder)
    if _differ(identity.get("store"), _fingerprint(job.store(out))):
        return "trained on other cells"
    if _differ(identity.get("split"), _split_hash(job.split(out))):
        return "trained on another split"
    if started_elsewhere(job, out):
        return f"{job.recipe.starts_from}, which it started from, is not there as it was"
    return ""


def started_elsewhere(job: StudyJob, out: Path) -> bool:
    """Whether a begun run's first weights are not those of the run that it would start from now.

    Raises:
        BlastscopeError: if its environment cannot be read.
    """
    beginning, folder = job.beginning(out), RunFolder(job.run(out))
    if beginning is None or not (folder.finished or folder.resume.is_file()):
        return False
    recorded = read_json(folder.environment).get("starts_from")
    known = recorded.get("checkpoint") if isinstance(recorded, dict) else None
    return known is None or known != _recorded(RunFolder(beginning).environment, "checkpoint")


def _identity(folder: RunFolder) -> dict[str, Any]:
    identity = read_json(folder.environment).get("identity")
    if not isinstance(identity, dict):
        raise BlastscopeError("its environment.json has no identity")
    return identity


def _differ(recorded: object, now: object) -> bool:
    return now is not None and recorded != now


def _fingerprint(store: Path) -> object:
    return _recorded(store / INFO, "fingerprint")


def _recorded(path: Path, key: str) -> object:
    """Return a value of a JSON file; None if it or the file is missing."""
    try:
        return read_json(path).get(key)
    except BlastscopeError:
        return None


def _split_hash(path: Path) -> object:
    try:
        return json.loads(read_metadata(path)[METADATA_KEY])["hash"]
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None
