"""The models to be explained: finished runs, or an ensemble's members, opened and ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.data.store import StoreSettings
from blastscope.engines.torch_engine import view_logits
from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import part_name
from blastscope.explanation.target_layer import GRID, Opened, open_classifier
from blastscope.io.predictions import SYNTHETIC_MARK, read_predictions
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import count_views
from blastscope.prediction.members import open_members
from blastscope.training.finished_run import FinishedRun
from blastscope.training.run_folder import RunFolder


@dataclass(frozen=True)
class ExplainedModel:
    """A network, opened where Grad-CAM reads it, in evaluation mode and without gradients.

    Attributes:
        name: what it is called in tables and pictures.
        run: where it comes from.
        device: where it computes.
        grid: the fewest fields a side of the map that Grad-CAM reads.
    """

    name: str
    run: FinishedRun
    device: torch.device
    grid: int = GRID

    @cached_property
    def classifier(self) -> Classifier:
        """The network, its weights read when they are first asked for."""
        return self.run.classifier().to(self.device).eval().requires_grad_(False)

    @cached_property
    def opened(self) -> Opened:
        """The same network, opened; it shares the classifier's weights."""
        return open_classifier(self.classifier, self.size, self.grid).to(self.device)

    @cached_property
    def parts(self) -> Mapping[str, str]:
        """The part of the run's split that each cell is in, by name; other cells are in none."""
        path = RunFolder(self.run.path).predictions
        if not path.is_file():
            return {}
        return dict(read_predictions(path)[0].select("cell", "part").iter_rows())

    @property
    def settings(self) -> StoreSettings:
        """How its cells are prepared."""
        return self.run.settings

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return self.run.settings.size

    @property
    def views(self) -> range:
        """The operations of ``models.dihedral`` whose mean logit the run predicts with."""
        return range(count_views(self.run.recipe.prediction.views))

    def logits(self, images: Tensor, every_view: bool = True) -> NDArray[np.float64]:
        """Return logits (N,) of images (N, 3, S, S); above zero for ALL.

        Args:
            images: RGB, 0..255, on any device.
            every_view: average over the run's views, as its predictions do; otherwise each image
                is seen once, as it lies.
        """
        views = len(self.views) if every_view else 1
        logits = view_logits(self.classifier, images.to(self.device), views)
        return np.asarray(logits.double().mean(1).cpu().numpy())


@dataclass(frozen=True)
class ExplainedModels:
    """Models to be explained side by side.

    Attributes:
        models: one a panel, in the order given.
        combination: how the models' probabilities become one; None unless an ensemble was given.
        name: the ensemble's name, or the model's where there is one, or ``N models``.
        synthetic: whether any was trained on synthetic cells.
    """

    models: tuple[ExplainedModel, ...]
    combination: Combination | None
    name: str
    synthetic: bool


def open_models(
    given: Sequence[str | Path], device: torch.device, grid: int = GRID
) -> ExplainedModels:
    """Open run folders, each perhaps as ``NAME=PATH``, or one ensemble's folder.

    Raises:
        BlastscopeError: where one is no finished run, is stale or unfinished, or two models would
            have the same name.
    """
    named = [part_name(text) for text in given]
    voters = open_members([path for _, path in named])
    alone = voters.ensemble is not None
    names: list[str | None] = [name for name, _ in named]
    if alone:
        names = list(voters.names)
    models = tuple(
        ExplainedModel(_shown(name, run), run, device, grid)
        for name, run in zip(names, voters.runs, strict=True)
    )
    _refuse_same_names(models)
    title = voters.name if alone or len(models) == 1 else f"{len(models)} models"
    return ExplainedModels(models, voters.combination if alone else None, title, voters.synthetic)


def _shown(name: str | None, run: FinishedRun) -> str:
    shown = name or run.recipe.name
    marked = shown.endswith(SYNTHETIC_MARK) or not run.synthetic
    return shown if marked else shown + SYNTHETIC_MARK


def _refuse_same_names(models: Sequence[ExplainedModel]) -> None:
    seen: dict[str, Path] = {}
    for model in models:
        path = model.run.path
        if model.name in seen and seen[model.name].resolve() == path.resolve():
            raise BlastscopeError(f"{path} is given twice: give each model once.")
        if model.name in seen:
            first = seen[model.name]
            raise BlastscopeError(
                f"{first} and {path} are both called '{model.name}': name them apart, "
                f"A={first} B={path}."
            )
        seen[model.name] = path
