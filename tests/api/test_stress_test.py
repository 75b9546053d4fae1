"""The stress test whole: as a run predicted, resumable, one page, and refused where it must be."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.recipes import with_starts
from blastscope.api.stress_test import stress_test
from blastscope.cli import app
from blastscope.data.store import open_store
from blastscope.errors import BlastscopeError
from blastscope.experiments.crossval import gather, lay_out, train_folds
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.crossval_metrics import crossval_metrics, record
from blastscope.io.files import read_json
from blastscope.io.tables import read_table
from blastscope.report.robustness_page import model_text, verdict_text
from blastscope.report.text import number
from blastscope.robustness import step_predictions
from blastscope.robustness.metrics import STRESS
from blastscope.robustness.models import open_tested
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.perturbations import PERTURBATIONS, Step
from tests.api.conftest import unmarked

FEW = (Step(0), *(Step(5, one, one.values[-1][-1]) for one in PERTURBATIONS))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """The strongest of each, in one direction, so that a test takes a second."""
    for place in (
        "blastscope.robustness.step_predictions",
        "blastscope.robustness.summary",
        "blastscope.report.robustness_page",
    ):
        monkeypatch.setattr(f"{place}.steps", lambda: iter(FEW))
    monkeypatch.setattr(step_predictions, "non_cell_images", lambda side: non_cell_images(side, 8))


@pytest.fixture
def undrawn(monkeypatch):
    """Without a page, which the first test has."""
    monkeypatch.setattr("blastscope.api.stress_test.stress_html", lambda *found, **shown: "")


@pytest.fixture
def store(trained):
    return trained.run.parent / "store32"


def test_unchanged_cells_are_as_the_run_predicted_them(trained, store, tmp_path):
    out = tmp_path / "stress"
    seen = []
    made = stress_test(
        [trained.run], store, out=out, device="cpu", progress=lambda *now: seen.append(now)
    )
    frame, _ = read_table(out / "predictions" / "000-000-none.parquet", step_predictions.PART)
    recorded = trained.p_all(trained.run)
    assert frame["p_all"].to_list() == pytest.approx([recorded[c] for c in frame["cell"]], abs=1e-6)
    assert seen[-1] == (frame.height * len(FEW),) * 2
    table, _ = read_table(out / "stress.parquet", STRESS)
    assert table["perturbation"].to_list() == ["none", *(one.name for one in PERTURBATIONS)]
    assert table["calls_changed"][0] == table["mean_change"][0] == 0
    content = read_json(out / "stress.json")
    assert content["format"] == "blastscope-stress/2"
    (model,) = content["models"]
    assert {kind["kind"] for kind in model["out_of_distribution"]["kinds"]} >= {
        "noise",
        "words",
        "black",
    }
    page = unmarked((out / "report.html").read_text())
    for sentence in (verdict_text(made.models[0]), *model_text(made.models[0])):
        assert sentence in page
    fall = made.models[0].worst(PERTURBATIONS[0]).drops["auc"]
    assert f"{number(fall.value, 3)}<small" in page
    assert page.count("data:image/webp") == len(FEW)
    assert {path.stem for path in (out / "figures").iterdir()} == {
        "stress-auc",
        "stress-weighted-f1",
    }
    assert not list(out.parent.glob(".*"))


@pytest.mark.usefixtures("undrawn")
def test_a_killed_test_goes_on_with_what_is_missing(trained, store, tmp_path, monkeypatch):
    out, calls = tmp_path / "stress", []
    own = step_predictions.predict_store

    def counted(*arguments, **more):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments[3] if len(arguments) > 3 else None)
        return own(*arguments, **more)

    monkeypatch.setattr(step_predictions, "predict_store", counted)
    with pytest.raises(KeyboardInterrupt):
        stress_test([trained.run], store, out=out, device="cpu")
    assert not (out / "report.html").exists()
    cut = out / "predictions" / "000-000-none.parquet"
    cut.write_bytes(cut.read_bytes()[:100])  # a full disk
    calls[:] = calls[:0]
    monkeypatch.setattr(
        step_predictions,
        "predict_store",
        lambda *a: calls.append(a[3] if len(a) > 3 else None) or own(*a),
    )
    stress_test([trained.run], store, out=out, device="cpu")
    assert [step for step in calls if step is not None] == [FEW[0], *FEW[3:]]
    whole = tmp_path / "whole"
    stress_test([trained.run], store, out=whole, device="cpu")
    tables = [pl.read_parquet(folder / "stress.parquet") for folder in (out, whole)]
    assert tables[0].equals(tables[1])
    calls.clear()
    stress_test([trained.run], store, out=out, device="cpu")
    assert calls == []  # only reported


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_a_detector_is_given_the_one_that_training_would_have_made(
    trained, store, tmp_path
):
    old = tmp_path / "old"
    shutil.copytree(trained.run, old)
    (old / "ood.json").unlink()
    made = [
        stress_test([run], store, out=tmp_path / name, device="cpu").models[0].ood
        for name, run in (("a", trained.run), ("b", old))
    ]
    for one, other in zip(made[0].kinds, made[1].kinds, strict=True):
        assert one.auroc == pytest.approx(other.auroc, abs=1e-3)
    assert not (old / "ood.json").exists()  # nothing is written into a run


@pytest.mark.usefixtures("undrawn")
def test_each_fold_of_a_cross_validation_is_tried_on_its_own_cells(trained, store, tmp_path):
    recipes = with_starts(str(trained.run.parent / "tiny.yaml"), ["training.epochs=1"])
    request = CrossvalRequest(
        recipes, store, tmp_path / "cv", folds=2, repeats=2, seed=3, device="cpu"
    )
    started = lay_out(request)
    train_folds(started)
    with pytest.raises(BlastscopeError, match="unfinished cross-validation"):
        open_tested([request.out], open_store(store), "test")
    pooled = gather(started)
    record(request, started.store.fingerprint, crossval_metrics(started, pooled))
    made = stress_test([request.out], store, out=tmp_path / "stress", device="cpu").models[0]
    first = pooled.filter(pl.col("repeat") == 1)
    assert made.cells == first.height == 24
    unchanged = pl.concat(
        [
            pl.read_parquet(tmp_path / "stress" / "predictions" / f"000-00{k}-none.parquet")
            for k in (0, 1)
        ]
    )
    beside = unchanged.join(first.select("cell", own="p_all"), on="cell")
    np.testing.assert_allclose(beside["p_all"], beside["own"], atol=1e-6)
    with pytest.raises(BlastscopeError, match="leave --part out"):
        open_tested([request.out], open_store(store), "validation")


@pytest.mark.usefixtures("undrawn")
def test_what_does_not_fit_is_refused_in_a_sentence(trained, store, tmp_path):
    opened = open_store(store)
    with pytest.raises(
        BlastscopeError, match=r"prepared differently from .*run40 .*size 32, not 40.*--clahe"
    ):
        open_tested([trained.other], opened, "test")
    with pytest.raises(BlastscopeError, match="Two models are called 'tiny'"):
        open_tested([trained.run, trained.run], opened, "test")
    with pytest.raises(BlastscopeError, match="no labelled nowhere cells"):
        open_tested([trained.run], opened, "nowhere")
    out = tmp_path / "stress"
    stress_test([trained.run], store, out=out, device="cpu")
    with pytest.raises(BlastscopeError, match="is a stress test that differs in"):
        stress_test([f"A={trained.run}"], store, out=out, device="cpu")
    with pytest.raises(BlastscopeError, match="holds a run"):
        stress_test([trained.run], store, out=trained.run, device="cpu")
    other = tmp_path / "store"
    shutil.copytree(store, other)
    pixels = np.load(other / "pixels.npy")
    np.save(other / "pixels.npy", 255 - pixels)
    with pytest.raises(BlastscopeError, match="give the data that it was trained on"):
        stress_test([trained.run], other, out=tmp_path / "o", device="cpu")


@pytest.mark.usefixtures("undrawn")
def test_as_it_is_typed(trained, store, tmp_path):
    arguments = ["stress", trained.run, "--store", store, "--out", tmp_path / "s"]
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "costs most" in result.output
    assert "report.html" in result.output
