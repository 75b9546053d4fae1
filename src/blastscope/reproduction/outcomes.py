"""List the results that a study has so far, read from its folder alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.evaluation.result import read_metrics
from blastscope.io.files import read_json
from blastscope.recipes.library import load_recipe, read_recipe
from blastscope.recipes.schema import Recipe
from blastscope.reproduction.identity import misfit
from blastscope.reproduction.plan import (
    FIRST_SEED,
    ON_REQUEST,
    PROTOCOLS,
    StudyJob,
    StudyPlan,
    study_names,
)
from blastscope.reproduction.results import Outcome, read_experiments
from blastscope.training.run_folder import RunFolder

Key = tuple[str, str, int]


def is_done(job: StudyJob, out: Path) -> bool:
    """Whether a job's run is evaluated, and was trained with the job's settings and cells.

    Only small JSON and YAML files and the metadata of a split are read.
    """
    try:
        return is_evaluated(job.run(out)) and not misfit(job, out)
    except BlastscopeError:  # damaged, or of an older version
        return False


def is_evaluated(run: Path) -> bool:
    """Whether a run is finished and its report is of the weights in it."""
    folder, metrics = RunFolder(run), run / "metrics.json"
    if not (folder.finished and metrics.is_file() and (run / "report.html").is_file()):
        return False
    own = read_json(folder.environment).get("checkpoint")
    return own is not None and read_metrics(metrics).get("checkpoint") == own


def outcomes(
    out: Path,
    plan: StudyPlan,
    overrides: Sequence[str] = (),
    reasons: Mapping[Key, str] | None = None,
) -> list[Outcome]:
    """List every experiment of the study, with its run if there is one.

    Runs of earlier calls, of other recipes or with other settings, are included, each with the
    settings that it was trained with. A run that cannot be read is left out, with the reason.
    ``overrides`` are the settings of planned experiments that have not run; others are shown with
    those of the package. ``reasons``: why jobs failed or cannot be run here.
    """
    reasons = {**plan.left_out, **(reasons or {})}
    planned = {job.key for job in plan.jobs}
    asked = planned | plan.left_out.keys()
    found = []
    for name in study_names():
        for protocol in PROTOCOLS:
            for seed in _seeds(out, asked):
                key = (name, protocol, seed)
                outcome = _finished(out, key)
                if outcome is None and key not in asked and seed != FIRST_SEED:
                    continue  # other experiments have this seed, and this one need not
                if outcome is None and key not in asked and name.startswith(ON_REQUEST):
                    continue
                if outcome is None:
                    recipe = _load(name, tuple(overrides) if key in asked else ())
                    why = reasons.get(key) or ("not yet" if key in planned else "not asked for")
                    outcome = Outcome(recipe, protocol, seed, None, why, asked=key in asked)
                found.append(outcome)
    return found


def _seeds(out: Path, asked: set[Key]) -> list[int]:
    names = [path.name for path in (out / "runs").glob("*") if path.is_dir()]
    matches = [re.fullmatch(rf"(?:{'|'.join(PROTOCOLS)})-seed([0-9]+)", name) for name in names]
    there = {int(match[1]) for match in matches if match}
    return sorted({seed for _, _, seed in asked} | there | {FIRST_SEED})


def _finished(out: Path, key: Key) -> Outcome | None:
    """Return the outcome of a run that is there; without the run if it cannot be used."""
    name, protocol, seed = key
    run = out / "runs" / f"{protocol}-seed{seed}" / name
    if not run.is_dir():
        return None
    recipe = _load(name).with_seed(seed)
    try:
        if not is_evaluated(run):
            return None
        own = _read_recipe(run)
        # Title, notes and published metrics come from the package, where they may be newer.
        recipe = _load(name, own.overrides).with_seed(seed)
        reason = misfit(StudyJob(recipe, protocol, seed), out)
        if reason:
            return Outcome(recipe, protocol, seed, None, reason)
        outcome = Outcome(recipe, protocol, seed, run)
        read_experiments([outcome])
    except BlastscopeError as error:
        return Outcome(recipe, protocol, seed, None, str(error))
    except Exception as error:  # a damaged file may fail in any way, and costs only its own run
        reason = f"{run} cannot be read ({type(error).__name__})"
        return Outcome(recipe, protocol, seed, None, reason)
    return outcome


_load = cache(load_recipe)
"""Load a packaged recipe once for all protocols and seeds."""


def _read_recipe(run: Path) -> Recipe:
    try:
        return read_recipe(RunFolder(run).recipe)
    except BlastscopeError as error:
        raise BlastscopeError("its recipe.yaml cannot be read") from error
