"""Controls: random weights against OpenCV, exchanged labels against counts, chance near .5."""

from __future__ import annotations

import json

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.evaluation.baselines import baselines
from blastscope.evaluation.cell_measurements import measure_cells
from blastscope.evaluation.controls import (
    KERNELS,
    RANDOM_WEIGHTS,
    SIDE,
    add_controls,
    exchange_labels,
    random_features,
    random_kernels,
)


@pytest.fixture
def store(dataset, tmp_path):
    return prepare([dataset()], tmp_path / "store", StoreSettings(size=48)).path


def frame(rows):
    table = pl.DataFrame(rows, ["subject", "label", "pixel_hash"], orient="row")
    return table.with_columns(cell=pl.int_range(pl.len()).cast(pl.String))


def test_random_weights_are_a_convolution_and_equal_from_run_to_run(store):
    pixels = open_store(store).pixels
    features = random_features(pixels, np.array([3, 0]))
    assert features.shape == (2, 3 * KERNELS)
    assert (random_features(pixels, np.array([3, 0])) == features).all()
    small = cv2.resize(pixels[3], (SIDE, SIDE), interpolation=cv2.INTER_AREA) / np.float32(255)
    kernel = random_kernels()[5]
    response = sum(
        cv2.filter2D(small[:, :, c], -1, kernel[:, :, c], borderType=cv2.BORDER_CONSTANT)
        for c in range(3)
    )
    active = np.maximum(response, 0)[::2, ::2]
    theirs = [active.mean(), active.std(), active.max()]
    assert features[0].reshape(3, KERNELS)[:, 5] == pytest.approx(theirs, abs=1e-5)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_exchanged_labels_keep_the_subjects_of_each_class_and_whole_subjects(n_all, n_hem, k, seed):
    rows = [
        (f"{label}{subject}", label, f"{label}{subject}/{cell}")
        for label, count in (("all", n_all), ("hem", n_hem))
        for subject in range(count)
        for cell in range(1 + (subject + k) % 4)
    ]
    before = frame(rows)
    after = exchange_labels(before, seed)
    assert after["cell"].to_list() == before["cell"].to_list()
    one = after.group_by("subject").agg(pl.col("label").unique())
    assert (one["label"].list.len() == 1).all()
    counts = dict(one["label"].list.first().value_counts().iter_rows())
    assert counts == {"all": n_all, "hem": n_hem}
    assert exchange_labels(before, seed)["label"].to_list() == after["label"].to_list()


def test_subjects_that_share_a_cell_stay_one_and_mixed_subjects_stay_as_they_are():
    rows = [("1", "all", "a"), ("2", "all", "a"), ("2", "all", "b"), ("H1", "hem", "c")]
    rows += [("both", "all", "d"), ("both", "hem", "e")]
    ways = {tuple(exchange_labels(frame(rows), seed)["label"]) for seed in range(20)}
    assert ways == {("all",) * 3 + ("hem", "all", "hem"), ("hem",) * 3 + ("all", "all", "hem")}


def test_labels_without_a_meaning_are_judged_near_one_half(tmp_path):
    """Sizes that say nothing of the label: chance and its spread are around .5."""
    rng = np.random.default_rng(7)
    rows = [
        (f"UID_{mark}{subject}_{k}_1_{label}.bmp", int(rng.normal(200, 20)), 90)
        for label, mark in (("all", ""), ("hem", "H"))
        for subject in range(1, 13)
        for k in range(1, 11)
    ]
    table = pl.DataFrame(rows, ["file", "width", "height"], orient="row")
    table.write_csv(tmp_path / "boxes.csv")
    measured = measure_cells(tmp_path / "boxes.csv")
    found = add_controls(baselines(measured, 3, 2), measured, 3, 2)
    (chance,) = found.by_chance  # there are no pixels
    assert (chance.baseline, chance.draws) == ("size", 20)
    assert chance.auc.mean == pytest.approx(0.5, abs=0.03)
    assert chance.auc.mean < chance.percentile_95 <= chance.auc.highest
    assert found.baselines[1].folds["auc"].mean == pytest.approx(0.5, abs=0.08)


def test_text_frame_and_json_show_the_controls_only_if_they_are_asked_for(store):
    plain = bs.measure_baselines(store, folds=2, cuts=1)
    assert plain.as_json()["by_chance"] == ()
    assert RANDOM_WEIGHTS not in str(plain)
    words = ["baselines", str(store), "--folds", "2", "--cuts", "1", "--controls"]
    content = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [one["name"] for one in content["baselines"]][-1] == RANDOM_WEIGHTS
    assert content["baselines"][-1]["in_sample"]["auc"] == 1  # radius 30 and 22: easily told apart
    names = ["size and colour", RANDOM_WEIGHTS]
    assert [one["baseline"] for one in content["by_chance"]] == names
    found = bs.measure_baselines(store, folds=2, cuts=1, controls=True)
    shown = [row[0] for row in found.tables()[0].rows]
    for one, note in zip(content["by_chance"], found.notes()[-2:], strict=True):
        assert f"{one['percentile_95']:.3f} in 5 of 100 draws" in note
        assert f"{one['baseline']}, shuffled subjects" in shown
    chance = found.to_frame().filter(pl.col("baseline") == "size and colour, shuffled subjects")
    assert chance["unseen_mean"].to_list() == [content["by_chance"][0]["auc"]["mean"]]
