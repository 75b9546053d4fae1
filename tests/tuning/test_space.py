"""A space: its file, what it refuses before the first trial, and its checked corners."""

from __future__ import annotations

import json
from itertools import combinations, product

import pytest

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe
from blastscope.tuning.space import check_space, parse_space, read_space, with_settings

RATE = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}
BASE = load_recipe("demo/cnn-small")


def refusal(content, base=BASE) -> str:
    with pytest.raises(BlastscopeError) as told:
        check_space(parse_space(content), base)
    return str(told.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "training.rate"),
        ({"training.rate": {**RATE, "lo": 1}}, "lo"),
        ({"training.rate": {"type": "float", "low": 1.0}}, "high"),
        ({"training.rate": {"type": "real", "low": 1.0, "high": 2.0}}, "type"),
        ({"training.rate": [1, 2]}, "mapping"),
        ({"training.rate": {**RATE, "low": 0.1}}, "low"),
        ({"training.rate": {**RATE, "low": 0.0}}, "log"),
        ({"training.rate": {**RATE, "step": 0.1}}, "step"),
        ({"training.rate": {**RATE, "low": "a"}}, "low"),
        ({"training.batch": {"type": "int", "low": 8, "high": 33, "step": 8}}, "step"),
        ({"training.batch": {"type": "int", "low": 8.5, "high": 33}}, "low"),
        ({"training.batch": {"type": "categorical", "choices": [8]}}, "choices"),
        ({"training.batch": {"type": "categorical", "choices": [8, 8]}}, "choices"),
        ({"training.seed": {"type": "int", "low": 1, "high": 9}}, "training.seed"),
        ({"training.rat": RATE}, "did you mean rate"),
        ({"name": {"type": "categorical", "choices": ["a", "b"]}}, "name"),
        ({"training.rate": {**RATE, "high": 11.0}}, "training.rate"),
        ({"training.batch": {"type": "categorical", "choices": [8, "many"]}}, "many"),
        (
            {
                "training.loss": {"type": "categorical", "choices": ["bce", "bce2"]},
                "training.loss.focal.gamma": {"type": "float", "low": 1.0, "high": 2.0},
            },
            "training.loss.focal.gamma",
        ),
    ],
)
def test_what_is_wrong_is_named_before_the_first_trial(content, named):
    assert named in refusal(content)


def test_keys_that_do_not_go_together_are_found_though_each_is_allowed_alone():
    optimizers = {"type": "categorical", "choices": ["sgd", "adam"]}
    momentum = {"type": "float", "low": 0.5, "high": 0.9}
    told = refusal({"training.optimizer": optimizers, "training.momentum": momentum})
    assert 'training.optimizer="adam"' in told
    assert "training.momentum" in told
    # With sgd alone every trial is allowed, though the hand-made recipe, which has adam, is not.
    assert BASE.training.optimizer != "sgd"
    only = {"type": "categorical", "choices": ["sgd", "sgd"]}
    assert "choices" in refusal({"training.optimizer": only, "training.momentum": momentum})
    by_hand = load_recipe("demo/cnn-small", ["training.optimizer=sgd"])
    check_space(parse_space({"training.momentum": momentum}), by_hand)


def test_every_pair_of_ends_is_checked():
    space = parse_space(
        {
            "training.rate": RATE,
            "training.batch": {"type": "categorical", "choices": [8, 16, 32]},
            "training.epochs": {"type": "int", "low": 1, "high": 3},
        }
    )
    corners = [corner for corner, _ in space.corners()]
    for one, other in combinations(space.ranges, 2):
        seen = {(corner[one], corner[other]) for corner in corners}
        assert seen >= set(product(space.ranges[one].ends, space.ranges[other].ends))
    assert len(check_space(space, BASE)) == len(corners)


def test_the_packaged_space_fits_the_recipe_that_it_is_for(tmp_path):
    recipe = load_recipe("beyond/efficientnet-lite0-frozen")
    space = read_space("spaces/frozen-head")
    check_space(space, recipe)
    path = tmp_path / "mine.yaml"
    path.write_text("training.rate: {type: float, low: 1e-4, high: 1e-2, log: true}\n")
    assert read_space(str(path)).as_json() == {"training.rate": RATE}
    path.write_text("training.rate: {type: float, low: 1, low: 2}\n")
    with pytest.raises(BlastscopeError, match="repeated"):
        read_space(str(path))


def test_settings_change_a_recipe_as_the_command_line_does():
    found = with_settings(BASE, {"training.rate": 0.003, "model.head": ["gap", {"dropout": 0.5}]})
    assert found.training.rate == 0.003
    assert json.loads(found.model_dump_json())["model"]["head"] == ["gap", {"dropout": 0.5}]
