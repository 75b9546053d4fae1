"""Other pretrained weights than runs began with are refused before anything is trained."""

from __future__ import annotations

import json

import pytest

from blastscope.errors import BlastscopeError
from blastscope.experiments.crossval import lay_out, train_folds
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.seeds import SeedsRequest, begin_seeds
from blastscope.experiments.weights_at_hand import refuse_weights_at_hand, weights_at_hand
from blastscope.io.files import sha256_of
from blastscope.recipes.library import load_recipe, recipe_yaml
from blastscope.reproduction.plan import StudyJob, StudyPlan
from blastscope.reproduction.runner import StudyLocation, run_plan
from blastscope.tuning.search_folder import SearchRequest, begin_search
from blastscope.tuning.space import parse_space
from blastscope.tuning.study import keep_weights, open_study

VGG = ["model.backbone=vgg11", "model.weights=imagenet"]
FILE = "vgg11.tv_in1k.safetensors"


@pytest.fixture
def folders(tmp_path):
    """Two folders of weights that differ."""
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(name)
        found.append(tmp_path / name)
    return found


@pytest.fixture
def recipe(material):
    return load_recipe(str(material.recipe), VGG)


def pretend(run, weights, begun=True, **more):
    """Make a folder as of a run that began with weights."""
    run.mkdir(parents=True)
    told = {"file": weights.name, "sha256": sha256_of(weights)}
    (run / "environment.json").write_text(json.dumps({"initial_weights": told} | more))
    if begun:
        (run / "resume.ckpt").touch()


def refused(weights):
    return pytest.raises(BlastscopeError, match=f"other pretrained weights than .*{weights.name}")


def test_what_counts_as_other(recipe, folders, tmp_path):
    one, other = folders
    pretend(tmp_path / "run", one / FILE)
    runs = [(recipe, tmp_path / "run")]
    assert weights_at_hand([recipe], one) == {"vgg11.tv_in1k": (sha256_of(one / FILE), one / FILE)}
    refuse_weights_at_hand(runs, [recipe], one)
    refuse_weights_at_hand(runs, [recipe], tmp_path)  # none there: training says so
    with refused(other):
        refuse_weights_at_hand(runs, [recipe], other)
    second = recipe.model_copy(update={"starts_from": "first"})  # begins with those of a run
    refuse_weights_at_hand(runs, [second], other)
    pretend(tmp_path / "anew", one / FILE, begun=False)
    refuse_weights_at_hand([(recipe, tmp_path / "anew")], [recipe], other)
    deeper = load_recipe("demo/cnn-small", ["model.backbone=vgg13", *VGG[1:], "input.size=32"])
    refuse_weights_at_hand([(deeper, tmp_path / "run")], [recipe], other)


def test_weights_of_networks_without_runs_are_not_asked_for(recipe, folders, tmp_path, monkeypatch):
    pretend(tmp_path / "run", folders[0] / FILE)
    asked = []
    monkeypatch.setattr(
        "blastscope.experiments.weights_at_hand.weights_file",
        lambda config, backbone, folder, cut: asked.append(backbone) or folder / FILE,
    )
    other = load_recipe("demo/cnn-small", ["model.backbone=vgg13", *VGG[1:], "input.size=32"])
    refuse_weights_at_hand([(recipe, tmp_path / "run")], [other, recipe], folders[0])
    assert asked == ["vgg11"]


def test_a_cross_validation(recipe, material, folders, tmp_path):
    asked = CrossvalRequest((recipe,), material.store, tmp_path / "cv", folds=2, device="cpu",
                            weights_dir=folders[1])  # fmt: skip
    started = lay_out(asked)
    pretend(started.folds[0].run(recipe), folders[0] / FILE)
    with refused(folders[1]):
        train_folds(started)
    assert not started.folds[1].run(recipe).exists()


def test_seeds(material, recipe, folders, tmp_path):
    asked = SeedsRequest(
        recipe, material.store, material.split, tmp_path / "seeds", 2, weights_dir=folders[1]
    )
    pretend(asked.run(24), folders[0] / FILE)
    with refused(folders[1]), begin_seeds(asked):
        pass


def test_a_study(recipe, folders, tmp_path):
    jobs = [StudyJob(recipe.with_seed(seed), "subject", seed) for seed in (24, 25)]
    place = StudyLocation(tmp_path / "study", "cpu", folders[1])
    run = jobs[0].run(place.out)
    pretend(run, folders[0] / FILE)
    (run / "recipe.yaml").write_text(recipe_yaml(recipe))
    with refused(folders[1]):
        run_plan(StudyPlan(tuple(jobs[1:]), {}), place, lambda *_: "")
    assert not jobs[1].run(place.out).exists()


def test_a_search(recipe, material, folders, tmp_path):
    space = parse_space({"training.rate": {"type": "float", "low": 0.1, "high": 0.2}})

    def ask(weights):
        return begin_search(SearchRequest(
            recipe, space, 2, material.store, material.split, tmp_path / "search", "auc",
            weights_dir=weights,
        ))  # fmt: skip

    for folder in (folders[0], folders[0], tmp_path):
        with open_study(found := ask(folder)) as study:
            keep_weights(found, study)
    with open_study(found := ask(folders[1])) as study, refused(folders[1]):
        keep_weights(found, study)
