from __future__ import annotations

import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

from blastscope.evaluation.curves import Curve
from blastscope.report import evaluation_plots as plots
from blastscope.report.demo_page import gap_plot
from blastscope.report.style import save

DRAWS_PLOTS = True

HISTORY = pl.DataFrame(
    {
        "epoch": [1.0, 2.0, 3.0],
        "train_loss": [0.6, 0.5, 0.4],
        "train_accuracy": [0.6, 0.7, 0.8],
        "val_loss": [0.6, 0.4, 0.4],
        "val_accuracy": [0.6, 0.8, 0.7],
    }
)


def subjects(*names: str) -> pl.DataFrame:
    row = {"label": "hem", "cells": 4, "correct": 2, "accuracy": 0.5, "low": 0.15, "high": 0.85}
    return pl.DataFrame([{"subject": name, **row, "mean_p_all": 0.5} for name in names])


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def test_the_bytes_are_the_same_each_time(tmp_path):
    curve = Curve(np.array([0, 0.2, 1.0]), np.array([0, 0.9, 1.0]), 0.9, (0.2, 0.9))
    first = save(plots.roc_plot(curve), tmp_path / "a", "roc")
    second = save(plots.roc_plot(curve), tmp_path / "b", "roc")
    assert first.read_bytes() == second.read_bytes()
    png = tmp_path / "a" / "roc.png"
    assert png.read_bytes() == (tmp_path / "b" / "roc.png").read_bytes()
    with Image.open(png) as picture:
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


def test_the_callers_style_is_left_alone():
    before = dict(mpl.rcParams)
    plots.learning_plot(HISTORY)
    assert dict(mpl.rcParams) == before


def test_the_confusion_matrix_shows_truth_in_rows():
    figure = plots.confusion_plot(tn=636, fp=60, fn=35, tp=1402)
    shown = texts(figure)
    assert {"636", "60", "35", "1,402", "91.4% of normal", "97.6% of ALL"} <= set(shown)
    placed = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    assert placed["60"][0] == 1  # called ALL
    assert placed["60"][1] < 0.5  # normal in truth
    assert placed["35"][0] == 0
    assert placed["35"][1] > 0.5


def test_a_part_of_one_class_can_be_drawn(tmp_path):
    save(plots.confusion_plot(tn=0, fp=0, fn=1, tp=3), tmp_path, "one")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_odd_subject_names_leave_the_svg_valid(tmp_path):
    figure = plots.subjects_plot(subjects("A$1$", "--><script>", "tab\tbell\x07", r"$\frac{"))
    root = ET.fromstring(save(figure, tmp_path, "odd").read_text())
    assert root.tag.endswith("svg")
    assert "A$1$  (4)" in texts(figure)


def test_many_subjects_are_cut_to_the_worst():
    figure = plots.subjects_plot(subjects(*(f"H{i}" for i in range(200))))
    assert any("the worst 60 of 200" in text for text in texts(figure))
    assert len(figure.axes[0].get_yticklabels()) == 60


def test_the_best_epoch_is_the_first_of_the_lowest_validation_loss():
    assert plots.best_epoch(HISTORY)["epoch"] == 2
    empty = HISTORY.with_columns(val_loss=pl.lit(None, dtype=pl.Float64))
    assert plots.best_epoch(empty) is None


def test_the_gap_is_written_between_its_ends():
    rows = [("CNN", {"weighted F1": (0.95, 0.85), "AUC": (0.98, None)})]
    assert "−0.100" in texts(gap_plot(rows))
