"""Finding, extending, overriding and writing recipes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe, recipe_names, recipe_yaml
from blastscope.recipes.schema import Dense, Dropout, From, Recipe

SMALL = """
title: Mine
input: {size: 64, normalization: unit}
model: {backbone: cnn4-small, weights: none, head: [gap, {dropout: 0.5}]}
training: {optimizer: adam, rate: 1e-3, epochs: 3, balance: none}
"""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_packaged_recipes_are_listed_with_their_titles():
    entries = {name: load_recipe(name).title for name in recipe_names()}
    assert [name.partition("/")[0] for name in entries] == sorted(
        (name.partition("/")[0] for name in entries),
        key=["paper", "related", "beyond", "demo"].index,
    )
    vgg = [name for name in entries if name.startswith("paper/vgg16-e")]
    assert vgg[:5] == [f"paper/vgg16-e{which}" for which in ("1", "2", "3", "4", "4bis")]
    assert vgg.index("paper/vgg16-e9bis") < vgg.index("paper/vgg16-e10")
    assert len(set(entries.values())) == len(entries)


def test_cnn_exp2_is_the_papers():
    recipe = load_recipe("paper/cnn-exp2")
    training, expected = recipe.training, recipe.expected
    assert (recipe.input.size, recipe.input.normalization) == (300, "unit")
    assert recipe.model.head == (
        "flatten",
        Dropout(dropout=0.5),
        Dense(dense=256, activation="relu"),
        Dropout(dropout=0.5),
    )
    assert (training.optimizer, training.rate, training.batch) == ("adam", 1e-3, 32)
    assert (training.epochs, training.patience, training.seed) == (30, 5, 24)
    assert expected is not None
    # The table of section 3.2.2.
    assert (expected.train_loss, expected.train_accuracy) == (0.2136, 0.9140)
    assert (expected.val_loss, expected.val_accuracy) == (0.2436, 0.8987)
    assert (expected.weighted_f1, expected.auc) == (0.9076, 0.95)
    assert (expected.precision_hem, expected.recall_hem) == (0.8754, 0.8376)
    assert (expected.precision_all, expected.recall_all) == (0.9230, 0.9422)


def test_a_recipe_inherits_its_settings_but_not_what_is_said_of_the_other():
    first, second = load_recipe("paper/mobilenetv2-e3"), load_recipe("paper/mobilenetv2-e7")
    assert second.starts_from == first.name
    assert second.input == first.input
    assert second.model.head == first.model.head
    assert second.model.trainable == From(**{"from": "block_10"})
    assert (second.training.rate, second.training.epochs) == (1e-5, 100)
    assert second.training.optimizer == first.training.optimizer
    dihedral = load_recipe("demo/cnn-small-dihedral")
    assert dihedral.training.augmentation == "dihedral"
    assert dihedral.model == load_recipe("demo/cnn-small").model


def test_published_metrics_do_not_pass_to_a_users_variation(tmp_path):
    path = write(
        tmp_path / "wide.yaml",
        "title: Wider\nextends: paper/cnn-exp2\nmodel: {head: [gap]}\ntraining: {batch: 64}\n",
    )
    recipe = load_recipe(path)
    assert (recipe.name, recipe.expected, recipe.paper) == ("wide", None, None)
    assert recipe.model.head == ("gap",)  # a list is replaced, not merged
    assert (recipe.training.batch, recipe.training.epochs) == (64, 30)


def test_extends_takes_a_path_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "base").mkdir()
    write(tmp_path / "base" / "one.yaml", SMALL)
    path = write(tmp_path / "two.yaml", "title: Two\nextends: base/one.yaml\ninput: {size: 96}\n")
    recipe = load_recipe(path)
    assert (recipe.input.size, recipe.input.normalization) == (96, "unit")


def test_a_circle_of_recipes_is_refused(tmp_path):
    write(tmp_path / "a.yaml", "title: A\nextends: b.yaml\n")
    path = write(tmp_path / "b.yaml", "title: B\nextends: a.yaml\n")
    with pytest.raises(BlastscopeError, match="extends itself"):
        load_recipe(path)


def test_a_fault_is_laid_at_the_door_of_the_recipe_that_has_it(tmp_path):
    write(tmp_path / "base.yaml", SMALL.replace("optimizer: adam", "optimizer: rms"))
    path = write(
        tmp_path / "top.yaml", "title: T\nextends: base.yaml\ntraining: {optimizer: adam}\n"
    )
    with pytest.raises(BlastscopeError, match=r"^base\.yaml: training\.optimizer is 'rms'"):
        load_recipe(path)


def test_overrides_are_yaml_values_and_are_kept_on_record():
    changes = ["training.epochs=3", "training.rate=1e-4", "model.trainable={from: block_12}"]
    recipe = load_recipe("paper/mobilenetv2-e7", [*changes, "model.head=[gap]"])
    assert (recipe.training.epochs, recipe.training.rate) == (3, 1e-4)
    assert recipe.model.trainable == From(**{"from": "block_12"})
    assert recipe.model.head == ("gap",)
    assert recipe.overrides == (*changes, "model.head=[gap]")
    assert load_recipe("paper/mobilenetv2-e7").overrides == ()


@pytest.mark.parametrize("override", ["training.epochs", "=3", "training..epochs=3", "", "."])
def test_an_override_that_sets_nothing_is_refused(override):
    with pytest.raises(BlastscopeError, match=r"write it like training\.epochs=3"):
        load_recipe("demo/cnn-small", [override])


def test_an_override_into_a_value_is_refused():
    with pytest.raises(BlastscopeError, match="epochs is not a section"):
        load_recipe("demo/cnn-small", ["training.epochs.most=3"])


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(BlastscopeError, match=r"did you mean paper/cnn-exp2\?"):
        load_recipe("paper/cnn-exp22")
    with pytest.raises(BlastscopeError, match=r"starts_from.*did you mean paper/mobilenetv2-e3\?"):
        load_recipe("paper/mobilenetv2-e7", ["starts_from=paper/mobilenetv2-e33"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: A\ntitle: B\n", "the key title is repeated"),
        ("input: {size: 64, size: 32}\n", "the key size is repeated"),
        ("title: &a A\nmodel: *a\n", "anchors and aliases"),
        ("title: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("- a\n- b\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("[" * 5000, "nested too deeply"),
        ("title: 'A\n", "line 2"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("title: " + "A" * 70000, "larger than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_one_sentence(tmp_path, text, message):
    path = write(tmp_path / "bad.yaml", text)
    with pytest.raises(BlastscopeError, match=message) as caught:
        load_recipe(path)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(BlastscopeError, match=r"none\.yaml cannot be read"):
        load_recipe(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes("title: Zür".encode("latin-1"))
    with pytest.raises(BlastscopeError, match="not UTF-8"):
        load_recipe(str(tmp_path / "latin.yaml"))


@pytest.mark.parametrize("name", recipe_names())
def test_a_packaged_recipe_survives_being_written(name, tmp_path):
    recipe = load_recipe(name, ["training.rate=3e-7"])
    assert load_recipe(write(tmp_path / "recipe.yaml", recipe_yaml(recipe))) == recipe


words = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable())
steps = st.one_of(
    st.builds(lambda share: {"dropout": share}, st.floats(0, 0.99)),
    st.builds(
        lambda n, a: {"dense": n, "activation": a},
        st.integers(1, 65536),
        st.sampled_from(["relu", "none"]),
    ),
)
recipes = st.fixed_dictionaries(
    {
        # Words that one YAML or another takes for a number, a truth, a date or nothing.
        "title": st.one_of(
            words,
            st.sampled_from(["1e-3", "010", "no", "null", "~", "2026-11-23", "1_0", "0x1", "<<"]),
        ),
        "name": words,
        "input": st.fixed_dictionaries(
            {"size": st.integers(16, 1024), "normalization": st.sampled_from(["unit", "caffe"])}
        ),
        "model": st.fixed_dictionaries(
            {
                "backbone": words.filter(lambda word: not word.startswith("cnn4")),
                "weights": st.sampled_from(["none", "imagenet"]),
                "cut": st.none() | words,
                "head": st.builds(
                    lambda first, rest: [first, *rest],
                    st.sampled_from(["gap", "flatten"]),
                    st.lists(steps, max_size=4),
                ),
                "trainable": st.sampled_from(["all", "head"]) | words.map(lambda x: {"from": x}),
            }
        ),
        "training": st.fixed_dictionaries(
            {
                "optimizer": st.sampled_from(["adam", "adamw", "rmsprop", "sgd"]),
                "rate": st.floats(1e-300, 10),
                "epochs": st.integers(1, 10000),
                "balance": st.sampled_from(["paper", "undersample", "weights", "none"]),
                "precision": st.sampled_from(["auto", "32", "bf16", 32]),
            }
        ),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=recipes)
def test_any_recipe_survives_being_written(content, tmp_path):
    recipe = Recipe.model_validate(content)
    assert load_recipe(write(tmp_path / "any.yaml", recipe_yaml(recipe))) == recipe
