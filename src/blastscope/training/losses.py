"""Losses by the name that a recipe gives them, and what may be added to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from blastscope.errors import BlastscopeError
from blastscope.recipes.training import Focal, FocalLoss
from blastscope.registry import require

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def loss_function(setting: str | FocalLoss) -> Loss:
    """Return the function of logits (N,) and targets (N,) that gives each cell's loss, (N,).

    Raises:
        BlastscopeError: if the name is not registered; later, if the function returns another
            shape.
    """
    if isinstance(setting, FocalLoss):
        return partial(focal_loss, settings=setting.focal)
    name = setting
    own = require("loss", name)
    if own is None:
        return partial(binary_cross_entropy_with_logits, reduction="none")

    def checked(logits: Tensor, targets: Tensor) -> Tensor:
        losses: Tensor = own(logits, targets)
        if losses.shape != targets.shape:
            raise BlastscopeError(
                f"The loss '{name}' returned the shape {tuple(losses.shape)} for "
                f"{len(targets)} cells: return one loss for each cell."
            )
        return losses

    return checked


def focal_loss(logits: Tensor, targets: Tensor, settings: Focal) -> Tensor:
    """Return each cell's focal loss (Lin et al., ICCV 2017, equation 5), (N,).

    A soft target is a share of both classes.
    """
    p = logits.sigmoid()
    blast = -settings.alpha * (1 - p) ** settings.gamma * logsigmoid(logits)
    normal = -(1 - settings.alpha) * p**settings.gamma * logsigmoid(-logits)
    return targets * blast + (1 - targets) * normal


def smoothed(targets: Tensor, smoothing: float | None) -> Tensor:
    """Draw targets of 0 and 1 towards one half (Szegedy et al., CVPR 2016, section 7)."""
    return targets if smoothing is None else targets * (1 - smoothing) + smoothing / 2


def heterogeneity(embeddings: Tensor, is_all: Tensor, subjects: Tensor) -> Tensor:
    """Return the mean over classes of the squared distance between subjects' mean embeddings.

    The distance is the mean over all pairs of subjects of a class; a class of fewer than two
    subjects in the batch counts as 0.

    Args:
        embeddings: (N, D).
        is_all: (N,), whether each cell is ALL.
        subjects: (N,), a number for each subject.
    """
    distances = []
    for of_class in (is_all, ~is_all):
        known = torch.unique(subjects[of_class])
        groups = [embeddings[of_class & (subjects == one)] for one in known]
        if len(groups) < 2:
            distances.append(embeddings.sum() * 0)
            continue
        means = torch.stack([group.mean(0) for group in groups])
        pairs = torch.combinations(torch.arange(len(means), device=means.device))
        distances.append((means[pairs[:, 0]] - means[pairs[:, 1]]).square().sum(1).mean())
    return torch.stack(distances).mean()
