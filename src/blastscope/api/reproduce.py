"""Reproduce the paper: plan its experiments, run those that are not done, and report them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.api.recipes import Settings, setting_texts
from blastscope.api.reproduction_report import over_seeds, report
from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    Result,
    TextTable,
    as_path,
    notice,
    showing,
)
from blastscope.api.track import refuse_tracking, track_folder
from blastscope.api.train import evaluate_run
from blastscope.cluster import LOCAL, check_engine
from blastscope.data.layouts import list_cells
from blastscope.engines.torch_engine import choose_device
from blastscope.errors import BlastscopeError
from blastscope.experiments.progress import JobsProgress
from blastscope.experiments.runner import Outcomes
from blastscope.parallel import duration
from blastscope.report.evaluation_text import headline
from blastscope.reproduction.estimate import DurationEstimate, estimate
from blastscope.reproduction.outcomes import is_done
from blastscope.reproduction.plan import PROTOCOLS, StudyPlan
from blastscope.reproduction.runner import StudyLocation, run_plan
from blastscope.reproduction.study import ReproductionRequest, cells_by_part, plan_of
from blastscope.reproduction.study_folder import prepare_cells, study_folder
from blastscope.training.train import Trained

Key = tuple[str, str, int]


@dataclass(frozen=True, eq=False, repr=False)
class PlanResult(Result):
    """The plan of a reproduction: its experiments, and about how long each takes here.

    Attributes:
        request: what was asked for.
        plan: the experiments in order, and those that cannot be run.
        times: the estimate for each that is not done.
        cells: how many there are.
    """

    request: ReproductionRequest
    plan: StudyPlan
    times: dict[Key, DurationEstimate]
    cells: int

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each experiment; seconds are null if it is done."""
        rows = [
            (*job.key, job.recipe.starts_from,
             self.times[job.key].usual if job.key in self.times else None)
            for job in self.plan.jobs
        ]  # fmt: skip
        schema = {
            "recipe": pl.String, "protocol": pl.String, "seed": pl.Int64,
            "starts_from": pl.String, "seconds": pl.Float64,
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return the experiments, and why others cannot be run."""
        return {
            "cells": self.cells,
            "experiments": self.to_frame().to_dicts(),
            "left_out": [
                {"recipe": name, "protocol": protocol, "seed": seed, "reason": reason}
                for (name, protocol, seed), reason in self.plan.left_out.items()
            ],
        }

    def tables(self) -> list[TextTable]:
        """Return the experiments."""
        rows = [
            (
                job.recipe.name + (" (needed by others)" * (job.recipe.name in self.plan.added)),
                job.protocol,
                str(job.seed),
                job.recipe.starts_from or "",
                duration(self.times[job.key].usual) if job.key in self.times else "done",
            )
            for job in self.plan.jobs
        ]
        columns = ("recipe", "protocol", "seed", "starts from", "about")
        return [TextTable.of(columns, rows)] if rows else []

    def answers(self) -> list[str]:
        """Say what is to do, and how long it takes."""
        said, left_out = [], self.plan.left_out
        for reason in sorted(set(left_out.values())):
            names = sorted({key[0] for key, why in left_out.items() if why == reason})
            said.append(f"not run, {reason}: {', '.join(names)}")
        if left_out:
            said.append("blastscope weights list --weights-dir DIR lists the weights needed.")
        total = sum(time.usual for time in self.times.values())
        most = sum(time.most for time in self.times.values())
        said.append(
            f"{len(self.times)} of {len(self.plan.jobs)} experiments to do on {self.cells:,} "
            f"cells: about {duration(total)}, at most {duration(most)}."
        )
        return said

    def _title(self) -> str:
        return self.answers()[-1]

    def run(
        self,
        jobs: int = 1,
        *,
        track: str | None = None,
        engine: str = LOCAL,
        progress: bool = False,
    ) -> ReproductionResult:
        """Run what is not done yet, ``jobs`` experiments at a time, and report all.

        ``track``: as :func:`blastscope.train` takes it. ``engine`` is ``local``, or ``ray``: each
        experiment is a task of a Ray cluster.

        Raises:
            BlastscopeError: if nothing can be run, or the folder is another study's.
        """
        check_engine(engine, jobs)
        request, plan = self.request, self.plan
        refuse_tracking(track)
        if not plan.jobs:
            reasons = ", ".join(sorted(set(plan.left_out.values())))
            raise BlastscopeError(f"Nothing can be run: {reasons}.")
        with showing("Preparing", progress) as advance:
            prepare_cells(request.data, request.location.out, plan.jobs, advance)
        done: Outcomes[str] = Outcomes()
        seconds = {key: time.usual for key, time in self.times.items()}
        todo = [job for job in plan.jobs if job.key in seconds]
        try:
            with JobsProgress(todo, notice, seconds=seconds, show=progress) as shown:
                run_plan(
                    plan, request.location, _evaluate, jobs, shown.watch, shown.tell, done, engine
                )
        except KeyboardInterrupt:
            notice(f"{report(request, plan, done.failures)} (of what is done so far)")
            raise
        report(request, plan, done.failures)
        track_folder(track, request.location.out, progress)
        failed = {str(key): str(why) for key, why in done.failures.items()}
        return ReproductionResult(
            tuple(over_seeds(request, plan)), done.results, failed, path=request.location.out
        )


@dataclass(frozen=True, eq=False, repr=False)
class ReproductionResult(FolderResult):
    """The report of a reproduction.

    Attributes:
        spread: experiment, split, weighted F1 and AUC over the seeds, if there are several.
        headlines: the metrics in a line, by experiment.
        failed: why experiments failed.
    """

    spread: tuple[tuple[str, str, str, str], ...]
    headlines: dict[Any, str]
    failed: dict[str, str]

    def to_frame(self) -> pl.DataFrame:
        """Return a row for each experiment that was run now."""
        rows = [(*key, line) for key, line in self.headlines.items()]
        schema = ["recipe", "protocol", "seed", "metrics"]
        return pl.DataFrame(rows, schema=schema, orient="row")

    def as_json(self) -> dict[str, Any]:
        """Return what was run now, and what failed."""
        experiments = self.to_frame().to_dicts()
        return {"path": self.written_to, "experiments": experiments, "failed": self.failed}

    def answers(self) -> list[str]:
        """Give the means over seeds."""
        return [
            f"{name}, {protocol}, mean over seeds: weighted F1 {weighted_f1}, AUC {auc}"
            for name, protocol, weighted_f1, auc in self.spread
        ]


def _evaluate(run: Trained, store: Path) -> str:
    found = evaluate_run(run, store)
    return headline(found.part, found.metrics)


def plan_reproduction(
    data: AnyPath,
    *,
    out: AnyPath,
    only: str | None = None,
    protocol: str | None = None,
    seeds: int = 1,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    command: str = "blastscope reproduce",
    progress: Progress = False,
) -> PlanResult:
    """Plan the paper's experiments: what can be run here, in which order, for how long.

    Args:
        data: the folder with the labelled cells.
        out: the study's folder; nothing is written into it.
        only: a pattern of recipe names; what they start from is added.
        protocol: ``image`` or ``subject``; both by default.
        seeds: how many splits and trainings of each experiment.
        settings: settings to change in every recipe, ``{"training.epochs": 3}``.
        device, weights_dir: as :func:`blastscope.train` takes them.
        command: what the report says to type to have it again.
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The plan; ``run`` runs it.

    Raises:
        BlastscopeError: if the pattern fits no recipe, a setting is not known, or the folder is of
            other cells.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise BlastscopeError(f"{protocol!r} is not a protocol of a study: image or subject.")
    location = StudyLocation(Path(out), device, as_path(weights_dir))
    request = ReproductionRequest(
        data=Path(data),
        location=location,
        only=only,
        protocols=(protocol,) if protocol else PROTOCOLS,
        seeds=seeds,
        overrides=tuple(setting_texts(settings)),
        command=command,
    )
    plan = plan_of(request)
    study_folder(request.data, location.out).recorded()
    count = len(list_cells([request.data]).cells)
    todo = [job for job in plan.jobs if not is_done(job, location.out)]
    with showing("Estimating", progress) as advance:
        times = estimate(todo, cells_by_part(count), choose_device(device), advance)
    return PlanResult(request, plan, times, count)


def reproduce(
    data: AnyPath,
    *,
    out: AnyPath,
    only: str | None = None,
    protocol: str | None = None,
    seeds: int = 1,
    jobs: int = 1,
    settings: Settings = (),
    device: str = "auto",
    weights_dir: AnyPath | None = None,
    track: str | None = None,
    engine: str = LOCAL,
    progress: bool = False,
) -> ReproductionResult:
    """Reproduce the paper: run its experiments that are not done yet, and report all.

    If it is interrupted, the same call goes on where it stopped.

    Args:
        data, out, only, protocol, seeds: as :func:`plan_reproduction` takes them.
        jobs: how many experiments to train at a time, each with its share of the cores.
        settings, device, weights_dir: as :func:`plan_reproduction` takes them.
        track: as :func:`blastscope.train` takes it.
        engine: ``local``, or ``ray``: each experiment is a task of a Ray cluster (docs/scale.md).
        progress: show experiments and epochs on standard error.

    Returns:
        The report, and what failed.

    Raises:
        BlastscopeError: as :func:`plan_reproduction`, or if nothing can be run.
    """
    refuse_tracking(track)
    plan = plan_reproduction(
        data, out=out, only=only, protocol=protocol, seeds=seeds, settings=settings,
        device=device, weights_dir=weights_dir, progress=progress,
    )  # fmt: skip
    return plan.run(jobs, track=track, engine=engine, progress=progress)
