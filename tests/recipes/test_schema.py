"""What a recipe may not say, and the sentence that the user then reads."""

from __future__ import annotations

import json

import pytest

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe, recipe_yaml
from blastscope.recipes.schema import Recipe
from blastscope.recipes.strengths import Strength, Strengths, Zoom
from blastscope.recipes.training import Steps


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
        ("training.momentum=.9", "momentum is a setting of sgd and not of adam"),
        (
            "training.schedule=step",
            "choose constant, cosine, one_cycle or {steps: {epoch",
        ),
        ("training.schedule={step: {3: .1}}", "schedule.step is not a key (did you mean steps?)"),
        ("training.schedule={steps: {1: .1}}", "should be greater than or equal to 2"),
        ("training.schedule={steps: {3: 0}}", "should be greater than 0"),
        ("training.schedule={steps: {}}", "at least 1 item"),
        ("training.rates={layer1: 1e-4}", "training.rates names layers, and only the head is"),
        ("training.loss={focal: {alpha: .4}}", "training.loss.focal.gamma is missing"),
        ("training.loss={focel: {alpha: .4}}", "did you mean focal?"),
        ("training.balance=oversampel", "did you mean oversample?"),
        ("training.augmentation={}", "there is no change in it"),
        ("training.augmentation={rotate: 200}", "rotate is at most 180"),
        ("training.augmentation={rotat: 20}", "did you mean rotate?"),
        ("training.augmentation={zoom: [2, 1]}", "must be less than most"),
        ("training.augmentation={cutout: {squares: 2}}", "cutout.side is missing"),
        ("training.augmentation={shear: {most: 5, shar: 1}}", "did you mean share?"),
        ("training.mixup=0", "training.mixup is 0"),
        ("prediction.views=rotations", "did you mean rotations8?"),
        ("model.auxiliary={box: 1}", "write input.scale: keep"),
        ("model.svm={c: 10, gamma: 100, below: .4}", "model.svm.below is 0.4"),
        ("input.normalization=od", "pretrained weights do not know optical densities"),
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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.rates={head: 1e-2}", "training.layer_decay=.8"], "leave one of them out"),
        (["training.label_smoothing=.1", "training.loss={focal: {alpha: .4, gamma: 2}}"], "of bce"),
        (["training.label_smoothing=.1", "training.distillation=.5"], "both soften targets"),
        (["training.heterogeneity={weight: .1, subjects: 4}"], "write balance: none"),
        (
            ["training.heterogeneity={weight: .1, subjects: 9}", "training.balance=none"],
            "set batch to 36",
        ),
        (
            ["model.auxiliary={box: 1}", "input.scale=keep", "training.mixup=.4"],
            "mixes cells, which then have no box",
        ),
        (
            ["model.backbone=sdct", "model.weights=none"],
            "sdct begins with optical densities: write input.normalization: od",
        ),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(overrides, message):
    with pytest.raises(BlastscopeError) as caught:
        load_recipe("paper/mobilenetv2-e3", overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_experiment_without_the_later_keys_is_the_one_that_it_was():
    """Folders of runs are known by these settings: the first version's had these keys alone."""
    found = load_recipe("paper/mobilenetv2-e3").experiment
    assert set(found["model"]) == {"backbone", "weights", "cut", "head", "trainable", "batchnorm"}
    assert set(found["training"]) == {
        "optimizer", "loss", "rate", "layer_decay", "schedule", "batch", "epochs", "patience",
        "balance", "augmentation", "seed", "precision", "deterministic",
    }  # fmt: skip
    changed = load_recipe("paper/mobilenetv2-e3", ["training.mixup=.4"]).experiment
    assert changed["training"]["mixup"] == 0.4


def test_strengths_may_be_numbers_or_mappings_and_survive_being_written(tmp_path):
    text = "{dihedral: true, rotate: 20, zoom: [1, 1.5], shear: {most: 5, share: .5}}"
    changes = [f"training.augmentation={text}", "training.schedule={steps: {3: .1, 5: .01}}"]
    recipe = load_recipe(
        "demo/cnn-small", [*changes, "training.loss={focal: {alpha: .4, gamma: 2}}"]
    )
    own = recipe.training.augmentation
    assert isinstance(own, Strengths)
    assert (own.rotate, own.shear) == (Strength(most=20), Strength(most=5, share=0.5))
    assert own.zoom == Zoom(least=1, most=1.5)
    assert recipe.training.schedule == Steps(steps={3: 0.1, 5: 0.01})
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_yaml(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe
    assert Recipe.model_validate(json.loads(recipe.model_dump_json(by_alias=True))) == recipe
    assert recipe.training.dihedral
    assert not recipe.training.keeps_views
