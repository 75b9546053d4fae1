"""From the folds of C-NMC to a bundle: a small data set of the real layout, a tiny recipe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import blastscope as bs
from blastscope.api.build_model import RECIPE as BEST
from blastscope.api.build_model import plan_build, plan_notes
from blastscope.bundle.read import open_bundle
from blastscope.cli import app
from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE

TESTED = {"57", "58", "H57", "H58"}
"""The subjects of the preliminary set."""


def cell(number: int, label: str) -> np.ndarray:
    tint = (1.2, 0.8, 1.0) if label == "all" else (0.8, 1.2, 1.0)
    pixels = draw_cell(number, 60, 20) * np.array(tint)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def write_folds(root: Path, folds: tuple[int, ...], subjects: int = 4) -> Path:
    """Write ``fold_N/{all,hem}`` with two cells of each subject."""
    for fold in folds:
        for k in range(subjects):
            for label, name in (("all", f"{fold * 10 + k + 1}"), ("hem", f"H{fold * 10 + k + 1}")):
                for number in (1, 2):
                    stem = f"UID_{name}_{number}_1_{label}"
                    pixels = cell(fold * 1000 + k * 10 + number, label)
                    write_cell(root / f"fold_{fold}" / label / f"{stem}.bmp", pixels)
    return root


def write_preliminary(root: Path) -> Path:
    """Write the preliminary set as it is published: numbered images, and a table of labels."""
    rows = ["Patient_ID,new_names,labels"]
    for k, name in enumerate(sorted(TESTED) * 2, 1):
        label = "hem" if name.startswith("H") else "all"
        path = root / "C-NMC_test_prelim_phase_data" / f"{k}.bmp"
        write_cell(path, cell(9000 + k, label))
        rows.append(f"UID_{name}_{k}_1_{label}.bmp,{k}.bmp,{int(label == 'all')}")
    (root / "C-NMC_test_prelim_phase_data_labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("build")
    (root / "tiny.yaml").write_text(RECIPE.replace("epochs: 4", "epochs: 1"))
    write_folds(root / "C-NMC_Leukemia" / "training_data", (0, 1, 2))
    write_preliminary(root / "C-NMC_Leukemia" / "validation_data")
    return root


@pytest.fixture(scope="module")
def built(place):
    """Built after a first try that was killed in the cross-validation."""
    out = place / "model"
    words = [
        "build",
        place / "C-NMC_Leukemia",
        "--out",
        out,
        "--recipe",
        place / "tiny.yaml",
        "--folds",
        3,
    ]
    command = [sys.executable, "-m", "blastscope", *map(str, words), "--device", "cpu"]
    done = out / "crossval" / "runs" / "repeat1-fold1" / "tiny" / "predictions.parquet"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while process.poll() is None and not done.exists() and time.monotonic() - began < 300:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done.exists()
    assert not (out / "model.zip").exists()
    first = done.stat().st_mtime_ns
    result = bs.build_model(
        place / "C-NMC_Leukemia", out=out, recipe=place / "tiny.yaml", folds=3, device="cpu"
    )
    assert done.stat().st_mtime_ns == first  # what was finished stays
    return result


def test_the_official_folds_and_the_preliminary_set_make_a_model(built):
    assert built.plan.tested
    assert plan_notes(built.plan) == []
    table, about = read_predictions(built.path / "crossval" / "predictions.parquet")
    assert table.height == 48
    assert table["fold"].n_unique() == 3
    assert about["out_of_fold"] == "subject"
    assert not set(table["subject"]) & TESTED  # what tests the network decides nothing
    run, _ = read_predictions(built.path / "run" / "predictions.parquet")
    assert set(run.filter(pl.col("part") == "test")["subject"]) == TESTED
    assert not set(run.filter(pl.col("part") != "test")["subject"]) & TESTED
    assert built.training.evaluation.part == "test"


def test_the_bundle_decides_by_the_cross_validation(built):
    found = open_bundle(built.bundle.path)
    found.verify()
    assert [one.own for one in found.manifest.evaluations].count(True) == 1
    assert {one.cells for one in found.manifest.evaluations} == {8, 48}
    if found.decision is not None:
        assert found.decision.fitted_on.folds == 3
    assert bs.load(built.bundle.path).predict([cell(1, "all")])["p_all"][0] is not None


def test_again_it_changes_nothing(built, place):
    before = (built.path / "model.zip").read_bytes()
    again = bs.build_model(
        place / "C-NMC_Leukemia", out=built.path, recipe=place / "tiny.yaml", folds=3, device="cpu"
    )
    assert again.training.already
    assert (built.path / "model.zip").read_bytes() == before
    assert again.to_frame().equals(built.to_frame())


def test_another_recipe_needs_another_folder(built, place):
    with pytest.raises(BlastscopeError, match="a model being built that differs in"):
        bs.build_model(
            place / "C-NMC_Leukemia", out=built.path, recipe=place / "tiny.yaml", folds=3,
            settings={"training.epochs": 2}, device="cpu",
        )  # fmt: skip


def test_one_fold_alone_is_cut_by_subject_and_has_no_test_set(place, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(place / "C-NMC_Leukemia" / "training_data" / "fold_1", data / "fold_1")
    (data / "fold_1" / "all" / "UID_11_9_9_all.bmp").write_bytes(b"BM")
    normal = next((data / "fold_1" / "hem").iterdir())
    normal.rename(data / "fold_1" / "all" / normal.name)
    call = partial(bs.build_model, data, out=tmp_path / "m", recipe=place / "tiny.yaml", folds=2)
    with pytest.raises(BlastscopeError, match=r"(?s)--skip-bad.*--believe|--believe.*--skip-bad"):
        call(device="cpu")
    made = call(device="cpu", skip_bad=True, believe="name")
    assert made.left_out == 1
    assert not made.plan.tested
    told = " ".join(made.notes())
    assert "there is only fold_1" in told
    assert "trained on all cells" in told
    run, _ = read_predictions(tmp_path / "m" / "run" / "predictions.parquet")
    assert run.height == 16
    assert set(run["part"]) == {"train", "validation"}
    assert read_predictions(tmp_path / "m" / "crossval" / "predictions.parquet")[0].height == 16
    assert made.bundle.path.is_file()


def test_a_recipe_that_starts_from_another_is_trained_after_it(place, tmp_path):
    (tmp_path / "first.yaml").write_text(RECIPE.replace("epochs: 4", "epochs: 1"))
    (tmp_path / "second.yaml").write_text("extends: first.yaml\nstarts_from: first\ntitle: x\n")
    data, out = tmp_path / "data", tmp_path / "m"
    shutil.copytree(place / "C-NMC_Leukemia" / "training_data" / "fold_1", data / "fold_1")
    call = partial(bs.build_model, data, out=out, folds=2, device="cpu")
    made = call(recipe=tmp_path / "second.yaml")
    for run, start in (
        (out / "run", out / "starts" / "first"),
        (out / "crossval/runs/repeat1-fold2/second", out / "crossval/runs/repeat1-fold2/first"),
    ):
        told = json.loads((run / "environment.json").read_text())["starts_from"]
        assert Path(told["run"]) == start
        assert told["checkpoint"] == sha256_of(start / "checkpoint.safetensors")
    assert made.bundle.as_json()["name"] == "second"
    written = (out / "model.zip").read_bytes()
    assert call(recipe=tmp_path / "second.yaml").training.already
    assert (out / "model.zip").read_bytes() == written
    (tmp_path / "first.yaml").write_text(RECIPE.replace("epochs: 4", "epochs: 2"))
    with pytest.raises(BlastscopeError, match="a model being built that differs in"):
        call(recipe=tmp_path / "second.yaml")


@pytest.mark.parametrize("recipe", ["soup", "taught", "distilled"])
def test_a_recipe_that_needs_finished_runs_is_refused_before_anything_is_written(tmp_path, recipe):
    with pytest.raises(BlastscopeError, match="finished runs"):
        bs.build_model(tmp_path, out=tmp_path / "m", recipe=f"beyond/efficientnet-lite0-{recipe}")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("folds", "tested"),
    [
        (["0", "1", "2", "preliminary"], True),
        (["0", "1", "2"], False),
        (["1", "preliminary"], True),
        (["preliminary"], False),
        ([None], False),
    ],
)
def test_the_plan_follows_from_the_folds_that_are_there(folds, tested):
    cells = pl.DataFrame(
        {"fold": folds, "label": ["all"] * len(folds)}, {"fold": pl.String, "label": pl.String}
    )
    plan = plan_build(cells)
    assert plan.tested == tested
    assert plan.without == (("preliminary",) if tested else ())


def test_the_recipe_of_make_model_is_there():
    assert bs.load_recipe(BEST).name == BEST
    shown = CliRunner().invoke(app, ["build", "--help"])
    assert BEST in "".join(shown.output.split())


def test_a_fold_that_is_not_there_cannot_be_left_out(place, built):
    with pytest.raises(BlastscopeError, match="No cell is of the fold '7'"):
        bs.cross_validate(
            place / "tiny.yaml", built.path / "store", out=place / "cv", without=["7"]
        )
