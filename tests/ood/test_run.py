"""A training leaves a detector behind, and predict reads it."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.cli import app
from blastscope.data.store import open_store
from blastscope.prediction.predict import predict
from blastscope.training.finished_run import open_run
from tests.conftest import write_cell


@pytest.fixture
def images(trained, tmp_path):
    """Three training cells, noise, and words."""
    folder = tmp_path / "new"
    for path in sorted(trained.images.values())[:3]:
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
    noise = np.random.default_rng(0).integers(1, 256, (120, 120, 3), np.uint8)
    write_cell(folder / "noise.bmp", noise)
    return folder


def test_predict_says_how_far_an_image_is_from_what_the_runs_know(trained, images, tmp_path):
    out = tmp_path / "new.parquet"
    made = predict([images], [trained.run], out, device="cpu")
    table = pl.read_parquet(out)
    run = open_run(trained.run)
    assert table["ood_score"].null_count() == 0
    assert table["out_of_distribution"].to_list() == (table["ood_score"] > 1).to_list()
    assert made.tally.out_of_distribution == table["out_of_distribution"].sum()
    # a cell of the training store: its pixels again
    cell = table.filter(pl.col("cell") != "noise")["cell"][0]
    store = open_store(trained.run.parent / "store32")
    row = store.cells["cell"].to_list().index(cell)
    by_hand = run.ood().of(store.pixels[[row]])[0]
    assert table.filter(pl.col("cell") == cell)["ood_score"][0] == pytest.approx(by_hand, rel=1e-4)


def test_several_runs_give_their_median_and_older_ones_have_no_say(trained, images, tmp_path):
    def ood(*runs):
        predict([images], list(runs), tmp_path / "o.parquet", device="cpu", force=True)
        return pl.read_parquet(tmp_path / "o.parquet")["ood_score"].to_list()

    old = tmp_path / "old"
    shutil.copytree(trained.other, old)
    (old / "ood.json").unlink()
    one, two = ood(trained.run), ood(trained.other)
    middle = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
    assert ood(trained.run, trained.other) == pytest.approx(middle)
    assert ood(trained.run, old) == pytest.approx(one)
    assert ood(old) == [None] * 4
    arguments = ["predict", images, "--model", old, "--out", tmp_path / "o.csv"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0
    assert "images are not found" in result.output
    strange = pl.read_csv(tmp_path / "o.csv")["out_of_distribution"]
    assert strange.null_count() == 4
