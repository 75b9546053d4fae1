"""Whether the run in a job's folder is the job's: of its settings, cells, split and beginning.

Nothing is hashed: what runs, stores and splits recorded of themselves is compared. Training and
the report hold the files themselves against these records.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.data.store import INFO
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.tables import METADATA_KEY
from blastscope.recipes.library import read_recipe
from blastscope.reproduction.plan import Job
from blastscope.training.run_folder import RunFolder


def misfit(job: Job, out: Path) -> str:
    """Say why the run in a job's folder is not the job's; empty where it is.

    Store and split are compared where they are there.

    Raises:
        BlastscopeError: where the run's recipe or environment cannot be read.
    """
    folder = RunFolder(job.run(out))
    if read_recipe(folder.recipe).experiment != job.recipe.experiment:
        return "made by another version of the recipe"
    identity = _identity(folder)
    if _differ(identity.get("store"), _fingerprint(job.store(out))):
        return "made of other cells"
    if _differ(identity.get("split"), _split_hash(job.split(out))):
        return "made on another split"
    if started_elsewhere(job, out):
        return f"{job.recipe.starts_from}, which it started from, is not there as it was"
    return ""


def started_elsewhere(job: Job, out: Path) -> bool:
    """Whether a begun run's first weights are not those of the run that it would start from now.

    Raises:
        BlastscopeError: where its environment cannot be read.
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
        raise BlastscopeError("its environment.json says nothing of what it was made of")
    return identity


def _differ(recorded: object, now: object) -> bool:
    return now is not None and recorded != now


def _fingerprint(store: Path) -> object:
    return _recorded(store / INFO, "fingerprint")


def _recorded(path: Path, key: str) -> object:
    """Return what a JSON file records; None where it does not, or is not there."""
    try:
        return read_json(path).get(key)
    except BlastscopeError:
        return None


def _split_hash(path: Path) -> object:
    try:
        return json.loads(pl.read_parquet_metadata(path)[METADATA_KEY])["hash"]
    except (OSError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError):
        return None
