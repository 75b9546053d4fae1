"""The plan: what is in it, in which order, and what cannot be run here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe
from blastscope.reproduction.estimate import estimate
from blastscope.reproduction.plan import make_plan, study_names
from blastscope.reproduction.runner import StudyLocation
from blastscope.reproduction.study import ReproductionRequest, plan_of


def test_everything_is_planned_and_stands_behind_what_it_starts_from():
    jobs = make_plan(seeds=2).jobs
    keys = [job.key for job in jobs]
    own = [name for name in study_names() if not name.startswith("related/")]
    assert len(keys) == len(set(keys)) == 4 * len(own)
    place = {key: number for number, key in enumerate(keys)}
    waiting = [job for job in jobs if job.needs]
    assert len(waiting) > 100
    assert all(place[job.needs] < place[job.key] for job in waiting)


def test_what_an_experiment_starts_from_is_added():
    plan = make_plan("vgg16-e9bis", ["subject"])
    assert [job.recipe.name for job in plan.jobs] == ["paper/vgg16-e8", "paper/vgg16-e9bis"]
    assert plan.added == {"paper/vgg16-e8"}
    assert {job.protocol for job in plan.jobs} == {"subject"}


def test_the_systems_that_the_paper_cites_are_planned_if_asked_for():
    jobs = make_plan("related/*", ["subject"]).jobs
    names = [job.recipe.name for job in jobs]
    assert set(names) == {name for name in study_names() if name.startswith("related/")}
    assert names.index("related/marzahl-box-head") < names.index("related/marzahl-box")
    assert not any(job.recipe.name.startswith("related/") for job in make_plan().jobs)


def test_a_pattern_fits_with_and_without_its_shelf():
    short, whole = (make_plan(text).jobs for text in ("cnn-*", "paper/cnn-*"))
    assert [job.key for job in short] == [job.key for job in whole]
    assert len(short) == 2 * 6
    with pytest.raises(BlastscopeError, match="No recipe of the study matches resnet-\\*"):
        make_plan("resnet-*")


def test_seeds_draw_split_and_training():
    one, two = make_plan("cnn-exp1", ["image"], seeds=2).jobs
    assert (one.recipe.training.seed, two.recipe.training.seed) == (24, 25)
    assert one.split(Path("o")).name == "image-seed24.parquet"
    assert two.run(Path("o")) == Path("o/runs/image-seed25/paper/cnn-exp1")


def test_settings_reach_every_recipe_and_its_store():
    jobs = make_plan("cnn-exp2*", ["image"], overrides=["input.size=60"]).jobs
    assert [job.store(Path("o")).name for job in jobs] == ["60-crop", "60-crop-clahe"]
    with pytest.raises(BlastscopeError, match=r"input\.side is not a key"):
        make_plan("cnn-exp2", overrides=["input.side=60"])


def test_what_has_no_weights_is_left_out_with_all_that_starts_from_it():
    def at_hand(recipe):
        return "no weights here" if recipe.model.backbone.startswith("resnet50") else ""

    plan = make_plan(None, ["image"], weights_at_hand=at_hand)
    left = {name for name, _, _ in plan.left_out}
    assert left == {name for name in study_names() if "/resnet50" in name}
    assert len(left) >= 20
    assert not left & {job.recipe.name for job in plan.jobs}
    assert set(plan.left_out.values()) == {"no weights here"}


def test_weights_are_looked_for_in_the_folder(tmp_path):
    (tmp_path / "vgg16.tv_in1k.safetensors").touch()
    request = ReproductionRequest(
        tmp_path, StudyLocation(tmp_path / "out", "cpu", tmp_path), protocols=("image",)
    )
    plan = plan_of(request)
    run = {job.recipe.model.backbone.partition(".")[0] for job in plan.jobs}
    assert run == {"cnn4", "vgg16"}
    assert {load_recipe(key[0]).model.backbone for key in plan.left_out} == {
        "resnet50.tv_in1k",
        "resnet50.caffe_in1k",
        "mobilenetv2_100.ra_in1k",
        "tf_efficientnet_lite0.in1k",
    }


@pytest.mark.parametrize(
    ("setting", "instead"),
    [
        ("training.seed=3", "give a number of seeds"),
        ("name=foo", "choose them by a pattern"),
        (" starts_from = paper/cnn-exp1", "choose them by a pattern"),
        ("extends=paper/cnn-exp1", "choose them by a pattern"),
        ("expected.weighted_f1=0.99", "are not settings"),
    ],
)
def test_what_a_study_settles_itself_is_not_a_setting(tmp_path, setting, instead):
    request = ReproductionRequest(
        tmp_path, StudyLocation(tmp_path), only="cnn-exp2", overrides=(setting,)
    )
    with pytest.raises(BlastscopeError, match=instead):
        plan_of(request)


def test_a_backbone_that_nobody_trained_has_no_weights(tmp_path):
    request = ReproductionRequest(
        tmp_path,
        StudyLocation(tmp_path),
        only="vgg16-e14",
        protocols=("image",),
        overrides=("model.backbone=efficientnet_b6",),
    )
    assert set(plan_of(request).left_out.values()) == {"no weights here"}


def test_a_backbone_of_no_such_tag_is_refused_where_it_is_built(tmp_path):
    request = ReproductionRequest(
        tmp_path,
        StudyLocation(tmp_path),
        only="vgg16-e1",
        protocols=("image",),
        overrides=("model.backbone=vgg16.nosuchtag", "input.size=64"),
    )
    plan = plan_of(request)
    assert plan.jobs
    with pytest.raises(BlastscopeError, match=r"cannot build vgg16\.nosuchtag .*nosuchtag"):
        estimate(plan.jobs, {"train": 6, "validation": 2, "test": 2}, torch.device("cpu"))
