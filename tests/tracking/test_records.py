"""Records of folders, and images as texts; MLflow takes no part."""

from __future__ import annotations

import base64
import json
import sys

import polars as pl
import pytest

from blastscope.errors import BlastscopeError
from blastscope.tracking.records import ARTIFACTS, read_record
from blastscope.tracking.served_images import FOLDER, predict_texts
from tests.conftest import draw_cell, write_cell

METRICS = {
    "parts": {"validation": {"auc": 0.9, "n": 4}, "test": {"auc": 0.8, "mcc": None}},
    "part": "test",
    "intervals": {"auc": [0.7, 0.85]},
    "shortcuts": {"equal_size": {"matched": {"value": 0.6, "low": 0.5, "high": None}}},
}


@pytest.fixture
def run(tmp_path):
    """The files of a run, as far as a record reads them."""

    def write(name):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "environment.json").write_text(
            json.dumps({"identity": {"store": "s", "split": "p"}, "checkpoint": f"sha256:{name}"})
        )
        (folder / "recipe.yaml").write_text(
            "name: paper/x\ntitle: T\nmodel: {head: [gap]}\ntraining: {rate: 0.01, seed: 3}\n"
        )
        (folder / "history.csv").write_text("epoch,val_loss,rate\n1,0.5,0.01\n2,nan,0.01\n")
        (folder / "metrics.json").write_text(json.dumps(METRICS))
        for other in ("report.html", "predictions.parquet"):
            (folder / other).write_text("")
        return folder

    return write


def test_a_run_is_parameters_metrics_with_intervals_and_epochs(run):
    found = read_record(run("one"))
    assert (found.kind, found.name) == ("run", "paper/x")
    assert found.params == {
        "name": "paper/x", "model.head": "['gap']", "training.rate": "0.01", "training.seed": "3",
        "identity.store": "s", "identity.split": "p",
    }  # fmt: skip
    assert found.metrics == {
        "validation/auc": 0.9, "validation/n": 4.0, "test/auc": 0.8, "test/auc/low": 0.7,
        "test/auc/high": 0.85, "test/equal_size_auc": 0.6, "test/equal_size_auc/low": 0.5,
    }  # fmt: skip
    assert found.history == ((1, {"val_loss": 0.5, "rate": 0.01}), (2, {"rate": 0.01}))
    names = {path.name for path in found.files}
    assert {"report.html", "recipe.yaml", "predictions.parquet", "metrics.json"} <= names


def test_a_cross_validation_has_its_folds_as_children(run, tmp_path):
    out = tmp_path / "cv"
    for k in (1, 2):
        run(f"cv/runs/repeat1-fold{k}/x")
    for name, text in (("crossval.json", "{}"), ("report.html", ""), ("predictions.parquet", "")):
        (out / name).write_text(text)
    (out / "metrics.json").write_text(json.dumps(METRICS))
    found = read_record(out)
    assert (found.kind, found.name, len(found.children)) == ("cross-validation", "paper/x", 2)
    assert "training.seed" not in found.params
    assert found.metrics["test/auc/low"] == 0.7
    run(f"cv/{ARTIFACTS}/1/artifacts")  # the copies of a first record
    assert found.key == read_record(out).key
    assert len({one.key for one in found.children}) == 2


def test_an_unfinished_folder_is_refused(run, tmp_path):
    folder = run("one")
    (folder / "report.html").unlink()
    for place in (folder, tmp_path):
        with pytest.raises(BlastscopeError, match="finished"):
            read_record(place)


def echo(paths):
    sizes = [path.stat().st_size for path in paths]
    return pl.DataFrame({"file": [str(path) for path in paths], "bytes": sizes})


@pytest.fixture
def image(tmp_path):
    return write_cell(tmp_path / "cell.png", draw_cell(1, 40, 10))


def test_images_are_paths_or_files_in_base64(image):
    text = base64.b64encode(image.read_bytes()).decode()
    found = predict_texts(echo, [str(image), text, f"data:image/png;base64,{text}"])
    assert found["file"].to_list() == [str(image), "", ""]
    assert set(found["bytes"]) == {image.stat().st_size}


@pytest.mark.parametrize(
    "text", ["", "nothing.png", "a" * 5000, "data:image/png;base64,AAAA", None, 3]
)
def test_what_is_neither_is_refused(text, tmp_path):
    for wrong in (text, str(tmp_path)):
        with pytest.raises(BlastscopeError):
            predict_texts(echo, [wrong])


def test_a_server_reads_paths_below_its_folder_only(image, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.pyfunc.scoring_server", object())
    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(BlastscopeError, match=FOLDER):
        predict_texts(echo, [str(image)])
    inner = tmp_path / "inner"
    own = write_cell(inner / "own.png", draw_cell(2, 40, 10))
    monkeypatch.setenv(FOLDER, str(inner))
    (inner / "link.png").symlink_to(image)
    assert predict_texts(echo, ["own.png"])["bytes"].to_list() == [own.stat().st_size]
    for outside in (str(image), "../cell.png", "link.png", "/etc/passwd"):
        with pytest.raises(BlastscopeError, match="below"):
            predict_texts(echo, [outside])
    text = base64.b64encode(image.read_bytes()).decode()
    assert predict_texts(echo, [text])["file"].to_list() == [""]
