"""A folder of pretrained weights that a training does not begin with is refused."""

from __future__ import annotations

import pytest

import blastscope as bs
from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe, refuse_unread_weights

SPACE = {"training.rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}


@pytest.mark.parametrize("name", ["demo/cnn-small", "paper/mobilenetv2-e5"])
def test_weights_that_no_training_begins_with_are_refused_before_anything_is_read(name, tmp_path):
    there = tmp_path / "weights"
    with pytest.raises(BlastscopeError, match="--weights-dir"):
        bs.train(name, tmp_path / "store", tmp_path / "split", out=tmp_path / "run",
                 weights_dir=there)  # fmt: skip
    assert not any(tmp_path.iterdir())


def test_every_verb_that_trains_one_recipe_refuses_them(tmp_path):
    scratch, there = "demo/cnn-small", tmp_path / "weights"
    for verb in (
        lambda: bs.cross_validate(scratch, tmp_path / "s", out=tmp_path / "c", weights_dir=there),
        lambda: bs.build_model(tmp_path / "d", recipe=scratch, out=tmp_path / "m",
                               weights_dir=there),
        lambda: bs.tune(scratch, tmp_path / "s", tmp_path / "p", space=SPACE, out=tmp_path / "t",
                        weights_dir=there),
    ):  # fmt: skip
        with pytest.raises(BlastscopeError, match="--weights-dir"):
            verb()
    assert not any(tmp_path.iterdir())


def test_a_chain_takes_them_if_its_first_recipe_begins_with_them(tmp_path):
    first, tuned = load_recipe("paper/mobilenetv2-e2"), load_recipe("paper/mobilenetv2-e6")
    assert tuned.starts_from == first.name
    refuse_unread_weights([first, tuned], tmp_path)
    with pytest.raises(BlastscopeError, match="--weights-dir"):
        refuse_unread_weights([tuned], tmp_path)
    refuse_unread_weights([tuned], None)
