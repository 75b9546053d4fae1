"""Two processes that share every batch train what one process trains."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training.devices import Rank, check_devices, run_ranks
from blastscope.training.train import train
from tests.training.ranks import as_rank, fail_in_the_second


def history(run):
    with (run / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_each_cell_is_in_one_share_and_weights_give_the_mean_over_all_cells():
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 4):
        ranks = [Rank(number, count) for number in range(count)]
        for cells in range(1, 10):
            batch = np.arange(cells)
            loss = rng.random(cells)
            assert sorted(np.concatenate([rank.share(batch) for rank in ranks])) == list(batch)
            means = [rank.weight(cells) * loss[rank.share_of_batch(batch)].mean() for rank in ranks]
            assert np.mean(means) == pytest.approx(loss.mean())


def test_two_processes_train_what_one_trains(material, tmp_path):
    # Its batch normalization must have the statistics of the whole batch. (Adam would turn rounding
    # into steps: the biases before batch normalization have no gradient.)
    # Five cells a batch do not divide the training part, so the shares of the last differ.
    changes = [
        "model.head=[gap]",
        "training.optimizer=sgd",
        "training.epochs=2",
        "training.batch=5",
    ]
    recipe = load_recipe(str(material.recipe), changes)
    one, two = tmp_path / "one", tmp_path / "two"
    train(recipe, material.store, material.split, one, device="cpu")
    work = partial(train, recipe, material.store, material.split, two, device="cpu")
    rank, made = run_ranks(partial(as_rank, work=work), 2, 1, "cpu")
    assert rank.first
    assert not made.already
    for ours, theirs in zip(history(two), history(one), strict=True):
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "rate"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name
    ours, theirs = (load_file(run / "checkpoint.safetensors") for run in (two, one))
    assert ours.keys() == theirs.keys()
    for name in ours:  # also the running statistics of batch normalization
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    ours, theirs = (read_predictions(run / "predictions.parquet")[0] for run in (two, one))
    assert ours["cell"].n_unique() == len(ours) == len(theirs)
    assert ours["cell"].equals(theirs["cell"])
    assert np.abs(ours["p_all"] - theirs["p_all"]).max() < 1e-3
    assert read_json(two / "environment.json")["devices"] == 2
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}


def test_the_failure_of_one_process_ends_all():
    with pytest.raises(BlastscopeError, match="device 1 of 2 failed: the second has no disk"):
        run_ranks(fail_in_the_second, 2, 1, "cpu")


@pytest.mark.parametrize(
    ("devices", "nodes", "device", "batch"),
    [(3, 1, "cpu", 2), (2, 2, "cpu", 8)]
    + [(torch.cuda.device_count() + 1, 1, "cuda", 8)] * torch.cuda.is_available(),
)
def test_an_impossible_request_is_refused(devices, nodes, device, batch, monkeypatch):
    for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BlastscopeError):
        check_devices(devices, nodes, device, batch)


def test_torchrun_must_start_as_many_processes(monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BlastscopeError, match="3 processes"):
        check_devices(2, 1, "cpu", 8)
