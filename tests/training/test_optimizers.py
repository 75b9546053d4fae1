"""Optimisers: Keras's defaults, and one step by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR

from blastscope.errors import BlastscopeError
from blastscope.models.classifier import build_model
from blastscope.recipes.schema import Recipe
from blastscope.recipes.training import Steps
from blastscope.training.optimizers import make_optimizer, make_schedule
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
    optimizer = make_optimizer(chosen, nn.ParameterList([weight]))
    weight.grad = torch.tensor(1e-6, dtype=torch.float64)
    optimizer.step()
    assert weight.item() == pytest.approx(expected, abs=1e-9)


def test_frozen_weights_are_not_given_to_the_optimiser():
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    trained = nn.Parameter(torch.zeros(3))
    groups = make_optimizer(recipe(), nn.ParameterList([frozen, trained])).param_groups
    assert [p for group in groups for p in group["params"]] == [trained]


def test_rates_fall_with_the_distance_from_the_head():
    """The head has the whole rate; each layer below it ``decay`` times that of the one above."""
    model = build_model(recipe("tf_efficientnet_lite0", head=["gap", {"dropout": 0.3}]))
    training = {"optimizer": "adamw", "rate": 1e-2, "layer_decay": 0.5}
    groups = make_optimizer(recipe(training=training), model).param_groups
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay_of = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    own = dict(model.named_parameters())
    assert rate_of.keys() == {id(p) for p in own.values()}
    rate = {name: rate_of[id(p)] for name, p in own.items()}
    assert rate["head.logit.weight"] == rate["backbone.net.conv_head.weight"] == 1e-2
    # Lite0 has 1 + 2 + 2 + 3 + 3 + 4 + 1 = 16 blocks; timm's last block stands with the layers
    # behind it, and the stem a layer below the first block.
    blocks = [rate[f"backbone.net.blocks.{s}.{k}.bn1.weight"] for s, k in _blocks_of_lite0()]
    assert blocks == pytest.approx([1e-2 * 0.5 ** (16 - k) for k in range(1, 17)])
    assert rate["backbone.net.conv_stem.weight"] == pytest.approx(1e-2 * 0.5**16)
    # Scales, shifts and biases have no decay.
    assert decay_of[id(own["head.logit.weight"])] == 0.004
    assert decay_of[id(own["head.logit.bias"])] == decay_of[id(own["backbone.net.bn1.weight"])] == 0


def _blocks_of_lite0() -> list[tuple[int, int]]:
    return [(s, k) for s, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for k in range(count)]


def test_rates_that_fall_train_the_head_of_an_auxiliary_task():
    settings = recipe("resnet18", training={"layer_decay": 0.5}).model_dump(by_alias=True)
    settings["input"]["scale"] = "keep"
    settings["model"]["auxiliary"] = {"box": 1.0}
    chosen = Recipe.model_validate(settings)
    model = build_model(chosen)
    groups = make_optimizer(chosen, model).param_groups
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rate_of[id(p)] for p in model.box_head.parameters()} == {1e-3}


def test_rates_by_layer_need_a_whole_timm_network():
    model = build_model(recipe("cnn4-small"))
    with pytest.raises(BlastscopeError, match="layer_decay needs a whole network"):
        make_optimizer(recipe(training={"layer_decay": 0.5}), model)


def test_a_cosine_schedule_rises_then_falls_to_nothing_and_a_constant_one_is_none():
    optimizer = make_optimizer(recipe(training={"rate": 0.5}), nn.Linear(2, 1))
    assert make_schedule("constant", optimizer, 10, 10) is None
    schedule = make_schedule("cosine", optimizer, 10, 10)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    by_hand = [
        0.5 * min(1, (k + 1) / 5) * (1 + math.cos(math.pi * k / 100)) / 2 for k in range(100)
    ]
    assert rates == pytest.approx(by_hand, abs=1e-12)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def run(schedule, steps: int) -> list[list[float]]:
    """The rates of each group in each step."""
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in schedule.optimizer.param_groups])
        schedule.optimizer.step()
        schedule.step()
    return rates


def two_groups(**options: float) -> SGD:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": rate} for rate in (0.1, 0.5)]
    return SGD(groups, lr=1.0, **options)


def test_steps_are_those_of_pytorch():
    """Four batches an epoch: from the third epoch a tenth, from the fifth a hundredth."""
    ours = make_schedule(Steps(steps={3: 0.1, 5: 0.01}), two_groups(), 6, 4)
    theirs = MultiStepLR(two_groups(), [8, 16], 0.1)
    for found, expected in zip(run(ours, 24), run(theirs, 24), strict=True):
        assert found == pytest.approx(expected)


def test_one_cycle_is_pytorchs():
    ours, theirs = two_groups(momentum=0.9), two_groups(momentum=0.9)
    schedule = make_schedule("one_cycle", ours, 3, 7)
    expected = OneCycleLR(theirs, [0.1, 0.5], total_steps=21)
    for _ in range(20):
        assert [g["lr"] for g in ours.param_groups] == [g["lr"] for g in theirs.param_groups]
        assert ours.param_groups[0]["momentum"] == theirs.param_groups[0]["momentum"]
        for one in (ours, theirs):
            one.step()
        schedule.step()
        expected.step()
    make_schedule("one_cycle", two_groups(), 3, 7)  # without momentum there is none to change


def test_rates_by_name_go_from_a_layer_to_the_next_that_is_named():
    rates = {"head": 1e-2, "layer2": 1e-4, "stem": 1e-6}
    model = build_model(recipe("resnet18", head=["gap", {"dense": 4, "activation": "relu"}]))
    chosen = recipe(training={"rate": 1.0, "rates": rates, "weight_decay": 0.1})
    groups = make_optimizer(chosen, model).param_groups
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        part = name.removeprefix("backbone.net.").split(".")[0]
        early = part in ("conv1", "bn1", "layer1")
        expected = 1e-2 if part == "head" else 1e-6 if early else 1e-4
        assert rate_of[id(parameter)] == expected, name
    assert {group["weight_decay"] for group in groups} == {0.1}
    # By the paper's own names, and the layers before the first name at the recipe's rate.
    keras = build_model(recipe("resnet50.caffe_in1k", cut="conv3_block1_out", trainable="all"))
    chosen = recipe(training={"rate": 1e-5, "rates": {"conv3_block1": 1e-3}})
    groups = make_optimizer(chosen, keras).param_groups
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    own = dict(keras.named_parameters())
    assert rate_of[id(own["backbone.net.layer1.2.conv3.weight"])] == 1e-5
    assert rate_of[id(own["backbone.net.layer2.0.conv1.weight"])] == 1e-3
    assert rate_of[id(own["head.logit.weight"])] == 1e-5


@pytest.mark.parametrize(
    ("rates", "trainable", "message"),
    [
        ({"layer9": 0.1}, "all", "no layer layer9"),
        ({"stem": 0.1, "conv1": 0.2}, "all", "two rates for one layer, stem and conv1"),
        (
            {"layer1": 0.1, "layer3": 0.2},
            {"from": "layer3"},
            "names layer1, of which nothing is trained",
        ),
    ],
)
def test_rates_that_nothing_would_have_are_refused(rates, trainable, message):
    model = build_model(recipe("resnet18", trainable=trainable))
    with pytest.raises(BlastscopeError, match=message):
        make_optimizer(recipe(training={"rates": rates}), model)


def test_momentum_and_decay_are_pytorchs():
    found, expected = (nn.Parameter(torch.tensor([2.0])) for _ in range(2))
    training = {"optimizer": "sgd", "rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    ours = make_optimizer(recipe(training=training), nn.ParameterList([found]))
    theirs = SGD([expected], 0.1, momentum=0.9, weight_decay=0.01)
    for gradient in (1.0, -0.5, 2.0):
        for weight, optimizer in ((found, ours), (expected, theirs)):
            weight.grad = torch.tensor([gradient])
            optimizer.step()
    assert found.item() == expected.item()
