"""A study: its request and its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.reproduction.plan import PROTOCOLS, StudyPlan, make_plan
from blastscope.reproduction.runner import StudyLocation


@dataclass(frozen=True)
class ReproductionRequest:
    """A request for a study; ``overrides`` change every recipe, ``command`` repeats the study."""

    data: Path
    location: StudyLocation
    only: str | None = None
    protocols: tuple[str, ...] = PROTOCOLS
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    command: str = "blastscope reproduce"


def plan_of(request: ReproductionRequest) -> StudyPlan:
    """Plan a study: which experiments can be run here, and in which order."""
    at_hand = _weights_at_hand(request.location.weights_dir)
    return make_plan(request.only, request.protocols, request.seeds, request.overrides, at_hand)


def cells_by_part(count: int) -> dict[str, int]:
    """Return about how many of ``count`` cells are in each part of a split."""
    fifth = count // 5
    return {"train": count - 2 * fifth, "validation": fifth, "test": fifth}


def _weights_at_hand(weights_dir: Path | None) -> Callable[[Recipe], str]:
    from blastscope.models.pretrained import network_config, weights_at_hand

    @cache
    def missing(backbone: str, cut: str | None) -> str:
        known = network_config(backbone)
        if known is None:  # building the network says so
            return ""
        return "" if weights_at_hand(known, weights_dir, cut) else "no weights here"

    def of(recipe: Recipe) -> str:
        model = recipe.model
        if model.weights == AVERAGED:
            return "a mean of runs, see train --average"
        if recipe.training.distillation:
            return "needs teachers, see train --teacher"
        return missing(model.backbone, model.cut) if model.weights != "none" else ""

    return of
