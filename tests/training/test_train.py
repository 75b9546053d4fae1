import csv
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from blastscope.api.evaluate import evaluate
from blastscope.data.preparation import prepare
from blastscope.data.split_table import Split, read_split
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, read_json, sha256_of
from blastscope.io.tables import METADATA_KEY
from blastscope.models.classifier import build_model
from blastscope.recipes.library import load_recipe
from blastscope.training.train import train
from blastscope.training.trainer import Record, TrainingWatch


def run_of(material, run, *overrides, **more):
    recipe = load_recipe(str(material.recipe), overrides)
    return train(recipe, material.store, material.split, run, device="cpu", **more)


def interrupt(material, run, after, *overrides):
    """Begin a run and interrupt it in the epoch behind ``after``."""
    done = 0

    def note(row):
        nonlocal done
        done = row["epoch"]

    def stop_in_the_next_epoch(cells, loss):
        if done == after:
            raise KeyboardInterrupt

    watch = TrainingWatch(on_epoch=note, on_batch=stop_in_the_next_epoch)
    with pytest.raises(KeyboardInterrupt):
        run_of(material, run, *overrides, watch=watch)


def history(run):
    with (run / "history.csv").open() as file:
        return [
            {key: float(value) for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]


def test_a_run_holds_what_the_contract_says(material, tmp_path):
    run = tmp_path / "run"
    run_of(material, run)
    names = {path.name for path in run.iterdir()}
    assert names == {
        "recipe.yaml",
        "history.csv",
        "network.json",
        "checkpoint.safetensors",
        "ood.json",
        "predictions.parquet",
        "environment.json",
    }
    table = pl.read_parquet(run / "predictions.parquet")
    assert table.columns == ["cell", "subject", "label", "part", "model", "p_all"]
    assert table.height == 40
    assert (
        load_recipe(str(run / "recipe.yaml")).training == load_recipe(str(material.recipe)).training
    )
    evaluate(run, out=run)
    assert read_json(run / "metrics.json")["parts"]["test"]["n"] == 10


def test_predictions_are_those_of_the_best_epochs_weights(material, tmp_path):
    run = tmp_path / "run"
    run_of(material, run)
    note = json.loads(pl.read_parquet_metadata(run / "predictions.parquet")[METADATA_KEY])
    assert note["checkpoint"] == sha256_of(run / "checkpoint.safetensors")
    model = build_model(load_recipe(str(material.recipe)))
    model.load_state_dict(load_file(run / "checkpoint.safetensors"))
    store = open_store(material.store)
    pixels = torch.from_numpy(np.array(store.pixels)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        logits = model.eval()(pixels)
    by_cell = dict(zip(store.cells["cell"], torch.sigmoid(logits.double()).tolist(), strict=True))
    table = pl.read_parquet(run / "predictions.parquet")
    for cell, p_all in table.select("cell", "p_all").iter_rows():
        assert abs(by_cell[cell] - p_all) < 1e-6
    # and those weights give the best validation loss of the history, to rounding
    validation = table.filter(pl.col("part") == "validation")
    target = (validation["label"] == "all").to_numpy()
    p = validation["p_all"].to_numpy()
    loss = -np.log(np.where(target, p, 1 - p)).mean()
    assert abs(loss - min(row["val_loss"] for row in history(run))) < 1e-5


def test_again_is_a_no_op_and_another_recipe_is_refused(material, tmp_path):
    run = tmp_path / "run"
    assert not run_of(material, run).already
    before = sha256_of(run / "predictions.parquet")
    assert run_of(material, run).already
    assert sha256_of(run / "predictions.parquet") == before
    with pytest.raises(BlastscopeError, match=r"differs in training\.\S+ \("):
        run_of(material, run, "training.rate=0.02")
    other = material._replace(split=make_split(material.store, "image", 3)[0])
    with pytest.raises(BlastscopeError, match="is a run that differs in split"):
        run_of(other, run)


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_run_ends_as_one_that_was_not(material, tmp_path, after):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_of(material, whole)
    interrupt(material, killed, after)
    assert len(history(killed)) == after
    assert not (killed / "predictions.parquet").exists()
    run_of(material, killed)
    assert history(killed) == history(whole)
    checkpoints = {sha256_of(run / "checkpoint.safetensors") for run in (killed, whole)}
    assert len(checkpoints) == 1
    a, b = (pl.read_parquet(run / "predictions.parquet") for run in (whole, killed))
    assert a.equals(b)


def test_a_process_killed_outright_goes_on(material, tmp_path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from blastscope.recipes.library import load_recipe\n"
        "from blastscope.training.trainer import TrainingWatch\n"
        "from blastscope.training.train import train\n"
        "recipe, store, split, run = sys.argv[1:]\n"
        "kill = lambda row: row['epoch'] == 3 and os.kill(os.getpid(), 9)\n"
        "paths = (Path(store), Path(split), Path(run))\n"
        "train(load_recipe(recipe), *paths, watch=TrainingWatch(on_epoch=kill))\n"
    )
    run = tmp_path / "run"
    arguments = [str(path) for path in (*material, run)]
    result = subprocess.run([sys.executable, "-c", code, *arguments], check=False)
    assert result.returncode == -9
    assert (run / "resume.ckpt").is_file()
    run_of(material, run)
    run_of(material, tmp_path / "whole")
    assert history(run) == history(tmp_path / "whole")
    assert not (run / "resume.ckpt").exists()


def test_a_kill_while_predicting_trains_nothing_again(material, tmp_path, monkeypatch):
    run = tmp_path / "run"

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blastscope.training.train.probabilities", stop)
        with pytest.raises(KeyboardInterrupt):
            run_of(material, run)
    (run / ".resume.999.part.ckpt").touch()  # as a killed process would leave
    epochs = []
    run_of(material, run, watch=TrainingWatch(on_epoch=epochs.append))
    assert epochs == []
    assert (run / "predictions.parquet").is_file()
    assert not list(run.glob(".*"))
    assert not (run / "resume.ckpt").exists()


def test_two_trainings_of_one_run_do_not_mix(material, tmp_path):
    with (
        only_one(tmp_path / "run"),
        pytest.raises(BlastscopeError, match="another process"),
    ):
        run_of(material, tmp_path / "run")


def test_a_users_own_recipe_is_not_overwritten(material, tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    mine = material.recipe.rename(folder / "recipe.yaml")
    text = mine.read_text()
    with pytest.raises(BlastscopeError, match="is not a run and holds"):
        run_of(material._replace(recipe=mine), folder)
    assert mine.read_text() == text


def test_a_split_without_a_test_part_is_judged_by_validation(material, tmp_path):
    split = read_split(material.split)
    table = split.table.with_columns(pl.col("part").replace("test", "train"))
    Split(table, "own", 0).write(tmp_path / "own.parquet")
    made = run_of(material._replace(split=tmp_path / "own.parquet"), tmp_path / "run")
    assert made.part == "validation"
    assert evaluate(made.path, made.part).metrics["n"] > 0


def test_early_stopping_and_the_first_of_equals(tmp_path):
    record = Record(tmp_path / "h.csv", None)
    record.history = [
        {"epoch": k + 1, "val_loss": loss} for k, loss in enumerate([0.9, 0.5, 0.5, 0.7, 0.6])
    ]
    assert record.best["epoch"] == 2
    assert record.finished(epochs=30, patience=3)
    assert not record.finished(epochs=30, patience=4)
    assert record.finished(epochs=5, patience=4)


def test_training_stops_after_patience(material, tmp_path):
    # a rate so high that the loss soon rises: the run ends `patience` epochs after its best
    run_of(
        material, tmp_path / "run", "training.epochs=40", "training.rate=0.5", "training.patience=2"
    )
    losses = [row["val_loss"] for row in history(tmp_path / "run")]
    assert len(losses) < 40
    assert len(losses) - 1 - int(np.argmin(losses)) == 2


@pytest.mark.parametrize("behind", [1, 2])
def test_patience_is_not_forgotten_by_a_kill(material, tmp_path, behind):
    settings = ("training.epochs=40", "training.rate=0.5", "training.patience=3")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_of(material, whole, *settings)
    losses = [row["val_loss"] for row in history(whole)]
    after = 1 + int(np.argmin(losses)) + behind  # patience has begun to run out
    assert after < len(losses) < 40
    interrupt(material, killed, after, *settings)
    run_of(material, killed, *settings)
    assert history(killed) == history(whole)


def test_a_schedule_goes_on_where_a_kill_left_it(material, tmp_path):
    settings = ("training.schedule=cosine", "training.epochs=4", "training.patience=9")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_of(material, whole, *settings)
    interrupt(material, killed, 2, *settings)
    run_of(material, killed, *settings)
    assert history(killed) == history(whole)
    rates = [row["rate"] for row in history(whole)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_another_seed_is_another_run(material, tmp_path):
    run_of(material, tmp_path / "a", "training.epochs=1")
    run_of(material, tmp_path / "b", "training.epochs=1", "training.seed=25")
    assert history(tmp_path / "a") != history(tmp_path / "b")


def test_a_run_that_starts_from_another(material, tmp_path):
    first, second = tmp_path / "runs" / "first", tmp_path / "runs" / "second"
    run_of(material, first, "training.epochs=1")
    recipe = tmp_path / "second.yaml"
    recipe.write_text(
        "title: Second\nextends: tiny.yaml\nstarts_from: tiny\n"
        "model: {batchnorm: frozen}\ntraining: {rate: 1.0e-9, epochs: 1, augmentation: none}\n"
    )
    tuned = material._replace(recipe=recipe)
    run_of(tuned, second)
    before, after = (load_file(run / "checkpoint.safetensors") for run in (first, second))
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)

    with pytest.raises(BlastscopeError, match="no finished one on this store and split"):
        run_of(tuned, tmp_path / "elsewhere" / "run")
    run_of(tuned, tmp_path / "elsewhere" / "run", start=first)
    assert run_of(tuned, tmp_path / "elsewhere" / "run").already
    assert run_of(tuned, tmp_path / "elsewhere" / "run", start=first).already
    with pytest.raises(BlastscopeError, match="did not start from"):
        run_of(tuned, tmp_path / "elsewhere" / "run", start=second)
    noted = read_json(tmp_path / "elsewhere" / "run" / "environment.json")["starts_from"]
    assert noted["checkpoint"] == sha256_of(first / "checkpoint.safetensors")
    other = tuned._replace(split=make_split(material.store, "image", 3)[0])
    with pytest.raises(BlastscopeError, match="was trained on another split"):
        run_of(other, tmp_path / "elsewhere" / "other", start=first)
    with pytest.raises(BlastscopeError, match="starts from no other run"):
        run_of(material, tmp_path / "third", start=first)


def test_what_does_not_fit_is_said(material, tmp_path, dataset):
    with pytest.raises(BlastscopeError, match=r"needs cells of size 48, and .* has 32: prepare"):
        run_of(material, tmp_path / "run", "input.size=48")
    both = r"give --set input\.size=32 --set input\.scale=crop\."
    with pytest.raises(BlastscopeError, match=both):
        run_of(material, tmp_path / "run", "input.size=48", "input.scale=keep")
    other = prepare([dataset(2, 3, folder="few")], tmp_path / "few-store", StoreSettings(size=32))
    with pytest.raises(BlastscopeError, match=r"names \d+ cells that .* lacks"):
        run_of(material._replace(store=other.path), tmp_path / "run")
    with pytest.raises(BlastscopeError, match="There is no mps device here"):
        train(load_recipe(str(material.recipe)), *material[1:], tmp_path / "run", device="mps")
    with pytest.raises(BlastscopeError, match="'gpu' is not a device"):
        train(load_recipe(str(material.recipe)), *material[1:], tmp_path / "run", device="gpu")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_something_else_is_not_a_run(material, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "thesis.txt").write_text("mine")
    with pytest.raises(BlastscopeError, match="is not a run and holds"):
        run_of(material, run)
    assert [path.name for path in run.iterdir()] == ["thesis.txt"]


def test_a_stale_checkpoint_is_refused(material, tmp_path):
    run_of(material, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-1] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(BlastscopeError, match=r"(?i)stale|not the"):
        evaluate(tmp_path / "run")


def test_a_deterministic_run_repeats_itself(material, tmp_path):
    for name in ("a", "b"):
        run_of(material, tmp_path / name, "training.deterministic=true", "training.epochs=2")
    assert sha256_of(tmp_path / "a" / "checkpoint.safetensors") == sha256_of(
        tmp_path / "b" / "checkpoint.safetensors"
    )


def test_tensorboard_on_request(material, tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run_of(material, tmp_path / "run", "training.epochs=2", watch=TrainingWatch(tensorboard=True))
    reader = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    reader.Reload()
    logged = [event.value for event in reader.Scalars("train_loss")]
    np.testing.assert_allclose(logged, [row["train_loss"] for row in history(tmp_path / "run")])


def test_tensorboard_that_is_not_installed(material, tmp_path, monkeypatch):
    def none(*arguments, **more):
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr("lightning.pytorch.loggers.TensorBoardLogger", none)
    with pytest.raises(BlastscopeError, match=r"blastscope\[tensorboard\]"):
        run_of(material, tmp_path / "run", watch=TrainingWatch(tensorboard=True))


def test_synthetic_cells_make_a_synthetic_model(material, dataset, tmp_path):
    root = dataset(folder="drawn")
    (root / "SYNTHETIC.txt").write_text("drawn")
    store = prepare([root], tmp_path / "drawn-store", StoreSettings(size=32)).path
    drawn = material._replace(store=store, split=make_split(store, "subject", 3)[0])
    run_of(drawn, tmp_path / "run", "training.epochs=1")
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert table["model"].unique().to_list() == ["tiny (synthetic)"]
    evaluate(tmp_path / "run", out=tmp_path / "run")
    assert "ynthetic cells" in (tmp_path / "run" / "report.html").read_text()
