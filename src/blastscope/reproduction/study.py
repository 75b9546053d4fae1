"""A study: its request and its plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from blastscope.recipes.schema import Recipe
from blastscope.reproduction.plan import PROTOCOLS, StudyPlan, make_plan
from blastscope.reproduction.runner import StudyLocation


@dataclass(frozen=True)
class ReproductionRequest:
    """A request for a study; ``overrides`` change every recipe, ``command`` repeats the study."""

    data: Path
    place: StudyLocation
    only: str | None = None
    protocols: tuple[str, ...] = PROTOCOLS
    seeds: int = 1
    overrides: tuple[str, ...] = ()
    command: str = "blastscope reproduce"


def plan_of(order: ReproductionRequest) -> StudyPlan:
    """Plan a study: which experiments can be run here, and in which order."""
    at_hand = _weights_at_hand(order.place.weights_dir)
    return make_plan(order.only, order.protocols, order.seeds, order.overrides, at_hand)


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
        except RuntimeError:  # no such tag of the network
            config = None
        if config is None:  # building the network says so
            return ""
        known: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
        return "" if weights_at_hand(known, weights_dir) else "no weights here"

    return lambda recipe: missing(recipe.model.backbone) if recipe.model.weights != "none" else ""
