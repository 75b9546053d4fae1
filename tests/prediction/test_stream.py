"""Rows come in order and are the same, however cores share the work."""

from __future__ import annotations

import threading

import numpy as np
import polars as pl
import pytest

from blastscope.box import in_the_box
from blastscope.data.images import Decoded
from blastscope.data.layouts import Problem
from blastscope.prediction import pipeline
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.models import open_model
from tests.conftest import draw_cell

COUNT, BROKEN = 13, 5
FEW, MANY = 1000, 1  # as many cores as make thirteen images few, or many


@pytest.fixture
def predictor():
    return open_model([in_the_box()], engine="onnxruntime").predictor


def pictures(log: list[int], count: int = COUNT) -> InputImages:
    """Cells that all differ, one broken, which note when they are read and closed."""
    cells = [draw_cell(k, 90, 20 + k) for k in range(count)]
    lock = threading.Lock()

    def read(k: int) -> Decoded:
        with lock:
            log.append(k)
        return Decoded(cells[k], "", "RGB", ())

    made = [InputImage(f"{k}.bmp", f"{k}", lambda k=k: read(k)) for k in range(count)]
    if count > BROKEN:
        made[BROKEN] = InputImage("5.bmp", "5", Problem("5.bmp", "unreadable", "is not an image"))
    return InputImages(tuple(made), closers=(lambda: log.append(-1),))


def rows(predictor, cores: int, monkeypatch, batch: int = 3) -> pl.DataFrame:
    log: list[int] = []
    monkeypatch.setattr(pipeline, "BATCH", batch)
    monkeypatch.setattr(pipeline, "cores", lambda: cores)
    frames = list(pipeline.predict_rows(pictures(log), predictor, "box"))
    assert log[-1] == -1
    assert sorted(log) == [-1, *(k for k in range(COUNT) if k != BROKEN)]
    assert [len(frame) for frame in frames] == [batch] * (COUNT // batch) + [COUNT % batch]
    return pl.concat(frames)


def test_a_batch_a_core_says_the_same_to_the_bit_and_in_order(predictor, monkeypatch):
    few = rows(predictor, FEW, monkeypatch)
    assert "single_core" not in predictor.__dict__
    many = rows(predictor, MANY, monkeypatch)
    assert "single_core" in predictor.__dict__
    assert many.equals(few)
    assert few["cell"].to_list() == [str(k) for k in range(COUNT)]
    assert few["problem"].drop_nulls().to_list() == ["is not an image"]
    assert few["p_all"].null_count() == few["ood_score"].null_count() == 1
    assert few["p_all"].n_unique() == COUNT  # the cells can be told apart


def test_many_images_load_no_network_on_all_cores(predictor, monkeypatch):
    rows(predictor, MANY, monkeypatch)
    assert "engines" not in predictor.__dict__
    assert len(predictor.single_core.engines) == 1


def test_batches_of_two_and_of_nearly_all_say_the_same(predictor, monkeypatch):
    small = rows(predictor, MANY, monkeypatch, batch=2)
    assert small.equals(rows(predictor, MANY, monkeypatch, batch=COUNT - 1))


def test_what_cannot_be_shared_has_all_cores_for_each_batch(monkeypatch):
    torch = open_model([in_the_box()], engine="torch", device="cpu").predictor
    assert torch.single_core is None
    found = rows(torch, MANY, monkeypatch)
    onnx = open_model([in_the_box()], engine="onnxruntime").predictor
    wanted = rows(onnx, MANY, monkeypatch)
    np.testing.assert_allclose(
        found["p_all"].drop_nulls().to_numpy(), wanted["p_all"].drop_nulls().to_numpy(), atol=5e-4
    )


def test_many_rows_that_are_left_early_end_the_work_and_close(predictor, monkeypatch):
    log: list[int] = []
    monkeypatch.setattr(pipeline, "BATCH", 1)
    monkeypatch.setattr(pipeline, "cores", lambda: MANY)
    many = pipeline.predict_rows(pictures(log, 64), predictor, "box")
    next(many)
    many.close()
    assert log[-1] == -1
    assert len(log) < 64


def test_one_image_is_read_without_starting_a_pool(predictor, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("a pool was started")

    log: list[int] = []
    monkeypatch.setattr(pipeline, "in_order", never)
    frames = list(pipeline.predict_rows(pictures(log, 1), predictor, "box"))
    assert [len(frame) for frame in frames] == [1]
    assert log == [0, -1]
