"""The models to be explained: finished runs or the members of an ensemble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.data.store import StoreSettings
from blastscope.engines.torch_engine import view_logits
from blastscope.ensemble.combination import Combination
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import name_and_path
from blastscope.explanation.target_layer import GRID, TargetLayerNetwork, open_at_target_layer
from blastscope.io.predictions import marked
from blastscope.models.classifier import Classifier
from blastscope.models.dihedral import view_operations
from blastscope.prediction.members import open_members
from blastscope.training.finished_run import FinishedRun

_MOST = 64
_PIXELS = 2**19
"""Together: 32 images of 128 × 128, 5 of 300 × 300."""


@dataclass(frozen=True)
class ExplainedModel:
    """A network, opened at Grad-CAM's target layer, in evaluation mode and without gradients."""

    name: str  # what it is called in tables and pictures
    run: FinishedRun  # where it comes from
    device: torch.device  # where it computes
    grid: int = GRID  # the fewest positions a side of the target layer's output

    @cached_property
    def classifier(self) -> Classifier:
        """The network; its weights are read when they are first needed."""
        return self.run.classifier().to(self.device).eval().requires_grad_(False)

    @cached_property
    def opened(self) -> TargetLayerNetwork:
        """The same network, opened at the target layer; it shares the classifier's weights."""
        return open_at_target_layer(self.classifier, self.size, self.grid).to(self.device)

    @cached_property
    def parts(self) -> Mapping[str, str]:
        """The split part of each cell in the run's table, by the cell's name."""
        return self.run.recorded("part")

    @property
    def settings(self) -> StoreSettings:
        """How its cells are prepared."""
        return self.run.settings

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return self.run.settings.size

    @property
    def views(self) -> tuple[int, ...]:
        """The operations of ``models.dihedral`` whose mean logit the run predicts with."""
        return view_operations(self.run.recipe.prediction.views)

    @property
    def at_once(self) -> int:
        """How many images pass through the network together, so that memory stays small."""
        return max(1, min(_MOST, _PIXELS // self.size**2))

    def logits(self, images: Iterable[Tensor], tta: bool = True) -> NDArray[np.float64]:
        """Return logits (N,), above zero for ALL, of images that may be made while it works.

        The N images are (3, S, S), RGB, 0..255, on any device. With ``tta`` the logit is the mean
        over the run's views, as in its predictions; otherwise each image is seen in one view.
        """
        views, left = self.views if tta else (0,), iter(images)
        found = [np.zeros(0)]
        while batch := list(islice(left, self.at_once)):
            logits = view_logits(self.classifier, torch.stack(batch).to(self.device), views)
            found.append(logits.double().mean(1).cpu().numpy())
        return np.concatenate(found)


@dataclass(frozen=True)
class ExplainedModels:
    """Models to be explained side by side."""

    models: tuple[ExplainedModel, ...]  # one a panel, in the order given
    # How the models' probabilities become one; None unless an ensemble was given.
    combination: Combination | None
    name: str  # the ensemble's name, or the model's where there is one, or ``N models``
    synthetic: bool  # whether any was trained on synthetic cells


def open_models(
    folders: Sequence[str | Path], device: torch.device, grid: int = GRID, *, as_one: bool = False
) -> ExplainedModels:
    """Open run folders, each perhaps as ``NAME=PATH``, or one ensemble's folder.

    With ``as_one`` several runs are one model, their mean, as ``predict`` takes them.

    Raises:
        BlastscopeError: if one is not a finished run, is stale or unfinished, or two models would
            have the same name.
    """
    named = [name_and_path(text) for text in folders]
    members = open_members([path for _, path in named])
    alone = members.ensemble is not None
    names: list[str | None] = [name for name, _ in named]
    if alone:
        names = list(members.names)
    elif as_one and len(names) > 1:
        alone, names = True, _numbered([run.recipe.name for run in members.runs])
    models = tuple(
        ExplainedModel(marked(name or run.recipe.name, run.synthetic), run, device, grid)
        for name, run in zip(names, members.runs, strict=True)
    )
    _refuse_same_names(models)
    title = members.name if alone or len(models) == 1 else f"{len(models)} models"
    return ExplainedModels(models, members.combination if alone else None, title, members.synthetic)


def _numbered(names: Sequence[str]) -> list[str | None]:
    """Number the names that several runs share."""
    return [
        f"{name} {names[: k + 1].count(name)}" if names.count(name) > 1 else name
        for k, name in enumerate(names)
    ]


def _refuse_same_names(models: Sequence[ExplainedModel]) -> None:
    seen: dict[str, ExplainedModel] = {}
    for model in models:
        other = seen.setdefault(model.name, model)
        if other is model:
            continue
        path, first = model.run.path, other.run.path
        if path.resolve() == first.resolve():
            raise BlastscopeError(f"{path} is given twice: give each model once.")
        raise BlastscopeError(
            f"{first} and {path} are both called '{model.name}': name them apart, "
            f"A={first} B={path}."
        )
