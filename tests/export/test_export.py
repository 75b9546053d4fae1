"""A run as an ONNX file: written where engines agree on cells, refused in a sentence elsewhere."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from typer.testing import CliRunner

from blastscope.api.bundle import make_bundle
from blastscope.api.export_onnx import ExportResult
from blastscope.cli import app, main
from blastscope.data.store import open_store
from blastscope.engines.engine import mean_probability
from blastscope.engines.onnx_engines import OnnxRuntimeEngine
from blastscope.errors import BlastscopeError
from blastscope.export import export as exporting
from blastscope.export.check_cells import cells_for, parts_for_int8, sample
from blastscope.export.engine_check import EngineMeasurement, refuse_difference
from blastscope.export.export import export_run
from blastscope.export.onnx_graph import onnx_graph
from blastscope.export.quantization import quantize
from blastscope.io.predictions import read_predictions
from blastscope.prediction.members import open_network
from blastscope.training.finished_run import open_run
from tests.engines.networks import built, cells


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained.run)


@pytest.fixture(scope="module")
def store(trained):
    return trained.run.parent / "store32"


@pytest.fixture(scope="module")
def made(run, store, tmp_path_factory):
    return export_run(run, tmp_path_factory.mktemp("out") / "net.onnx", store, int8=True)


def test_the_file_alone_gives_what_training_predicted(made, trained, store):
    session = onnxruntime.InferenceSession(made.path)
    opened = open_store(store)
    (p_all,) = session.run(["p_all"], {"pixels": np.array(opened.pixels)})
    known = trained.p_all(trained.run)
    assert p_all == pytest.approx([known[cell] for cell in opened.cells["cell"]], abs=1e-5)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["cells"])["size"] == 32
    assert said["checkpoint"].startswith("sha256:")
    assert [path.name for path in made.path.parent.iterdir() if ".onnx" not in path.name] == []


def test_all_engines_are_measured_on_all_cells(made):
    assert [one.engine for one in made.engines] == ["PyTorch", "ONNX Runtime", "OpenVINO"]
    assert {one.cells for one in made.engines} == {24}
    assert made.engines[0].difference is None
    assert all(one.difference < 1e-5 for one in made.engines[1:])
    assert all(one.cells_per_second > 0 < one.load_seconds for one in made.engines)


def test_without_openvino_two_engines_are_measured(run, store, monkeypatch, tmp_path):
    monkeypatch.setattr("blastscope.export.engine_check.find_spec", lambda name: None)
    made = export_run(run, tmp_path / "net.onnx", store)
    assert [one.engine for one in made.engines] == ["PyTorch", "ONNX Runtime"]


def test_images_are_prepared_as_the_run_wants_them(trained, store, run):
    folder = next(iter(trained.images.values())).parent.parent
    with cells_for(run, folder) as prepared:
        wanted = open_store(store)
        assert prepared.fingerprint == wanted.fingerprint
        np.testing.assert_array_equal(prepared.pixels, wanted.pixels)
        where = prepared.path
    assert not where.exists()


def test_another_network_is_noticed_and_not_written(run, store, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "onnx_graph", lambda *_, **__: onnx_graph(built(), "one", 32))
    with pytest.raises(BlastscopeError, match="differ between ONNX Runtime and PyTorch") as told:
        export_run(run, tmp_path / "net.onnx", store)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("difference", "fine"), [(9e-5, True), (1e-4, False), (np.nan, False)])
def test_the_limit_is_a_ten_thousandth_and_no_number_is_none(run, difference, fine):
    measured = [
        EngineMeasurement("PyTorch", 9, None, 1.0, 1.0),
        EngineMeasurement("X", 9, difference, 1.0, 1.0),
    ]
    if fine:
        refuse_difference(run, measured)
    else:
        with pytest.raises(BlastscopeError, match="differ between X and PyTorch"):
            refuse_difference(run, measured)


def test_int8_is_measured_as_scikit_learn_does_on_cells_that_set_no_range(made, run, store):
    table, _ = read_predictions(run.path / "predictions.parquet")
    test = table.filter(part="test")
    opened = open_store(store)
    rows = opened.cells.with_row_index("row").join(test.select("cell"), on="cell")["row"].to_numpy()
    truth = (opened.cells["label"] == "all").to_numpy()[rows]
    for cost, path in zip(made.costs, (made.path, made.int8), strict=True):
        content = path.read_bytes()
        p_all = mean_probability(OnnxRuntimeEngine(content).view_logits(opened.pixels[rows]))
        assert cost.cells == len(rows)
        assert cost.weighted_f1 == pytest.approx(
            f1_score(truth, p_all > 0.5, average="weighted"), abs=1e-9
        )
        assert cost.auc == pytest.approx(roc_auc_score(truth, p_all), abs=1e-9)
        assert cost.megabytes == len(content) / 1e6
    full, small = made.costs
    assert small.megabytes < 0.5 * full.megabytes
    assert 0 < small.mean_difference <= small.difference < 0.1
    assert made.calibrated_on == table.filter(part="train").height


def test_int8_is_plain_onnx_with_its_first_quarter_in_single_precision(made):
    model = onnx.load(made.int8)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    integers = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8}
    widened = {n.output[0] for n in model.graph.node if n.input and n.input[0] in integers}
    weighted = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert [n.input[1] in widened for n in weighted] == [False, True, True, True, True]


def test_cells_of_training_set_the_ranges_and_cells_unseen_show_the_cost(run, store):
    opened = open_store(store)
    table, _ = read_predictions(run.path / "predictions.parquet")
    part = dict(table.select("cell", "part").iter_rows())
    ranges, rest, is_all = parts_for_int8(run, opened)
    names = opened.cells["cell"].to_list()
    assert {part[names[row]] for row in ranges} == {"train"}
    assert {part[names[row]] for row in rest} == {"test"}
    assert [names[row].endswith("all") for row in rest] == is_all.tolist()


def test_of_cells_never_seen_a_quarter_sets_the_ranges(trained, run, tmp_path):
    folder = tmp_path / "new"
    for k, path in enumerate(sorted(trained.images.values())):
        target = folder / path.parent.name / path.name.replace("UID_", f"UID_9{k}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    with cells_for(run, folder) as opened:
        ranges, rest, _ = parts_for_int8(run, opened)
        assert sorted([*ranges, *rest]) == list(range(24))
        assert len(ranges) == 6


def test_a_store_of_training_cells_alone_says_nothing_of_the_cost(run, store):
    opened = open_store(store)
    seen = opened.cells.with_columns(label=pl.lit(None, pl.String()))
    object.__setattr__(opened, "cells", seen)
    with pytest.raises(BlastscopeError, match="no labelled cells"):
        parts_for_int8(run, opened)


def test_a_bundle_is_not_measured_on_the_store_that_it_was_made_from(run, store, tmp_path):
    bundle = open_network(make_bundle(run.path, tmp_path / "net.zip").path)
    out = tmp_path / "net.onnx"
    with pytest.raises(BlastscopeError, match="give the run instead of the bundle") as told:
        export_run(bundle, out, store, int8=True)
    assert "\n" not in str(told.value)
    assert not out.exists()
    opened = open_store(store)
    object.__setattr__(opened, "fingerprint", "sha256:" + 64 * "0")
    ranges, rest, _ = parts_for_int8(bundle, opened)
    assert (len(ranges), len(rest)) == (6, 18)


def test_of_a_bundle_it_is_said_that_it_may_know_the_cells(made):
    unknown = replace(made, training_known=False)
    notes = [len(ExportResult(one, path=one.path).notes()) for one in (made, unknown)]
    assert notes == [2, 3]
    assert made.training_known


def test_a_sample_is_spread_evenly_and_repeats_nothing():
    assert sample(np.arange(3)).tolist() == [0, 1, 2]
    chosen = sample(np.arange(1000))
    assert len(set(chosen)) == 256
    assert (chosen[0], chosen[-1], np.diff(chosen).max()) == (0, 999, 4)


def test_nothing_stays_in_the_temporary_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = onnx_graph(built(), "one", 32)
    assert len(quantize(model, cells(8), 1)) < len(model)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantised_is_one_sentence():
    with pytest.raises(BlastscopeError, match="cannot be written in int8"):
        quantize(b"junk", cells(2), 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"out": "net.txt"}, "does not end in .onnx"),
        ({"out": "there.onnx"}, "is there already: choose another name, or give --force"),
        ({"out": "half.onnx", "more": ["--int8"]}, "half-int8.onnx is there already"),
        ({"cells": "store40"}, "is prepared differently from"),
        ({"cells": "nowhere"}, "nowhere"),
        ({"model": "nowhere"}, "does not exist: give a bundle, a run or an ensemble"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_status_two(
    change, reason, trained, tmp_path, monkeypatch, capfd
):
    for name in ("there.onnx", "half-int8.onnx"):
        (tmp_path / name).write_text("mine")
    root = trained.run.parent
    arguments = [
        "export", str(root / change.get("model", trained.run.name)),
        "--out", str(tmp_path / change.get("out", "net.onnx")),
        "--cells", str(root / change.get("cells", "store32")), *change.get("more", ()),
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["blastscope", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    told = capfd.readouterr().err.strip()
    assert end.value.code == 2
    assert reason in told.replace("\n", " ")
    assert len(told.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"there.onnx", "half-int8.onnx"}
    assert (tmp_path / "there.onnx").read_text() == "mine"


def test_the_command_prints_what_it_measured(trained, store, tmp_path):
    out = tmp_path / "net.onnx"
    out.write_text("old")
    done = CliRunner().invoke(
        app,
        ["export", str(trained.run), "--out", str(out), "--cells", str(store), "--force", "--int8"],
    )
    assert done.exit_code == 0, done.output
    assert out.stat().st_size > 1000
    assert (tmp_path / "net-int8.onnx").is_file()
