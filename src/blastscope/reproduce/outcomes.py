"""What a study has so far, read from its folder alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blastscope.errors import BlastscopeError
from blastscope.files import read_json
from blastscope.recipes.library import load_recipe, read_recipe
from blastscope.report.reproduction_data import Outcome
from blastscope.reproduce.plan import FIRST_SEED, PROTOCOLS, Job, Plan, study_names
from blastscope.train.folder import RunFolder


def is_evaluated(run: Path) -> bool:
    """Whether a run is whole and its report is of the weights that lie in it."""
    folder, metrics = RunFolder(run), run / "metrics.json"
    if not (folder.finished and metrics.is_file() and (run / "report.html").is_file()):
        return False
    try:
        own = read_json(folder.environment).get("checkpoint")
        return own is not None and read_json(metrics).get("checkpoint") == own
    except BlastscopeError:
        return False


def is_done(job: Job, out: Path) -> bool:
    """Whether a job's run is there, evaluated, and made with the job's settings."""
    run = job.run(out)
    return (
        is_evaluated(run) and read_recipe(RunFolder(run).recipe).experiment == job.recipe.experiment
    )


def outcomes(
    out: Path,
    plan: Plan,
    overrides: Sequence[str] = (),
    reasons: Mapping[tuple[str, str, int], str] | None = None,
) -> list[Outcome]:
    """List every experiment of the study, with its run where there is one.

    Runs of earlier calls, of other recipes or with other settings, are in it as well: each is
    shown with the settings that it was made with.

    Args:
        out: the study's folder.
        plan: what was asked for this time.
        overrides: the settings of this time, for what was not run.
        reasons: why jobs failed, or cannot be run here.
    """
    planned = {job.key for job in plan.jobs}
    reasons = {**plan.left_out, **(reasons or {})}
    found = []
    for name in study_names():
        for protocol in PROTOCOLS:
            for seed in _seeds(out, plan):
                key = (name, protocol, seed)
                outcome = _finished(out, key)
                if outcome is None:
                    why = reasons.get(key) or _reason(key, planned)
                    recipe = load_recipe(name, overrides)
                    outcome = Outcome(recipe, protocol, seed, None, why)
                found.append(outcome)
    return found


def _seeds(out: Path, plan: Plan) -> list[int]:
    asked = {seed for _, _, seed in [*(job.key for job in plan.jobs), *plan.left_out]}
    there = {int(path.name.rpartition("-seed")[2]) for path in (out / "runs").glob("*-seed[0-9]*")}
    return sorted(asked | there | {FIRST_SEED})


def _reason(key: tuple[str, str, int], planned: set[tuple[str, str, int]]) -> str:
    if key in planned:
        return "not yet"
    return "not asked for"


def _finished(out: Path, key: tuple[str, str, int]) -> Outcome | None:
    name, protocol, seed = key
    run = out / "runs" / f"{protocol}-seed{seed}" / name
    if not is_evaluated(run):
        return None
    own = read_recipe(RunFolder(run).recipe)
    # Words and published figures come from the package: it may have been corrected since.
    recipe = load_recipe(name, own.overrides)
    recipe = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"seed": seed})}
    )
    if recipe.experiment != own.experiment:
        why = "made by another version of the recipe"
        return Outcome(recipe, protocol, seed, None, why)
    return Outcome(recipe, protocol, seed, run)
