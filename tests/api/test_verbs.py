"""Every verb through the package, on a few synthetic cells; and each command's JSON."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import blastscope as bs
from blastscope.api.result import Result
from blastscope.cli import app
from tests.training.conftest import RECIPE


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Cells, a store, a split, two runs of a tiny recipe and a bundle, made by the package."""
    folder = tmp_path_factory.mktemp("verbs")
    (folder / "tiny.yaml").write_text(RECIPE)
    cells = bs.synthesize(folder / "cells", 72, 9, seed=3)
    store = bs.prepare(cells, out=folder / "store", size=32)
    split = bs.split(store, "subject", seed=3)
    recipe = bs.load_recipe(folder / "tiny.yaml", {"training.epochs": 1})
    runs = [
        bs.train(recipe, store, split, out=folder / name, settings={"training.seed": seed})
        for name, seed in (("a", 1), ("b", 2))
    ]
    bundle = bs.make_bundle(runs[0], folder / "tiny.zip")
    return SimpleNamespace(
        folder=folder, cells=cells, store=store, split=split, recipe=recipe, runs=runs,
        bundle=bundle,
    )  # fmt: skip


def shows_itself(result: Result, tmp_path) -> None:
    """Every result has a table, JSON, text, a page and can be saved."""
    frame = result.to_frame()
    assert isinstance(frame, pl.DataFrame)
    json.dumps(result.as_json(), default=float)
    assert str(result)
    assert repr(result).startswith(f"<{type(result).__name__}: ")
    assert bs.DISCLAIMER in result._repr_html_()
    assert "<html" in result.to_html()
    assert result.save(tmp_path / type(result).__name__).exists()


def test_a_training_names_the_run_that_it_started_from(made, tmp_path):
    tuned = made.folder / "tuned.yaml"
    tuned.write_text("title: T\nextends: tiny.yaml\nstarts_from: tiny\ntraining: {epochs: 1}\n")
    run = bs.train(tuned, made.store, made.split, out=tmp_path / "run", start=made.runs[0])
    assert [str(made.runs[0].path) in note for note in run.notes()] == [True]
    assert made.runs[0].notes() == []


def test_data(made, tmp_path):
    found = bs.check(made.cells)
    assert (found.usable, found.found.cells, found.synthetic) == (True, 72, True)
    assert found.to_frame()["cells"].sum() == 72
    assert made.store.to_frame().height == made.store.made.cells == 72
    parts = made.split.to_frame()
    assert set(parts["part"]) == {"train", "validation", "test"}
    assert made.split.as_json()["disjoint"] is True
    baselines = bs.measure_baselines(made.store, folds=3, cuts=1)
    assert set(baselines.to_frame()["baseline"]) == {"always ALL", "size", "size and colour"}
    for result in (found, made.cells, made.store, made.split, baselines):
        shows_itself(result, tmp_path)


def test_recipes(made, tmp_path):
    listed = bs.list_recipes()
    assert "paper/cnn-exp2" in listed.to_frame()["name"].to_list()
    shows_itself(listed, tmp_path)
    changed = bs.load_recipe(made.recipe, {"training.epochs": 7})
    assert (made.recipe.training.epochs, changed.training.epochs) == (1, 7)
    assert changed == bs.load_recipe(made.folder / "tiny.yaml", {"training.epochs": 7}).model_copy(
        update={"overrides": changed.overrides}
    )
    with pytest.raises(bs.BlastscopeError, match=r"training\.epoch\b"):
        bs.load_recipe(made.recipe, {"training.epoch": 7})


def test_runs_are_judged_and_combined(made, tmp_path):
    first, second = made.runs
    assert first.evaluation.metrics["n"] == bs.evaluate(first).metrics["n"]
    again = bs.train(
        made.recipe, made.store, made.split, out=first.path, settings={"training.seed": 1}
    )
    assert again.already
    assert again.evaluation.as_json() == first.evaluation.as_json()
    models = {"one": first, "two": second}
    results = [
        first,
        bs.compare(models, resamples=100),
        bs.analyze_errors(models, store=made.store),
        bs.fit_ensemble(models, method="mean", resamples=100),
    ]
    for result in results:
        shows_itself(result, tmp_path)
    whole = results[3].to_frame().filter(pl.col("part") == "test")
    members = [bs.evaluate(run).cells.sort("cell")["p_all"].to_numpy() for run in made.runs]
    np.testing.assert_allclose(whole.sort("cell")["p_all"], np.mean(members, axis=0))


def test_a_bundle_predicts_arrays_as_files(made, tmp_path):
    shows_itself(made.bundle, tmp_path)
    inside = bs.inspect_bundle(made.bundle)
    assert inside.to_frame().height == 1
    shows_itself(inside, tmp_path)
    files = sorted(made.cells.path.rglob("*.bmp"))[:4]
    images = [np.array(Image.open(path).convert("RGB")) for path in files]
    by_file = bs.predict(files, made.bundle)
    arrays = bs.predict(images, made.bundle)
    assert by_file.path is None
    assert arrays.to_frame()["p_all"].to_list() == by_file.to_frame()["p_all"].to_list()
    assert bs.load(made.bundle).predict(images)["p_all"].to_list() == (
        arrays.to_frame()["p_all"].to_list()
    )
    shows_itself(by_file, tmp_path)
    assert pl.read_csv(by_file.save(tmp_path / "p.csv")).height == 4
    streamed = bs.stream_predictions(files, made.bundle)
    rows = [json.loads(line) for line in streamed.json_lines()]
    assert [row["cell"] for row in rows] == by_file.to_frame()["cell"].to_list()


def test_explanations_without_a_folder_go_with_the_result(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = sorted(made.cells.path.rglob("*.bmp"))[0]
    found = bs.explain(made.runs[0], cell, methods=["grad-cam"], device="cpu")
    assert list(tmp_path.iterdir()) == []
    assert found.path is None
    assert found.to_frame()["cell"].unique().to_list() == [cell.stem]
    shows_itself(found, tmp_path)
    saved = tmp_path / "ExplanationResult"
    assert (saved / "cells" / f"{cell.stem}.html").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        "check {cells}",
        "synth {new} --cells 9 --subjects 3",
        "prepare {cells} --out {store} --size 32",
        "split {store} --protocol subject --seed 3",
        "baselines {store} --folds 3 --cuts 1",
        "recipes",
        "recipes demo/cnn-small",
        "train {recipe} --store {store} --split {split} --out {a} --set training.epochs=1 "
        "--set training.seed=1",
        "evaluate {a}",
        "compare {a} two={b} --out {new} --resamples 100",
        "errors {a} two={b} --out {new}",
        "ensemble {a} two={b} --out {new} --method mean",
        "predict {image} --model {bundle}",
        "bundle {b} --out {new}",
        "inspect {bundle}",
        "weights list",
    ],
)
def test_json_of_every_command_is_json(made, tmp_path, arguments):
    places = {
        "cells": made.cells, "store": made.store, "split": made.split, "bundle": made.bundle,
        "a": made.runs[0], "b": made.runs[1], "recipe": made.folder / "tiny.yaml",
        "new": tmp_path / "new", "image": next(made.cells.path.rglob("*.bmp")),
    }  # fmt: skip
    command = arguments.format(**{name: str(getattr(p, "path", p)) for name, p in places.items()})
    done = CliRunner().invoke(app, [*command.split(), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
