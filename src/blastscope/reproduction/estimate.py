"""Estimate how long a plan takes: operations are counted, speed is measured.

Every network is counted on torch's ``meta`` device, which computes nothing, and timed once on a few
images per backbone. A frozen part runs once per cell; the rest three times forward's cost for each
training cell and epoch (forward, and a backward of twice that), and once for validation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from blastscope.models.classifier import Classifier, build_model
from blastscope.models.dihedral import VIEWS
from blastscope.models.frozen_split import split_unchecked
from blastscope.recipes.schema import Input, Recipe
from blastscope.reproduction.plan import StudyJob

USUAL_EPOCHS = 13
"""The median of the paper: the 8th epoch was the best, and five epochs of patience followed."""
_IMAGES = 8
_A_BATCH, _A_JOB = 0.003, 5.0
"""Seconds that a batch and a job take with any network: loop, plots, report."""


@dataclass(frozen=True)
class CellCost:
    """The time for one cell, in seconds, by the part of the network."""

    frozen: float
    trained: float
    boundary: str
    """Where the frozen backbone ends: jobs with the same boundary share its cached features."""


@dataclass(frozen=True)
class DurationEstimate:
    """Seconds for a job: usually, and if it runs to its last epoch."""

    usual: float
    most: float


def estimate(
    jobs: Sequence[StudyJob],
    cells: Mapping[str, int],
    device: torch.device,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[tuple[str, str, int], DurationEstimate]:
    """Estimate the seconds of each job of a plan, in its order.

    ``cells`` are roughly those of ``train``, ``validation`` and ``test``.
    """
    costs: dict[str, CellCost] = {}
    speeds: dict[tuple[str, int], float] = {}
    computed: set[tuple[str, Input]] = set()
    found = {}
    for number, job in enumerate(jobs, start=1):
        structure = structure_of(job.recipe)
        if structure not in costs:
            costs[structure] = cost_of(job.recipe, device, speeds)
        shared = (costs[structure].boundary, job.recipe.input)
        found[job.key] = _of_job(job.recipe, costs[structure], cells, shared in computed)
        computed.add(shared)
        if on_progress:
            on_progress(number, len(jobs))
    return found


def structure_of(recipe: Recipe) -> str:
    """Return what decides the cost of a network; the layers of a head hardly matter."""
    model = recipe.model
    return repr((model.backbone, model.cut, model.trainable, model.head[0], recipe.input.size))


def _of_job(
    recipe: Recipe, cost: CellCost, cells: Mapping[str, int], computed: bool
) -> DurationEstimate:
    known = cells["train"] + cells["validation"] + cells["test"]
    views = VIEWS if recipe.training.dihedral else 1
    once = cost.trained * known
    if not computed:
        once += cost.frozen * (known + (views - 1) * cells["train"])
    batches = (cells["train"] + cells["validation"]) / recipe.training.batch
    epoch = cost.trained * (3 * cells["train"] + cells["validation"]) + _A_BATCH * batches
    once += _A_JOB
    epochs = recipe.training.epochs
    return DurationEstimate(once + epoch * min(epochs, USUAL_EPOCHS), once + epoch * epochs)


def cost_of(recipe: Recipe, device: torch.device, speeds: dict[tuple[str, int], float]) -> CellCost:
    """Count the operations of a network and time one with the same backbone.

    ``speeds`` are seconds per operation by backbone and size; missing ones are measured and added.
    """
    size = recipe.input.size
    with torch.device("meta"):
        classifier = build_model(recipe, pretrained=False).eval()
    split = split_unchecked(classifier)
    whole = _operations(classifier, size)
    key = (recipe.model.backbone, size)
    if key not in speeds:
        plain = recipe.model.model_copy(update={"cut": None, "trainable": "all"})
        real = build_model(recipe.model_copy(update={"model": plain}), pretrained=False).eval()
        speeds[key] = _seconds_an_image(real, size, device) / _operations(real, size)
    frozen = _operations(split.frozen, size) if split else 0
    description = split.description if split else ""
    return CellCost(frozen * speeds[key], (whole - frozen) * speeds[key], description)


def _operations(module: nn.Module, size: int) -> int:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, size, size, device=device))
    return int(counter.get_total_flops())


def _seconds_an_image(classifier: Classifier, size: int, device: torch.device) -> float:
    network: Any = classifier.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images: Tensor = torch.zeros(_IMAGES, 3, size, size, dtype=torch.uint8, device=device)
    with torch.inference_mode():
        network(images)  # warm-up: the first pass is slower
        began = time.perf_counter()
        float(network(images).sum())  # waits for a GPU
    return (time.perf_counter() - began) / _IMAGES
