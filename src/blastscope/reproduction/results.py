"""Read the results of a reproduction: experiments, their runs, and metrics over the seeds.

A published metric (``recipe.expected``) and a result never meet in one value here: results come
from the ``metrics.json`` and the history of a run, and from nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.data.split_table import SplitReport
from blastscope.errors import BlastscopeError
from blastscope.evaluation.result import read_metrics
from blastscope.evaluation.sources import RunNotes, open_source
from blastscope.evaluation.spread import Spread
from blastscope.recipes.schema import Recipe
from blastscope.reproduction.plan import PROTOCOLS

FAMILIES = {
    "cnn4": "CNN from scratch",
    "vgg16": "VGG16",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2",
}
"""The paper's families, in its order, by the beginning of the backbone's name."""
RELATED = "Systems that the paper cites, and their neighbours"
BEYOND, OTHER = "Beyond the paper", "Other recipes"


@dataclass(frozen=True)
class Outcome:
    """One experiment under one protocol and seed, run or not.

    Attributes:
        recipe: as it is packaged now, with the overrides of the run.
        run: the finished and evaluated run folder; None if it was not run.
        reason: why it was not run, such as "not asked for".
        asked: whether this call asked for it.
    """

    recipe: Recipe
    protocol: str
    seed: int
    run: Path | None
    reason: str = ""
    asked: bool = True


@dataclass(frozen=True)
class DataSection:
    """The cells of a reproduction: the report of one split per protocol, and facts about the cells.

    Attributes:
        balanced: (protocol, training cells per label before balancing, and after).
        figures: (caption, RGB picture as uint8 of shape (height, width, 3)).
    """

    splits: Sequence[SplitReport]
    balanced: Sequence[tuple[str, Mapping[str, int], Mapping[str, int]]]
    figures: Sequence[tuple[str, NDArray[np.uint8]]]
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class RunWeights:
    """The file of pretrained weights that a run began with."""

    file: str
    sha256: str

    @property
    def digits(self) -> str:
        """The first 12 hex digits of the file's SHA-256."""
        return self.sha256.removeprefix("sha256:")[:12]


@dataclass(frozen=True)
class RunResult:
    """The result of one evaluated run: the metrics of its test cells, and its own notes.

    Attributes:
        test: the metrics of its test cells.
        intervals: their 95 % intervals, by metric.
        shortcuts: whether it follows the size of cells, as ``metrics.json`` has it.
        notes: history, network and environment of the run.
    """

    run: Path
    recipe: Recipe
    protocol: str
    seed: int
    synthetic: bool
    test: Mapping[str, Any]
    notes: RunNotes
    intervals: Mapping[str, Any] = field(default_factory=dict)
    shortcuts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int | None:
        """The size of its weights; None if they are gone."""
        path = self.run / "checkpoint.safetensors"
        return path.stat().st_size if path.is_file() else None

    @property
    def settings(self) -> str:
        """The settings that decide its result apart from split and seed, as a text to compare."""
        content = self.recipe.experiment
        content["training"].pop("seed")
        return json.dumps(content, sort_keys=True)

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was computed on; empty if it did not record that."""
        return self.notes.environment or {}

    @property
    def seconds(self) -> float | None:
        """Time of the training and of the frozen features, if this run computed them; or None."""
        training, frozen = (self.environment.get(key) for key in ("seconds", "feature_seconds"))
        if not isinstance(training, int | float):
            return None
        return training + (frozen if isinstance(frozen, int | float) else 0)

    @property
    def initial_weights(self) -> RunWeights | None:
        """The file of weights that it began with; None for random or another run's weights."""
        told = self.environment.get("initial_weights")
        if not isinstance(told, dict):
            return None
        file, sha256 = told.get("file"), told.get("sha256")
        if not (isinstance(file, str) and isinstance(sha256, str)):
            return None
        return RunWeights(file, sha256)


def read_result(run: Path, recipe: Recipe, protocol: str, seed: int) -> RunResult:
    """Read an evaluated run, which must be of ``recipe`` and under ``protocol``.

    Raises:
        BlastscopeError: if it is another run, is not evaluated, or has changed since.
    """
    metrics, source = read_metrics(run / "metrics.json"), open_source(run)
    if "test" not in metrics["parts"]:
        raise BlastscopeError(f"{run} has no metrics of test cells: evaluate its test part.")
    identity = (source.notes.environment or {}).get("identity", {})
    if identity.get("recipe", recipe.name) != recipe.name:
        raise BlastscopeError(
            f"{run} is a run of {identity['recipe']}, not of {recipe.name}: move it away."
        )
    if metrics["protocol"] != protocol:
        raise BlastscopeError(
            f"{run} was run under the protocol {metrics['protocol']}, not {protocol}: move it away."
        )
    if metrics["checkpoint"] != source.metadata.get("checkpoint"):
        raise BlastscopeError(f"{run} was trained after it was evaluated: evaluate it again.")
    synthetic, test = bool(metrics["synthetic"]), metrics["parts"]["test"]
    more = [metrics.get(name) or {} for name in ("intervals", "shortcuts")]
    return RunResult(run, recipe, protocol, seed, synthetic, test, source.notes, *more)


@dataclass
class Experiment:
    """A recipe with all its outcomes.

    Attributes:
        recipe: of the first run, or of the first outcome if none was run.
        results: by protocol, the results in the order of their seeds.
        absent: by protocol, why outcomes are missing, one reason each.
        asked: whether the call asked for any outcome.
    """

    recipe: Recipe
    results: dict[str, list[RunResult]] = field(default_factory=dict)
    absent: dict[str, list[str]] = field(default_factory=dict)
    asked: bool = True

    @property
    def short(self) -> str:
        """The name without its folder: ``cnn-exp2``."""
        return self.recipe.name.rpartition("/")[2]

    @property
    def anchor(self) -> str:
        """The HTML id of its section on the page."""
        return self.recipe.name.replace("/", "-")

    @property
    def family(self) -> str:
        """The heading that the experiment stands under."""
        if self.recipe.name.startswith("beyond/"):
            return BEYOND
        if self.recipe.name.startswith("related/"):
            return RELATED
        backbone = self.recipe.model.backbone
        return next((name for key, name in FAMILIES.items() if backbone.startswith(key)), OTHER)

    @property
    def was_run(self) -> bool:
        """Whether there is a result under any protocol."""
        return any(self.results.values())

    @property
    def is_listed(self) -> bool:
        """Whether the tables have a row for it: it was run or asked for."""
        return self.was_run or self.asked

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
        """The results with the settings of the first seed: only these are averaged."""
        results = self.results.get(protocol, [])
        return [result for result in results if result.settings == results[0].settings]

    @property
    def comparable(self) -> bool:
        """Whether there are results under both protocols, with the same settings."""
        image, subject = self.first("image"), self.first("subject")
        return bool(image and subject and image.settings == subject.settings)

    def over_seeds(self, protocol: str, key: str) -> Spread | None:
        """A test metric over the seeds with equal settings; None without one, or if undefined."""
        values = [result.test[key] for result in self.alike(protocol)]
        return None if None in values else Spread.of(values)

    def gap(self) -> float | None:
        """Mean weighted F1, subject-disjoint minus image-level, over the seeds run under both.

        None if the two were run with different settings.
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
        """The metric that the paper published, which is not a result."""
        return getattr(self.recipe.expected, key, None) if self.recipe.expected else None

    def above_published(self) -> float | None:
        """Weighted F1 at image level minus the paper's, which has an image-level split.

        None for other systems: what is published of them is of other cells.
        """
        if self.family == RELATED:
            return None
        own, theirs = self.over_seeds("image", "weighted_f1"), self.published("weighted_f1")
        return None if own is None or theirs is None else own.mean - theirs


def read_experiments(outcomes: Sequence[Outcome]) -> list[Experiment]:
    """Group outcomes by recipe, in the order of the page, and read the runs that there are.

    Raises:
        BlastscopeError: if an outcome is listed twice, or a run is not that of its outcome, is not
            evaluated, or has changed since.
    """
    members: dict[str, list[Outcome]] = {}
    seen = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.seed):
        name, protocol = outcome.recipe.name, outcome.protocol
        if protocol not in PROTOCOLS:
            raise BlastscopeError(
                f"{protocol!r} is not a protocol of a reproduction: choose of {[*PROTOCOLS]}."
            )
        if (name, protocol, outcome.seed) in seen:
            raise BlastscopeError(f"{name} is listed twice, {protocol}, seed {outcome.seed}.")
        seen.add((name, protocol, outcome.seed))
        members.setdefault(name, []).append(outcome)
    found = [_experiment(group) for group in members.values()]
    order = [*FAMILIES.values(), RELATED, BEYOND, OTHER]
    return sorted(found, key=lambda e: (order.index(e.family), _rank(e.short)))


def _experiment(outcomes: Sequence[Outcome]) -> Experiment:
    """Read the outcomes of one recipe, in the order of their seeds."""
    ran = [one for one in outcomes if one.run is not None]
    asked = any(one.asked for one in outcomes)
    experiment = Experiment((ran or outcomes)[0].recipe, asked=asked)
    for one in outcomes:
        if one.run is None:
            experiment.absent.setdefault(one.protocol, []).append(one.reason or "no reason given")
        else:
            result = read_result(one.run, one.recipe, one.protocol, one.seed)
            experiment.results.setdefault(one.protocol, []).append(result)
    return experiment


def _rank(short: str) -> tuple[bool, bool, list[str | int], bool]:
    """Sort in the order of the paper: whole backbones, cut ones, CLAHE; e2 before e10.

    A first stage, ``...-features``, comes before the experiment that continues it.
    """
    words = short.split("-")
    stem = short.removesuffix("-features")
    split = enumerate(re.split(r"([0-9]+)", stem))  # every second part is a number
    parts = [int(part) if at % 2 else part for at, part in split]
    return "cut" in words, "clahe" in words, parts, stem == short
