"""The map of an ensemble: its members' maps under its weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blastscope.ensemble.combination import Combination
from blastscope.explanation.cell_image import Map


def weights_of(combination: Combination) -> tuple[float, ...]:
    """Return what each member counts: votes the same, logits their coefficients."""
    if combination.kind == "votes":
        return (1.0,) * len(combination.weights)
    return combination.weights


def combined_map(signed: Sequence[Map], combination: Combination) -> Map:
    """Add the members' maps on the crop, each in shares of its own evidence times its weight.

    Logits of different networks have different scales, so each map is first divided by the sum of
    its absolute values; one without any evidence adds nothing.

    Args:
        signed: a map a member, all of one shape, above zero for ALL and below for normal.
        combination: how the members' probabilities become one.

    Returns:
        float32, of the same shape; below zero for normal.

    Raises:
        ValueError: where there is not one map a weight.
    """
    weights = weights_of(combination)
    if len(signed) != len(weights):
        raise ValueError(f"there are {len(signed)} maps, but {len(weights)} weights")
    total = np.zeros(np.shape(signed[0]), np.float64)
    for one, weight in zip(signed, weights, strict=True):
        mass = np.abs(one).sum(dtype=np.float64)
        if mass > 0:
            total += weight * one / mass
    return total.astype(np.float32)
