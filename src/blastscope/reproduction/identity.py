"""Check whether the run in a job's folder has the job's settings, cells, split and first weights.

Nothing is hashed: the records of runs, stores and splits are compared. Training and the report
compare the files themselves with these records.
"""

from __future__ import annotations

import json
from pathlib import Path

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
    """
    folder = RunFolder(job.run(out))
    if read_recipe(folder.recipe).experiment != job.recipe.experiment:
        return "trained with another version of the recipe"
    identity = read_json(folder.environment).get("identity")
    if not isinstance(identity, dict):
        raise BlastscopeError("its environment.json has no identity")
    store, split = _recorded(job.store(out) / INFO, "fingerprint"), _split_hash(job.split(out))
    if store not in (None, identity.get("store")):
        return "trained on other cells"
    if split not in (None, identity.get("split")):
        return "trained on another split"
    if started_elsewhere(job, out):
        return f"{job.recipe.starts_from}, which it started from, is not there as it was"
    return ""


def started_elsewhere(job: StudyJob, out: Path) -> bool:
    """Whether a begun run's first weights are not those of the run that it would start from now."""
    beginning, folder = job.beginning(out), RunFolder(job.run(out))
    if beginning is None or not folder.begun:
        return False
    recorded = read_json(folder.environment).get("starts_from")
    known = recorded.get("checkpoint") if isinstance(recorded, dict) else None
    return known is None or known != _recorded(RunFolder(beginning).environment, "checkpoint")


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
