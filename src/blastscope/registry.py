"""Networks, losses and augmentations of your own, under names that a recipe may use.

Nothing here imports PyTorch. A package may announce its registrations to the command line and to
worker processes by an entry point of the group ``blastscope``: the module that it names is imported
when a recipe uses a name that is not registered yet.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from blastscope.errors import BlastscopeError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    MakeNetwork: TypeAlias = Callable[[int], nn.Module]
    Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
    Augmentation: TypeAlias = Callable[[Tensor, np.random.Generator], Tensor]

Function = TypeVar("Function", bound=Callable[..., Any])

GROUP = "blastscope"
"""The group of entry points of packages that register something."""

BUILT_IN = {
    "network": ("cnn4", "cnn4-small", "sdct"),
    "loss": ("bce",),
    "augmentation": (
        *("none", "dihedral", "strong", "rescaled", "strong-rescaled"),
        *("rand-stain", "rand-stain-rescaled", "stain-exchange", "stain-exchange-rescaled"),
    ),
}
"""The names that blastscope itself gives; a network may have one of timm's names as well."""

_registered: dict[str, dict[str, Callable[..., Any]]] = {kind: {} for kind in BUILT_IN}


def register_network(name: str) -> Callable[[Function], Function]:
    """Register a backbone for ``model.backbone``; recipes write ``weights: none`` with it.

    The decorated function takes the side of the images in pixels and returns a module that maps
    normalized images (N, 3, S, S) to a feature map (N, C, H, W). The recipe's head comes after it.

    Args:
        name: the name in recipes, neither built in nor that of another function.

    Returns:
        The decorator.

    Raises:
        BlastscopeError: if the name is taken.
    """
    return _decorator("network", name)


def register_loss(name: str) -> Callable[[Function], Function]:
    """Register a loss for ``training.loss``.

    The decorated function takes logits (N,) and targets (N,), 1 for ALL and 0 for normal, and
    returns the loss of each cell, (N,). Class weights are applied to its result.

    Args:
        name: the name in recipes, neither built in nor that of another function.

    Returns:
        The decorator.

    Raises:
        BlastscopeError: if the name is taken.
    """
    return _decorator("loss", name)


def register_augmentation(name: str) -> Callable[[Function], Function]:
    """Register an augmentation for ``training.augmentation``.

    The decorated function takes a batch of training cells (N, 3, S, S), uint8 RGB on black, and a
    NumPy generator, and returns a tensor of the same shape and type. All random numbers must come
    from the generator, or a resumed training differs from an uninterrupted one.

    Args:
        name: the name in recipes, neither built in nor that of another function.

    Returns:
        The decorator.

    Raises:
        BlastscopeError: if the name is taken.
    """
    return _decorator("augmentation", name)


def find(kind: str, name: str) -> Callable[..., Any] | None:
    """Return what is registered as a ``network``, ``loss`` or ``augmentation``; None if nothing.

    Entry points of the group ``blastscope`` are loaded if the name is neither registered nor built
    in.
    """
    if name not in _registered[kind] and name not in BUILT_IN[kind]:
        for point in entry_points(group=GROUP):
            point.load()
    return _registered[kind].get(name)


def require(kind: str, name: str) -> Callable[..., Any] | None:
    """Return what is registered as a loss or an augmentation; None for a built-in one.

    Raises:
        BlastscopeError: if the name is neither registered nor built in.
    """
    found = find(kind, name)
    if found is None and name not in BUILT_IN[kind]:
        near = did_you_mean(name, names(kind))
        raise BlastscopeError(
            f"There is no {kind} '{name}'{near}: choose {', '.join(names(kind))}, or import the "
            "module that registers it."
        )
    return found


def names(kind: str) -> list[str]:
    """Return the built-in and registered names of a kind."""
    return [*BUILT_IN[kind], *_registered[kind]]


def _decorator(kind: str, name: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        before = _registered[kind].get(name)
        if name in BUILT_IN[kind] or (before is not None and _source(before) != _source(function)):
            raise BlastscopeError(f"The {kind} '{name}' exists already: choose another name.")
        _registered[kind][name] = function
        return function

    return register


def _source(function: Callable[..., Any]) -> tuple[str, str]:
    """Name a function by its definition; a cell of a notebook that runs again redefines it."""
    return function.__module__, getattr(function, "__qualname__", repr(function))
