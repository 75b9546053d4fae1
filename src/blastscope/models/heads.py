"""Heads: from a map of features to one logit per image."""

from __future__ import annotations

from math import prod

from torch import nn

from blastscope.models.scratch import initialise_like_keras
from blastscope.recipes.schema import Dense, Dropout, Step


def make_head(steps: tuple[Step, ...], shape: tuple[int, int, int]) -> nn.Sequential:
    """Build the head of a recipe, with the last dense layer that it implies.

    Args:
        steps: the recipe's ``model.head``.
        shape: the shape (C, H, W) of the features.

    Returns:
        A module that takes (N, C, H, W) and gives logits (N, 1).
    """
    head = nn.Sequential()
    width = 0
    for number, step in enumerate(steps, start=1):
        if isinstance(step, Dropout):
            head.add_module(f"dropout{number}", nn.Dropout(step.dropout))
        elif isinstance(step, Dense):
            head.add_module(f"dense{number}", nn.Linear(width, step.dense))
            width = step.dense
            if step.activation == "relu":
                head.add_module(f"relu{number}", nn.ReLU())
        else:
            if step == "gap":
                head.add_module("gap", nn.AdaptiveAvgPool2d(1))
            head.add_module("flatten", nn.Flatten())
            width = shape[0] if step == "gap" else prod(shape)
    head.add_module("logit", nn.Linear(width, 1))
    initialise_like_keras(head)
    return head
