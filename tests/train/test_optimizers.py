"""Optimisers: Keras's defaults, and one step by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blastscope.train.optimizers import make_optimizer
from tests.models.recipes import recipe


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # One step from 2.0 with a gradient g of 1e-6 and a rate of 0.1, from Keras's defaults.
        # A gradient as small as this shows the epsilon of 1e-7, which torch sets to 1e-8.
        ("sgd", 2 - 0.1 * 1e-6),
        ("adam", 2 - 0.1 * 1e-6 / (1e-6 + 1e-7)),
        ("adamw", 2 * (1 - 0.1 * 0.004) - 0.1 * 1e-6 / (1e-6 + 1e-7)),
        ("rmsprop", 2 - 0.1 * 1e-6 / ((0.1 * 1e-12) ** 0.5 + 1e-7)),
    ],
)
def test_a_step_with_keras_defaults(name, expected):
    weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    chosen = recipe(training={"optimizer": name, "rate": 0.1})
    optimizer = make_optimizer(chosen, [weight])
    weight.grad = torch.tensor(1e-6, dtype=torch.float64)
    optimizer.step()
    assert weight.item() == pytest.approx(expected, abs=1e-9)


def test_frozen_weights_are_not_given_to_the_optimiser():
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    trained = nn.Parameter(torch.zeros(3))
    groups = make_optimizer(recipe(), [frozen, trained]).param_groups
    assert [p for group in groups for p in group["params"]] == [trained]
