"""What the page of a reproduction shows: experiments, their runs, and figures over the seeds.

A published figure (``recipe.expected``) and a result never meet in one value here: results come
from the ``metrics.json`` and the history of a run, and from nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from blastscope.data.split_table import SplitReport
from blastscope.errors import BlastscopeError
from blastscope.evaluation.spread import Spread
from blastscope.recipes.schema import Recipe
from blastscope.report.reproduction_result import RunResult, read_result
from blastscope.report.text import PROTOCOLS

FAMILIES = {
    "cnn4": "CNN from scratch",
    "vgg16": "VGG16",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
}
"""The paper's families, in its order, by the beginning of the backbone's name."""
BEYOND, OTHER = "Beyond the paper", "Other recipes"


@dataclass(frozen=True)
class Outcome:
    """One experiment under one protocol and seed, run or not.

    Attributes:
        recipe: as it is packaged now, with the overrides that the run was made with, or would
            be.
        protocol: ``image`` or ``subject``.
        seed: of split and training.
        run: the finished and evaluated run folder; None where it was not run.
        reason: where it was not run, why: "no weights here", "left out by --only"...
    """

    recipe: Recipe
    protocol: str
    seed: int
    run: Path | None
    reason: str = ""


@dataclass(frozen=True)
class DataSection:
    """The cells of a study.

    Attributes:
        splits: the report of one split a protocol, that of the first seed.
        balanced: (protocol, training cells per label before balancing, and after).
        figures: (caption, RGB picture as uint8 of shape (height, width, 3)).
        facts: (name, value) pairs.
    """

    splits: Sequence[SplitReport]
    balanced: Sequence[tuple[str, Mapping[str, int], Mapping[str, int]]]
    figures: Sequence[tuple[str, NDArray[np.uint8]]]
    facts: Sequence[tuple[str, str]] = ()


@dataclass
class Experiment:
    """A recipe with all its outcomes.

    Attributes:
        recipe: of the first run, or of the first outcome where none was run.
        results: by protocol, the results in the order of their seeds.
        absent: by protocol, why outcomes are missing, one reason for each.
    """

    recipe: Recipe
    results: dict[str, list[RunResult]] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """The name without its shelf: ``cnn-exp2``."""
        return self.recipe.name.rpartition("/")[2]

    @property
    def anchor(self) -> str:
        """The id of its section on the page."""
        return self.recipe.name.replace("/", "-")

    @property
    def family(self) -> str:
        """The heading that the experiment stands under."""
        if self.recipe.name.startswith("beyond/"):
            return BEYOND
        backbone = self.recipe.model.backbone
        return next((name for key, name in FAMILIES.items() if backbone.startswith(key)), OTHER)

    @property
    def was_run(self) -> bool:
        """Whether there is a result under any protocol."""
        return any(self.results.values())

    @property
    def all_results(self) -> list[RunResult]:
        """The results under every protocol."""
        return [result for results in self.results.values() for result in results]

    def first(self, protocol: str) -> RunResult | None:
        """The result of the first seed."""
        return next(iter(self.results.get(protocol, [])), None)

    def by_settings(self) -> list[list[RunResult]]:
        """The results under every protocol, those with the same settings together."""
        groups: dict[str, list[RunResult]] = {}
        for result in self.all_results:
            groups.setdefault(result.settings, []).append(result)
        return [*groups.values()]

    def alike(self, protocol: str) -> list[RunResult]:
        """The results with the settings of the first seed's, of which alone a mean is made."""
        results = self.results.get(protocol, [])
        return [result for result in results if result.settings == results[0].settings]

    @property
    def comparable(self) -> bool:
        """Whether there are figures under both protocols and they are of the same settings."""
        image, subject = self.first("image"), self.first("subject")
        return bool(image and subject and image.settings == subject.settings)

    def over_seeds(self, protocol: str, key: str) -> Spread | None:
        """A test metric over the seeds run alike; None without one, or undefined in any."""
        values = [result.test[key] for result in self.alike(protocol)]
        return None if None in values else Spread.of(values)

    def gap(self) -> float | None:
        """Mean weighted F1, subject-disjoint minus image-level, over the seeds run under both.

        None where the two were run with other settings.
        """
        if not self.comparable:
            return None
        image, subject = (
            {result.seed: result.test["weighted_f1"] for result in self.alike(protocol)}
            for protocol in ("image", "subject")
        )
        both = sorted(image.keys() & subject.keys())
        return fmean(subject[seed] - image[seed] for seed in both) if both else None

    def published(self, key: str) -> float | None:
        """The paper's figure, which is no result."""
        return getattr(self.recipe.expected, key, None) if self.recipe.expected else None

    def above_published(self) -> float | None:
        """Weighted F1 at image level minus the paper's, whose split was of that kind."""
        own, theirs = self.over_seeds("image", "weighted_f1"), self.published("weighted_f1")
        return None if own is None or theirs is None else own.mean - theirs


def read_experiments(outcomes: Sequence[Outcome]) -> list[Experiment]:
    """Group outcomes by recipe, in the order of the page, and read the runs that there are.

    Raises:
        BlastscopeError: where an outcome is there twice, or a run is not what its outcome says,
            is not evaluated, or has changed since.
    """
    members: dict[str, list[Outcome]] = {}
    seen = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.seed):
        name, protocol = outcome.recipe.name, outcome.protocol
        if protocol not in PROTOCOLS:
            raise BlastscopeError(f"{protocol!r} is no protocol of a reproduction: {[*PROTOCOLS]}.")
        if (name, protocol, outcome.seed) in seen:
            raise BlastscopeError(f"{name} is there twice, {protocol}, seed {outcome.seed}.")
        seen.add((name, protocol, outcome.seed))
        members.setdefault(name, []).append(outcome)
    found = [_experiment(group) for group in members.values()]
    order = [*FAMILIES.values(), BEYOND, OTHER]
    return sorted(found, key=lambda e: (order.index(e.family), _rank(e.short)))


def _experiment(outcomes: Sequence[Outcome]) -> Experiment:
    """Read the outcomes of one recipe, in the order of their seeds."""
    ran = [outcome for outcome in outcomes if outcome.run is not None]
    experiment = Experiment((ran or outcomes)[0].recipe)
    for outcome in outcomes:
        recipe, protocol, seed = outcome.recipe, outcome.protocol, outcome.seed
        if outcome.run is None:
            experiment.absent.setdefault(protocol, []).append(outcome.reason or "no reason given")
        else:
            result = read_result(outcome.run, recipe, protocol, seed)
            experiment.results.setdefault(protocol, []).append(result)
    return experiment


def _rank(short: str) -> tuple[bool, bool, list[str | int], bool]:
    """Sort as the paper tells it: whole bases, cut ones, CLAHE; e2 before e10.

    A first stage, ``...-features``, stands before the experiment that goes on from it.
    """
    words = short.split("-")
    stem = short.removesuffix("-features")
    split = enumerate(re.split(r"([0-9]+)", stem))  # every second part is a number
    parts = [int(part) if at % 2 else part for at, part in split]
    return "cut" in words, "clahe" in words, parts, stem == short
