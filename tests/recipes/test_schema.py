"""What a recipe may not say, and the sentence that the user then reads."""

from __future__ import annotations

import pytest

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # The authors' own mistake: "rms" was ignored and an experiment was lost.
        ("training.optimizer=rms", "'rms' (did you mean rmsprop?); choose adam, adamw, rmsprop"),
        ("training.epocs=3", "training.epocs is not a key (did you mean epochs?); allowed: optim"),
        ("extend=x", "extend is not a key (did you mean extends?)"),
        ("input.size=8", "input.size is 8: input should be greater than or equal to 16"),
        ("input.size=1025", "less than or equal to 1024"),
        ("training.rate=0", "training.rate is 0: input should be greater than 0"),
        ("training.rate=-1e-3", "should be greater than 0"),
        ("training.rate=.nan", "training.rate is '.nan': input should be a valid number"),
        ("training.batch=true", "training.batch is True: input should be a valid integer"),
        ("training.epochs=3.0", "training.epochs is 3.0: input should be a valid integer"),
        ("training.seed=", "training.seed is None"),
        ("training.deterministic=no", "training.deterministic is 'no'"),
        ("training.precision=16", "choose auto, 32 or bf16"),
        ("model.head=[]", "a head begins with flatten or gap"),
        ("model.head=[{dropout: .5}, gap]", "a head begins with flatten or gap"),
        ("model.head=[gap, flatten]", "has it only once"),
        ("model.head=[gap, {dropout: 1}]", "model.head[2].dropout is 1: input should be less"),
        ("model.head=[gap, {dropuot: .5}]", "model.head[2] is {'dropuot': 0.5}: choose flatten"),
        ("model.head=[gap, {dense: 3}]", "model.head[2].activation is missing"),
        ("model.head=[gap, {dense: 0, activation: relu}]", "model.head[2].dense is 0"),
        ("model.head=[gop]", "model.head[1] is 'gop' (did you mean gap?)"),
        ("model.trainable=haed", "(did you mean head?); choose all, head or {from: layer}"),
        ("model.trainable={form: x}", "model.trainable.form is not a key (did you mean from?)"),
        ("model.batchnorm=thaw", "did you mean thawed?"),
        ("model.backbone=cnn4", "cnn4 has no ImageNet weights: write weights: none"),
        ("expected.auc=1.5", "expected.auc is 1.5"),
    ],
)
def test_what_is_not_allowed_is_said_in_one_sentence(override, message):
    with pytest.raises(BlastscopeError) as caught:
        load_recipe("paper/mobilenetv2-e3", [override])
    said = str(caught.value)
    assert message in said
    assert said.startswith(f"paper/mobilenetv2-e3 with {override}: ")
    assert said.endswith(".")
    assert "\n" not in said


def test_a_trunk_from_scratch_has_no_mean_of_its_own():
    with pytest.raises(BlastscopeError, match="cnn4 has no mean and deviation of its own"):
        load_recipe("paper/cnn-exp2", ["input.normalization=model"])


def test_an_unknown_key_is_said_before_the_missing_one_that_it_causes(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("titel: A\ninput: {size: 64, normalization: unit}\n", encoding="utf-8")
    with pytest.raises(BlastscopeError, match=r"titel is not a key \(did you mean title\?\)"):
        load_recipe(str(path))


def test_a_recipe_cannot_be_changed():
    recipe = load_recipe("demo/cnn-small")
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.rate = 1.0
