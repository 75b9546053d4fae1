"""A study as a whole: its request, its plan and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from blastscope.experiments.runner import Failure
from blastscope.io.files import write_text
from blastscope.io.workfolder import refuse_foreign
from blastscope.recipes.schema import Recipe
from blastscope.reproduction.outcomes import outcomes
from blastscope.reproduction.plan import PROTOCOLS, StudyPlan, make_plan
from blastscope.reproduction.runner import StudyLocation


@dataclass(frozen=True)
class ReproductionRequest:
    """A request for a study.

    Attributes:
        data: the folder of labelled cells.
        place: its folder and device.
        only: a pattern of recipe names.
        protocols: how cells are split.
        seeds: how many splits and trainings of each.
        overrides: settings that are changed in every recipe.
        command: the command that repeats it.
    """

    data: Path
    place: StudyLocation
    only: str | None = None
    protocols: tuple[str, ...] = PROTOCOLS
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    command: str = "blastscope reproduce"


def plan_of(order: ReproductionRequest) -> StudyPlan:
    """Plan a study: which experiments can be run here, and in which order.

    Raises:
        BlastscopeError: if the pattern fits no recipe or a setting is not known.
    """
    at_hand = _weights_at_hand(order.place.weights_dir)
    return make_plan(order.only, order.protocols, order.seeds, order.overrides, at_hand)


def report(
    order: ReproductionRequest, plan: StudyPlan, failures: Mapping[Any, Failure] | None = None
) -> Path:
    """Write ``report.html`` and ``results.md`` of the results so far; return the page.

    Raises:
        BlastscopeError: if ``out`` is not a study's folder, has no store or cannot be written.
    """
    from blastscope.report.reproduction_page import results_markdown, write_reproduction
    from blastscope.reproduction.study_cells import data_section
    from blastscope.reproduction.study_folder import MARKER

    out = order.place.out
    refuse_foreign(out, MARKER)
    # The page says of every experiment whether it can be run here, also if it was not requested:
    # then with the settings of the package, because those of this call may not fit it.
    whole = plan_of(replace(order, only=None, protocols=PROTOCOLS, overrides=()))
    planned = {job.key for job in plan.jobs}
    packaged = {key: why for key, why in whole.left_out.items() if key not in planned}
    failed = {key: str(failure) for key, failure in (failures or {}).items()}
    reasons = {**packaged, **plan.left_out, **failed}
    found = outcomes(out, plan, order.overrides, reasons)
    data, synthetic = data_section(order.data, out, PROTOCOLS, plan.jobs)
    write_reproduction(found, data, out, synthetic=synthetic, command=order.command)
    write_text(out / "results.md", results_markdown(found))
    return out / "report.html"


def over_seeds(order: ReproductionRequest, plan: StudyPlan) -> list[tuple[str, str, str, str]]:
    """Rows of experiment, split, weighted F1 and AUC: mean ± standard deviation over the seeds.

    Of the results so far; each seed is a split and a training of its own.

    Raises:
        BlastscopeError: if a run does not fit its records.
    """
    from blastscope.report.text import protocol_name, spread
    from blastscope.reproduction.results import read_experiments

    return [
        (
            experiment.recipe.name,
            protocol_name(protocol),
            spread(experiment.over_seeds(protocol, "weighted_f1"), count=True),
            spread(experiment.over_seeds(protocol, "auc"), count=True),
        )
        for experiment in read_experiments(outcomes(order.place.out, plan, order.overrides))
        for protocol, results in experiment.results.items()
        if len(results) > 1
    ]


def cells_by_part(count: int) -> dict[str, int]:
    """Return about how many of ``count`` cells are in each part of a split."""
    fifth = count // 5
    return {"train": count - 2 * fifth, "validation": fifth, "test": fifth}


def _weights_at_hand(weights_dir: Path | None) -> Callable[[Recipe], str]:
    import timm

    from blastscope.models.pretrained import weights_at_hand

    @cache
    def missing(backbone: str) -> str:
        try:
            config = timm.get_pretrained_cfg(backbone)
        except RuntimeError:  # no such tag of the network: building it says so
            return ""
        if config is None:  # no such network: building it says so
            return ""
        known: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
        return "" if weights_at_hand(known, weights_dir) else "no weights here"

    return lambda recipe: missing(recipe.model.backbone) if recipe.model.weights != "none" else ""
