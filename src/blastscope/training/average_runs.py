"""Model soups: one network whose weights are the mean of those of several finished runs.

Wortsman et al. 2022 (Model soups, arXiv 2203.05482) average networks that were fine-tuned from the
same pretrained weights; Ramé et al. 2022 (DiWA, arXiv 2205.09739) find that such a mean holds
better on domains that training has not seen. Networks that began with different random weights
cannot be averaged. The statistics of batch normalization are those of no run, so they are computed
anew (:mod:`blastscope.training.weight_averaging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.models.classifier import Classifier
from blastscope.recipes.library import read_recipe
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.initial_run import first_weights, load_run, misfit
from blastscope.training.run_folder import RunFolder


def refuse_without_runs(recipe: Recipe, runs: Sequence[Path]) -> None:
    """Refuse a recipe that averages runs and has none, or the other way round.

    Raises:
        BlastscopeError: if ``model.weights`` and the number of runs do not fit each other.
    """
    averages = recipe.model.weights == AVERAGED
    if averages and len(runs) < 2:
        raise BlastscopeError(
            f"{recipe.name} is the mean of the weights of finished runs: give two or more with "
            "--average."
        )
    if runs and not averages:
        raise BlastscopeError(
            f"{recipe.name} averages no runs: leave --average out, or give --set "
            f"model.weights={AVERAGED} --set training.epochs=0."
        )


def refuse_without_effect(
    recipe: Recipe, teachers: Sequence[Path] = (), pseudo_labels: Sequence[Path] = ()
) -> None:
    """Refuse what a training would learn from if the recipe is a mean of runs.

    Raises:
        BlastscopeError: if it is one, and there are teachers or pseudo-labels.
    """
    for option, given in (("--teacher", teachers), ("--pseudo-labels", pseudo_labels)):
        if given and recipe.model.weights == AVERAGED:
            raise BlastscopeError(
                f"{recipe.name} is a mean of runs and is not trained, so {option} has no effect: "
                "leave it out."
            )


@dataclass(frozen=True)
class RunsToAverage:
    """Runs that can be averaged: the ``sha256:`` of their checkpoints, and what all began with."""

    paths: tuple[Path, ...]
    hashes: list[str]
    initial_weights: dict[str, Any]


def runs_to_average(
    recipe: Recipe, runs: Sequence[Path], identity: dict[str, Any]
) -> RunsToAverage:
    """Check that runs can be averaged.

    Args:
        recipe: the recipe of the mean.
        identity: of the mean; its store and split must be theirs.

    Raises:
        BlastscopeError: if one is not a finished run, was trained on another store or split or
            with pseudo-labels, has another input or network, is given twice, or did not begin with
            the pretrained weights of the others.
    """
    hashes: list[str] = []
    begun_with: dict[Path, dict[str, Any]] = {}
    for run in runs:
        reason = misfit(run, None, identity)
        if reason:
            raise BlastscopeError(f"{run} {reason}: give finished runs of this store and split.")
        folder = RunFolder(run)
        _refuse_other_network(run, read_recipe(folder.recipe), recipe)
        begun_with[run] = first_weights(run)
        hashes.append(str(read_json(folder.environment)["checkpoint"]))
    if len(set(hashes)) < len(hashes):
        raise BlastscopeError("A run to average was given twice: give each once.")
    first = begun_with[runs[0]]
    for run, weights in begun_with.items():
        if not weights:
            raise BlastscopeError(
                f"{run} began with random weights: only runs that began with the same pretrained "
                "weights can be averaged."
            )
        if weights.get("sha256") != first.get("sha256"):
            raise BlastscopeError(
                f"{run} and {runs[0]} began with different weights: only runs that began with the "
                "same pretrained weights can be averaged."
            )
    return RunsToAverage(tuple(runs), hashes, first)


def _refuse_other_network(run: Path, theirs: Recipe, recipe: Recipe) -> None:
    """Refuse a run with another input or network; a term of size does not belong to its weights."""
    if theirs.input != recipe.input:
        raise BlastscopeError(
            f"{run} prepares its cells differently from {recipe.name}: give runs with the same "
            "settings of input."
        )
    own, mean = (one.model.model_dump(exclude={"weights", "size_term"}) for one in (theirs, recipe))
    other = [name for name in own if own[name] != mean[name]]
    if other:
        raise BlastscopeError(
            f"{run} has another network than {recipe.name} (model.{', model.'.join(other)}): give "
            "runs with the same settings of model."
        )


def load_mean(classifier: Classifier, runs: Sequence[Path]) -> None:
    """Fill a network with the mean of the weights of runs, summed in double precision.

    Raises:
        BlastscopeError: if a run has another network, or other statistics in batch normalization
            that is frozen.
    """
    mean: dict[str, torch.Tensor] = {}
    kept: list[torch.Tensor] = []
    for run in runs:
        load_run(classifier, run, "the mean")
        theirs = [
            one.detach().clone() for part in classifier.kept_in_evaluation for one in part.buffers()
        ]
        kept = kept or theirs
        if not all(map(torch.equal, kept, theirs)):
            raise BlastscopeError(
                f"{run} and {runs[0]} have different statistics in batch normalization that is "
                "frozen, which cannot be averaged: give runs that began with the same ones."
            )
        for name, weight in classifier.named_parameters():
            share = weight.detach().double() / len(runs)
            mean[name] = mean[name] + share if name in mean else share
    with torch.no_grad():
        for name, weight in classifier.named_parameters():
            weight.copy_(mean[name])
