"""The mean of runs by hand, what cannot be averaged, and the same fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import blastscope as bs
from blastscope.api.recipes import with_starts
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of, write_json
from blastscope.io.predictions import read_predictions
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from blastscope.training.dataset import read_inputs
from blastscope.training.initial_run import find_start, first_weights
from blastscope.training.network_input import pixel_input
from blastscope.training.run_folder import load_checkpoint
from blastscope.training.train import train
from blastscope.training.trainer import _module
from blastscope.training.weight_averaging import estimate_statistics

MEAN = ("model.weights=averaged", "training.epochs=0")
HEAD = "model.head=[gap,{dense: 4, activation: relu},batchnorm]"
WEIGHTS = {"file": "pretrained.safetensors", "sha256": "sha256:" + "1" * 64}


def begun_with(run, weights):
    """Let a run say that it began with pretrained weights."""
    path = run / "environment.json"
    write_json(path, read_json(path) | {"initial_weights": weights})
    return run


def run_of(material, out, *settings, weights=WEIGHTS, **more):
    recipe = load_recipe(str(material.recipe), [HEAD, "training.epochs=2", *settings])
    run = train(recipe, material.store, material.split, out, device="cpu", **more).path
    return begun_with(run, weights) if weights else run


def averaged_statuses(run):
    return bs.verify(run).to_frame().filter(item="average")["status"].to_list()


def mean_of(material, out, runs, *settings):
    recipe = load_recipe(str(material.recipe), [HEAD, *MEAN, *settings])
    return train(recipe, material.store, material.split, out, device="cpu", average=runs).path


@pytest.fixture
def runs(material, tmp_path):
    seeds = enumerate((1, 2, 3))
    return [run_of(material, tmp_path / f"run{k}", f"training.seed={s}") for k, s in seeds]


def test_the_weights_are_the_mean_and_the_statistics_those_of_the_training_cells(
    material, runs, tmp_path
):
    made = mean_of(material, tmp_path / "mean", runs)
    found = load_checkpoint(made / "checkpoint.safetensors")
    theirs = [load_checkpoint(run / "checkpoint.safetensors") for run in runs]
    recipe = load_recipe(str(material.recipe), [HEAD, *MEAN])
    classifier = build_model(recipe, None, pretrained=False)
    parameters = {name for name, _ in classifier.named_parameters()}
    assert parameters < set(found)  # batch normalization has statistics
    for name in parameters:
        by_hand = np.mean([one[name].double().numpy() for one in theirs], axis=0)
        assert found[name].numpy() == pytest.approx(by_hand, abs=1e-7)
    with torch.no_grad():
        for name, weight in classifier.named_parameters():
            weight.copy_(found[name])
    inputs = read_inputs(recipe, material.store, material.split)
    module = _module(classifier, pixel_input(classifier, inputs), recipe, inputs)
    estimate_statistics(module, torch.device("cpu"))
    for name, value in classifier.state_dict().items():
        assert found[name].numpy() == pytest.approx(value.numpy(), abs=1e-6)


def test_it_predicts_every_cell_and_names_what_it_was_made_of(material, runs, tmp_path):
    made = mean_of(material, tmp_path / "mean", runs)
    about = read_json(made / "environment.json")
    assert about["identity"]["average"] == [sha256_of(r / "checkpoint.safetensors") for r in runs]
    assert about["initial_weights"] == WEIGHTS
    rows, _ = read_predictions(made / "predictions.parquet")
    assert rows.height == read_predictions(runs[0] / "predictions.parquet")[0].height
    assert not (made / "history.csv").exists()
    assert averaged_statuses(made) == ["ok"] * 3
    assert 0 <= bs.evaluate(made, "test", store=material.store).metrics["auc"] <= 1
    (runs[1] / "checkpoint.safetensors").write_bytes(b"")
    assert averaged_statuses(made) == ["ok", "changed", "ok"]


def test_a_mean_that_is_made_again_is_the_same(material, runs, tmp_path):
    made = mean_of(material, tmp_path / "mean", runs, "training.seed=7")
    bs.evaluate(made, out=made, store=material.store)
    found = bs.verify(made, rerun=True)
    assert found.rerun.equal
    assert found.rerun.same_weights
    assert not found.failed
    second = bs.verify(mean_of(material, tmp_path / "again", runs[::-1]), rerun=True)
    assert second.rerun.equal
    runs[1].rename(tmp_path / "gone")
    with pytest.raises(BlastscopeError, match="run1"):
        bs.verify(made, rerun=True)


def test_a_chain_of_starts_leads_to_the_first_weights(tmp_path):
    for k in range(3):
        start = {"starts_from": {"run": str(tmp_path / "gone" / f"r{k - 1}")}}
        (tmp_path / f"r{k}").mkdir()
        write_json(tmp_path / f"r{k}" / "environment.json", start if k else {})
    assert first_weights(tmp_path / "r2") == {}
    begun_with(tmp_path / "r0", WEIGHTS)
    assert first_weights(tmp_path / "r2") == WEIGHTS  # each beside the one that it began
    (tmp_path / "r0").rename(tmp_path / "elsewhere")
    with pytest.raises(BlastscopeError, match="r0"):
        first_weights(tmp_path / "r2")


@pytest.mark.parametrize("count", [0, 1])
def test_a_mean_needs_two_runs(material, runs, tmp_path, count):
    with pytest.raises(BlastscopeError, match="--average"):
        mean_of(material, tmp_path / "mean", runs[:count])
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize("settings", [(), ("training.distillation=0.5",)])
@pytest.mark.parametrize("option", ["teachers", "pseudo_labels"])
def test_what_changes_no_averaged_weight_is_refused(material, tmp_path, option, settings):
    """They would go into the run's identity, and into its report, without any effect."""
    table = [tmp_path / "of-another.parquet"]
    recipe = load_recipe(str(material.recipe), [*MEAN, *settings])
    with pytest.raises(BlastscopeError, match=f"--{option.replace('_', '-').removesuffix('s')}"):
        train(
            recipe, material.store, material.split, tmp_path / "mean", device="cpu",
            average=[tmp_path / "a", tmp_path / "b"], **{option: table},
        )  # fmt: skip
    assert not (tmp_path / "mean").exists()


def test_a_mean_of_runs_has_no_epoch_for_tensorboard(material, tmp_path):
    with pytest.raises(BlastscopeError, match="--tensorboard"):
        bs.train(
            material.recipe, material.store, material.split, out=tmp_path / "mean",
            settings=list(MEAN), average=[tmp_path / "a", tmp_path / "b"], tensorboard=True,
        )  # fmt: skip


def test_a_mean_of_distilled_runs_needs_no_teacher(material, runs, tmp_path):
    made = mean_of(material, tmp_path / "mean", runs, "training.distillation=0.5")
    assert "teachers" not in read_json(made / "environment.json")["identity"]


def test_a_cross_validation_of_means_learns_from_no_teacher(material, tmp_path):
    with pytest.raises(BlastscopeError, match="--teacher has no effect"):
        bs.cross_validate(
            material.recipe, material.store, out=tmp_path / "mean", folds=2,
            settings=[*MEAN, "training.distillation=0.5"], average=[tmp_path / "a", tmp_path / "b"],
            teachers=[tmp_path / "a"],
        )  # fmt: skip
    assert not (tmp_path / "mean").exists()


def test_a_recipe_that_is_trained_takes_no_runs(material, runs, tmp_path):
    with pytest.raises(BlastscopeError, match="--average"):
        run_of(material, tmp_path / "new", average=runs)


@pytest.mark.parametrize("settings", [MEAN[:1], MEAN[1:]])
def test_averaged_weights_and_no_epoch_go_together(material, settings):
    with pytest.raises(BlastscopeError, match=r"training\.epochs: 0"):
        load_recipe(str(material.recipe), settings)


def test_runs_with_other_first_weights_are_refused(material, runs, tmp_path):
    begun_with(runs[2], {**WEIGHTS, "sha256": "sha256:" + "2" * 64})
    with pytest.raises(BlastscopeError, match="different weights"):
        mean_of(material, tmp_path / "mean", runs)


def test_runs_that_began_with_random_weights_are_refused(material, tmp_path):
    seeds = (1, 2)
    runs = [run_of(material, tmp_path / f"r{s}", f"training.seed={s}", weights=None) for s in seeds]
    with pytest.raises(BlastscopeError, match="random"):
        mean_of(material, tmp_path / "mean", runs)


def test_a_run_of_another_input_or_network_is_refused(material, runs, tmp_path):
    other = run_of(material, tmp_path / "other", "input.normalization=minus_one_one")
    with pytest.raises(BlastscopeError, match="prepares its cells"):
        mean_of(material, tmp_path / "mean", [*runs, other])
    other = run_of(material, tmp_path / "wide", HEAD.replace("dense: 4", "dense: 5"))
    with pytest.raises(BlastscopeError, match=r"another network.*model\.head"):
        mean_of(material, tmp_path / "mean", [*runs, other])


def test_a_run_counts_once(material, runs, tmp_path):
    with pytest.raises(BlastscopeError, match="twice"):
        mean_of(material, tmp_path / "mean", [runs[0], runs[0]])


def test_frozen_statistics_that_differ_cannot_be_averaged(material, runs, tmp_path):
    """Batch normalization that is frozen keeps them, so the order of the runs would decide."""
    for run in runs:
        path = run / "recipe.yaml"
        path.write_text(path.read_text().replace("batchnorm: follow", "batchnorm: frozen"))
        assert "batchnorm: frozen" in path.read_text()
    with pytest.raises(BlastscopeError, match="frozen"):
        mean_of(material, tmp_path / "mean", runs, "model.batchnorm=frozen")


def test_a_run_that_learnt_from_pseudo_labels_is_refused(material, runs, tmp_path):
    """It was fitted on test cells, and neither its mean nor its student would say so."""
    path = runs[1] / "environment.json"
    about = read_json(path)
    write_json(path, about | {"identity": about["identity"] | {"pseudo_labels": ["sha256:0"]}})
    with pytest.raises(BlastscopeError, match="pseudo-labels"):
        mean_of(material, tmp_path / "mean", runs)


def test_a_run_of_another_split_is_refused(material, runs, tmp_path):
    from blastscope.data.splits import make_split

    split = make_split(material.store, "image", 5)[0]
    other = run_of(material._replace(split=split), tmp_path / "other")
    with pytest.raises(BlastscopeError, match="another split"):
        mean_of(material, tmp_path / "mean", [*runs, other])


@pytest.fixture
def crossvals(material, tmp_path):
    folders = []
    for seed in (1, 2):
        settings = {"training.epochs": 1, "training.seed": seed}
        made = bs.cross_validate(
            material.recipe, material.store, out=tmp_path / f"cv{seed}", folds=2, settings=settings
        )
        for run in sorted((made.path / "runs").glob("*/*")):
            begun_with(run, WEIGHTS)
        folders.append(made.path)
    return folders


def in_fold(crossval, fold):
    """The only run of a fold."""
    (run,) = (crossval / "runs" / f"repeat1-fold{fold}").iterdir()
    return run


def test_cross_validations_are_averaged_fold_by_fold(material, crossvals, tmp_path):
    mean = bs.cross_validate(
        material.recipe, material.store, out=tmp_path / "mean", folds=2, settings=list(MEAN),
        average=crossvals,
    )  # fmt: skip
    for fold in (1, 2):
        wanted = [sha256_of(in_fold(cv, fold) / "checkpoint.safetensors") for cv in crossvals]
        about = read_json(in_fold(mean.path, fold) / "environment.json")
        assert about["identity"]["average"] == wanted


@pytest.mark.parametrize("sees", ["stored", "augmented"])
def test_a_mean_can_be_taught_by_its_members_fold_by_fold(material, crossvals, tmp_path, sees):
    (tmp_path / "mean.yaml").write_text(
        f"title: Mean\nextends: {material.recipe}\nmodel: {{weights: averaged}}\n"
        "training: {epochs: 0}\n"
    )
    student = tmp_path / "student.yaml"
    student.write_text(
        f"title: Student\nextends: {material.recipe}\nstarts_from: mean\n"
        f"training: {{epochs: 1, distillation: 0.5, teachers_see: {sees}}}\n"
    )
    taught = bs.cross_validate(
        student, material.store, out=tmp_path / "taught", folds=2, average=crossvals,
        teachers=crossvals,
    )  # fmt: skip
    for fold in (1, 2):
        members = [in_fold(cv, fold) for cv in crossvals]
        folder = taught.path / "runs" / f"repeat1-fold{fold}"
        mean, network = (read_json(folder / x / "environment.json") for x in ("mean", "student"))
        weights = [sha256_of(run / "checkpoint.safetensors") for run in members]
        assert mean["identity"]["average"] == weights
        tables = [sha256_of(run / "predictions.parquet") for run in members]
        assert network["identity"]["teachers"] == tables
        assert network["starts_from"]["checkpoint"] == mean["checkpoint"]


def test_a_recipe_that_is_not_a_file_starts_from_no_file(material, tmp_path, monkeypatch):
    """A file of that name in the working folder is another one."""
    (tmp_path / "before.yaml").write_text(material.recipe.read_text())
    own = tmp_path / "own.yaml"
    own.write_text(f"title: Own\nextends: {material.recipe}\nstarts_from: before\n")
    assert [one.name for one in with_starts(own)] == ["before", "own"]
    loaded = bs.load_recipe(own)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlastscopeError, match="no recipe before"):
        with_starts(loaded)
    (tmp_path / "before.yaml").unlink()
    with pytest.raises(BlastscopeError, match=r"before\.yaml does not exist"):
        with_starts(own)


def test_a_mean_of_runs_that_started_from_another_starts_from_none(material, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(f"title: Own\nextends: {material.recipe}\nstarts_from: before\n")
    mean = load_recipe(str(own), MEAN)
    assert mean.starts_from == "before"  # whose run need not be there
    assert find_start(mean, tmp_path / "mean", None, {}) is None
    with pytest.raises(BlastscopeError, match="--from"):
        find_start(mean, tmp_path / "mean", tmp_path / "before", {})
    assert [one.name for one in with_starts(own, list(MEAN))] == ["own"]


def test_a_recipe_does_not_start_from_itself(material, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(f"title: Own\nextends: {material.recipe}\nstarts_from: own\n")
    with pytest.raises(BlastscopeError, match="starts from itself"):
        bs.cross_validate(own, material.store, out=tmp_path / "cv", folds=2)


@pytest.mark.parametrize(("settings", "count"), [(MEAN, 0), (MEAN, 1), ((), 1), ((), 2)])
def test_a_cross_validation_of_means_needs_two(material, tmp_path, settings, count):
    with pytest.raises(BlastscopeError, match="--average"):
        bs.cross_validate(
            material.recipe, material.store, out=tmp_path / "mean", folds=2,
            settings=list(settings), average=[tmp_path / "cv"] * count,
        )  # fmt: skip
    assert not (tmp_path / "mean").exists()
