"""One evaluated run of a reproduction: its figures, its settings, what it began with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.evaluation.result import read_metrics
from blastscope.evaluation.sources import RunNotes, open_source
from blastscope.recipes.schema import Recipe
from blastscope.report.plots import best_epoch
from blastscope.report.text import protocol_name


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
    """What one evaluated run found: metrics of its test cells, and its own notes.

    Attributes:
        run: its folder.
        recipe: with the settings that it was made with.
        protocol: ``image`` or ``subject``.
        seed: of split and training.
        synthetic: whether its cells are.
        test: the metrics of its test cells.
        notes: what lies beside them.
    """

    run: Path
    recipe: Recipe
    protocol: str
    seed: int
    synthetic: bool
    test: Mapping[str, Any]
    notes: RunNotes

    @property
    def name(self) -> str:
        """What tells it from the experiment's other runs, in words."""
        return f"{protocol_name(self.protocol)}, seed {self.seed}"

    @property
    def settings(self) -> str:
        """What decides its outcome beside split and seed, as a text to compare."""
        content = self.recipe.experiment
        content["training"].pop("seed")
        return json.dumps(content, sort_keys=True)

    @property
    def figures(self) -> dict[str, float | None]:
        """Test metrics, and loss and accuracy at the epoch of the lowest validation loss."""
        best = best_epoch(self.notes.history) if self.notes.history is not None else None
        return {**self.test, **(best or {})}

    @property
    def environment(self) -> dict[str, Any]:
        """What the run was computed on; empty where it does not say."""
        return self.notes.environment or {}

    @property
    def seconds(self) -> float | None:
        """Time of the training and of what is frozen, where this run computed that; or unknown."""
        training, frozen = (self.environment.get(key) for key in ("seconds", "feature_seconds"))
        if not isinstance(training, int | float):
            return None
        return training + (frozen if isinstance(frozen, int | float) else 0)

    @property
    def initial_weights(self) -> RunWeights | None:
        """What it says of the file that it began with; None for random or another run's weights."""
        told = self.environment.get("initial_weights")
        if not isinstance(told, dict):
            return None
        file, sha256 = told.get("file"), told.get("sha256")
        if not (isinstance(file, str) and isinstance(sha256, str)):
            return None
        return RunWeights(file, sha256)


def read_result(run: Path, recipe: Recipe, protocol: str, seed: int) -> RunResult:
    """Read an evaluated run.

    Args:
        run: its folder.
        recipe: that it is said to be of, with its settings.
        protocol: that it is said to be under.
        seed: of split and training.

    Raises:
        BlastscopeError: where it is a run of something else, not evaluated, or changed since.
    """
    metrics, source = read_metrics(run / "metrics.json"), open_source(run)
    if "test" not in metrics["parts"]:
        raise BlastscopeError(f"{run} has no figures for test cells: evaluate its test part.")
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
    return RunResult(run, recipe, protocol, seed, synthetic, test, source.notes)
