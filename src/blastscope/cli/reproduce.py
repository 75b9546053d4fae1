"""``blastscope reproduce``: every experiment of the paper, run and reported."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device, Settings, WeightsDir
from blastscope.cli.output import print_table, say

if TYPE_CHECKING:
    from blastscope.reproduction.plan import StudyPlan
    from blastscope.reproduction.study import ReproductionRequest
    from blastscope.training.train import Trained


def reproduce(
    data: Annotated[Path, typer.Option(help="The folder with the labelled cells.", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="The study's folder.", metavar="DIR")],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Which recipes: 'paper/vgg16-*', 'cnn-*'. What they start from is added.",
        ),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="image or subject; both without it.", metavar="NAME")
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="How many splits and trainings of each experiment.", min=1)
    ] = 1,
    jobs: Annotated[
        int, typer.Option(help="How many to train at a time, each with its share of cores.", min=1)
    ] = 1,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done, and stop.")] = False,
    settings: Settings = None,
    device: Device = "auto",
    weights_dir: WeightsDir = None,
) -> None:
    """Run the paper's experiments, those that are not done yet, and report them in one page.

    Interrupted, it goes on when the same command is given again.
    """
    from blastscope.errors import BlastscopeError
    from blastscope.reproduction.plan import PROTOCOLS
    from blastscope.reproduction.runner import StudyLocation
    from blastscope.reproduction.study import ReproductionRequest, plan_of
    from blastscope.reproduction.study_folder import study_folder

    if protocol is not None and protocol not in PROTOCOLS:
        raise BlastscopeError(f"{protocol!r} is no protocol of a study: image or subject.")
    order = ReproductionRequest(
        data=data,
        place=StudyLocation(out, device, weights_dir),
        only=only,
        protocols=(protocol,) if protocol else PROTOCOLS,
        seeds=seeds,
        overrides=tuple(settings or ()),
        command=shlex.join(["blastscope", *sys.argv[1:]]),
    )
    planned = plan_of(order)
    study_folder(data, out).recorded()
    left = _show_plan(order, planned)
    if not plan:
        _run(order, planned, jobs, left)


def _show_plan(order: ReproductionRequest, plan: StudyPlan) -> dict[tuple[str, str, int], float]:
    """Print the plan; return the seconds that each job will take, those that are done left out."""
    from blastscope.data.layouts import list_cells
    from blastscope.engines.torch_engine import choose_device
    from blastscope.experiments.progress import duration
    from blastscope.parallel import progress_total
    from blastscope.reproduction.estimate import estimate
    from blastscope.reproduction.outcomes import is_done
    from blastscope.reproduction.study import cells_by_part

    count = len(list_cells([order.data]).cells)
    todo = [job for job in plan.jobs if not is_done(job, order.place.out)]
    with progress_total("Estimating") as advance:
        times = estimate(todo, cells_by_part(count), choose_device(order.place.device), advance)
    rows = [
        (
            job.recipe.name + (" (needed by others)" if job.recipe.name in plan.added else ""),
            job.protocol,
            str(job.seed),
            job.recipe.starts_from or "",
            duration(times[job.key].usual) if job.key in times else "done",
        )
        for job in plan.jobs
    ]
    if rows:
        print_table(("recipe", "protocol", "seed", "starts from", "about"), rows)
    for reason in sorted(set(plan.left_out.values())):
        names = sorted({key[0] for key, why in plan.left_out.items() if why == reason})
        say(f"not run, {reason}: {', '.join(names)}")
    if plan.left_out:
        say("blastscope weights list --weights-dir DIR says which weights are wanted.")
    total = sum(time.usual for time in times.values())
    most = sum(time.most for time in times.values())
    say(
        f"{len(todo)} of {len(plan.jobs)} experiments to do on {count:,} cells: about "
        f"{duration(total)}, at most {duration(most)}."
    )
    return {key: time.usual for key, time in times.items()}


def _run(
    order: ReproductionRequest, plan: StudyPlan, jobs: int, left: dict[tuple[str, str, int], float]
) -> None:
    from blastscope.errors import BlastscopeError
    from blastscope.experiments.progress import JobsProgress
    from blastscope.experiments.runner import Outcomes
    from blastscope.parallel import progress_total
    from blastscope.reproduction.runner import run_plan
    from blastscope.reproduction.study import over_seeds, report
    from blastscope.reproduction.study_cells import prepare_cells

    if not plan.jobs:
        raise BlastscopeError(
            f"Nothing can be run: {', '.join(sorted(set(plan.left_out.values())))}."
        )
    with progress_total("Preparing") as advance:
        prepare_cells(order.data, order.place.out, plan.jobs, advance)
    done: Outcomes[str] = Outcomes()
    todo = [job for job in plan.jobs if job.key in left]
    try:
        with JobsProgress(todo, say, seconds=left) as progress:
            run_plan(plan, order.place, _evaluate, jobs, progress.watch, progress.tell, done)
    except KeyboardInterrupt:
        say(f"{report(order, plan, done.failures)} (of what is done so far)")
        raise
    page = report(order, plan, done.failures)
    for name, protocol, weighted_f1, auc in over_seeds(order, plan):
        say(f"{name}, {protocol}, mean over seeds: weighted F1 {weighted_f1}, AUC {auc}")
    say(f"{page}")
    if done.failures:
        raise BlastscopeError(f"{len(done.failures)} experiments failed: the report says why.")


def _evaluate(run: Trained, store: Path) -> str:
    from blastscope.api.evaluate import evaluate

    return str(evaluate(run.path, run.part, out=run.path, store=store).headline)
