"""Losses by the name that a recipe gives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from blastscope.errors import BlastscopeError
from blastscope.registry import require

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def loss_function(name: str) -> Loss:
    """Return the function of logits (N,) and targets (N,) that gives each cell's loss, (N,).

    Raises:
        BlastscopeError: if the name is not registered; later, if the function returns another
            shape.
    """
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
