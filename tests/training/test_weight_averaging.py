"""The average and the statistics against PyTorch's own; the same run after an interrupt."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, update_bn

from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from blastscope.training.dataset import read_inputs
from blastscope.training.network_input import pixel_input
from blastscope.training.run_folder import load_checkpoint
from blastscope.training.train import train
from blastscope.training.trainer import TrainingWatch, _module
from blastscope.training.weight_averaging import WeightAverage, estimate_statistics

SETTINGS = ("training.average_from=2", "training.epochs=3")


def run_of(material, run, *settings, watch=None):
    recipe = load_recipe(str(material.recipe), [*SETTINGS, *settings])
    return train(recipe, material.store, material.split, run, device="cpu", watch=watch)


@pytest.fixture
def module(material):
    torch.manual_seed(1)
    recipe = load_recipe(str(material.recipe), [*SETTINGS, "training.batch=7"])
    classifier = build_model(recipe, None, pretrained=False)
    inputs = read_inputs(recipe, material.store, material.split)
    return _module(classifier, pixel_input(classifier, inputs), recipe, inputs)


def test_the_average_is_that_of_pytorch(module):
    classifier, average = module.classifier, WeightAverage(1)
    theirs = AveragedModel(classifier)
    for step in range(5):
        with torch.no_grad():
            for weight in classifier.parameters():
                weight.add_(torch.randn_like(weight) * (step + 1))
        average.add(classifier)
        theirs.update_parameters(classifier)
    for name, weight in theirs.module.named_parameters():
        assert torch.allclose(average.mean[name].float(), weight, rtol=1e-5, atol=1e-6), name


def test_statistics_are_those_of_pytorch(module):
    module.recipe = module.recipe.model_copy(
        update={"training": module.recipe.training.model_copy(update={"epochs": 1})}
    )
    estimate_statistics(module, torch.device("cpu"))
    ours = {k: v.clone() for k, v in module.classifier.state_dict().items() if "running" in k}
    assert len(ours) == 8
    update_bn(module.epoch(1), module.classifier)
    for name, theirs in module.classifier.state_dict().items():
        if "running" in name:
            assert torch.allclose(ours[name], theirs, rtol=1e-4, atol=1e-5), name


def test_the_weights_are_the_mean_over_the_steps_from_the_epoch_on(material, tmp_path, monkeypatch):
    seen = []
    add = WeightAverage.add

    def noted(self, classifier):
        seen.append({k: v.detach().clone() for k, v in classifier.named_parameters()})
        add(self, classifier)

    monkeypatch.setattr(WeightAverage, "add", noted)
    run_of(material, tmp_path / "run")
    recipe = load_recipe(str(material.recipe))
    inputs = read_inputs(recipe, material.store, material.split)
    batches = -(-len(inputs.training.rows) // recipe.training.batch)
    assert len(seen) == 2 * batches  # epochs 2 and 3
    kept = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    for name in seen[0]:
        mean = torch.stack([one[name].double() for one in seen]).mean(0)
        assert torch.allclose(kept[name].double(), mean, atol=1e-6), name


@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_run_has_the_same_average(material, tmp_path, after):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_of(material, whole)
    done = 0

    def note(row):
        nonlocal done
        done = row["epoch"]

    def stop(cells, loss):
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_of(material, killed, watch=TrainingWatch(on_epoch=note, on_batch=stop))
    run_of(material, killed)
    assert sha256_of(whole / "checkpoint.safetensors") == sha256_of(
        killed / "checkpoint.safetensors"
    )


def test_a_run_killed_before_its_average_is_written_gets_it(material, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_of(material, whole)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, "weights", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_of(material, killed)
    assert not (killed / "predictions.parquet").exists()
    run_of(material, killed)
    assert len({sha256_of(run / "checkpoint.safetensors") for run in (whole, killed)}) == 1


def test_an_epoch_behind_the_last_is_refused(material):
    with pytest.raises(BlastscopeError, match="average_from"):
        load_recipe(str(material.recipe), ["training.average_from=9"])


def test_an_average_that_diverged_is_refused(material, tmp_path, monkeypatch):
    add = WeightAverage.add

    def spoilt(self, classifier):
        with torch.no_grad():
            next(iter(classifier.parameters())).fill_(float("nan"))
        add(self, classifier)

    monkeypatch.setattr(WeightAverage, "add", spoilt)
    with pytest.raises(BlastscopeError, match="diverged"):
        run_of(material, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
