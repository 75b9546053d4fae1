"""The run: out-of-fold predictions, going on after a stop, side by side, and the figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from typer.testing import CliRunner

import blastscope as bs
from blastscope.api.evaluate import evaluate
from blastscope.cli import app
from blastscope.errors import BlastscopeError
from blastscope.evaluation.evaluate import judge
from blastscope.evaluation.sources import open_source
from blastscope.experiments.crossval import gather, lay_out, train_folds
from blastscope.experiments.crossval_folder import CrossvalRequest
from blastscope.experiments.crossval_metrics import crossval_metrics, record
from blastscope.io.predictions import read_predictions
from blastscope.report.crossval_page import folds_table
from blastscope.training.finished_run import open_run


def test_each_cell_is_predicted_by_the_network_that_never_saw_it(asked: CrossvalRequest):
    started = lay_out(asked)
    train_folds(started)
    table = gather(started)
    assert sorted(table["cell"]) == sorted(started.store.cells["cell"])
    for fold in started.folds:
        own, _ = read_predictions(fold.run(asked.recipes[-1]) / "predictions.parquet")
        test = own.filter(pl.col("part") == "test").sort("cell")
        mine = table.filter(pl.col("fold") == fold.number).sort("cell")
        assert mine["p_all"].to_list() == test["p_all"].to_list()
        seen = set(own.filter(pl.col("part") != "test")["subject"])
        assert not seen & set(mine["subject"])
    read, metadata = read_predictions(asked.predictions)
    assert read.height == table.height
    assert metadata["out_of_fold"] == "subject"
    source = open_source(asked.predictions)
    overlap = judge(source, "test", None).overlap
    assert overlap.kind == "disjoint"
    assert overlap.reason == "out-of-fold"
    _metrics_are_scikit_learns(asked, started, table)


def _metrics_are_scikit_learns(asked, started, table):
    found = crossval_metrics(started, table)
    aucs, scores = [], []
    for _, rows in table.group_by("fold", maintain_order=True):
        truth = (rows["label"] == "all").to_numpy()
        aucs.append(roc_auc_score(truth, rows["p_all"]))
        scores.append(f1_score(truth, rows["p_all"].to_numpy() > 0.5, average="weighted"))
    for name, values in (("auc", aucs), ("weighted_f1", scores)):
        spread = found.over_folds(name)
        assert (spread.mean, spread.deviation) == pytest.approx((fmean(values), stdev(values)))
    assert f"weighted F1 {fmean(scores):.4f} ± {stdev(scores):.4f}" in folds_table(found).headline
    record(asked, started.store.fingerprint, found)
    told = json.loads((asked.out / "crossval.json").read_text())
    assert told["pooled"][0]["n"] == 40
    assert told["pooled"][0]["auc"] == pytest.approx(
        roc_auc_score((table["label"] == "all").to_numpy(), table["p_all"])
    )
    names = [name for fold in told["folds"] for name in fold["tested"]["hem"]]
    assert sorted(names) == ["H1", "H2", "H3", "H4"]


def test_what_is_trained_stays_and_the_rest_goes_on(asked: CrossvalRequest):
    started = lay_out(asked)
    done = []
    train_folds(started, on_done=lambda fold, *_: done.append(fold.number))
    kept, lost = (fold.run(asked.recipes[-1]) for fold in started.folds)
    before = (kept / "checkpoint.safetensors").stat().st_mtime_ns
    table = gather(started)
    (lost / "predictions.parquet").unlink()
    again = lay_out(asked)
    assert [fold.number for fold in again.left] == [2]
    train_folds(again, on_done=lambda fold, *_: done.append(fold.number))
    assert done == [1, 2, 2]
    assert (kept / "checkpoint.safetensors").stat().st_mtime_ns == before
    assert gather(again)["p_all"].to_list() == pytest.approx(table["p_all"].to_list(), abs=1e-6)


def test_folds_of_other_pretrained_weights_are_not_judged_together(asked: CrossvalRequest):
    started = lay_out(asked)
    for fold, letter in zip(started.folds, "ab", strict=True):
        run = fold.run(asked.recipes[-1])
        run.mkdir(parents=True)
        weights = {"file": "x.safetensors", "sha256": f"sha256:{64 * letter}"}
        (run / "environment.json").write_text(json.dumps({"initial_weights": weights}))
    asked.predictions.write_text("as gathered")
    with pytest.raises(BlastscopeError, match="--weights-dir") as told:
        crossval_metrics(started, pl.DataFrame())
    assert all(f"repeat1-fold{k}" in str(told.value) for k in (1, 2))
    assert not asked.predictions.exists()


def test_folds_side_by_side_are_those_one_after_the_other(asked: CrossvalRequest, monkeypatch):
    monkeypatch.setattr("blastscope.experiments.runner.cores", lambda: 2)  # a thread each
    one = lay_out(asked)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order grow apart as a network learns
    try:
        train_folds(one)
    finally:
        torch.set_num_threads(threads)
    two = lay_out(replace(asked, out=asked.out.with_name("beside")))
    train_folds(two, jobs=2)
    assert gather(two)["p_all"].to_list() == pytest.approx(gather(one)["p_all"].to_list(), abs=1e-4)


def test_repeats_are_other_folds_and_models_of_their_own(asked: CrossvalRequest):
    started = lay_out(replace(asked, repeats=2))
    assert len({split.hash for plan in started.plans for split in plan.splits}) == 4
    train_folds(started)
    table = gather(started)
    assert table["model"].unique().sort().to_list() == ["tiny #1", "tiny #2"]
    assert table.height == 80
    assert len(crossval_metrics(started, table).pooled) == 2


def test_a_fold_that_fails_leaves_the_others(asked: CrossvalRequest):
    started = lay_out(asked)
    started.folds[0].split.unlink()
    with pytest.raises(BlastscopeError, match="1 of 2 folds failed"):
        train_folds(started)
    assert [fold.number for fold in started.left] == [1]


def test_another_cross_validation_is_not_mixed_in(asked: CrossvalRequest):
    lay_out(asked)
    with pytest.raises(BlastscopeError, match=r"differs in seed \(3, not 4\): choose another"):
        lay_out(replace(asked, seed=4))
    assert len(lay_out(replace(asked, repeats=2)).folds) == 4  # more repeats are welcome
    asked.out.with_name("notes").mkdir()
    (asked.out.with_name("notes") / "mine.txt").write_text("keep")
    with pytest.raises(BlastscopeError, match=r"is not a cross-validation and holds mine\.txt"):
        lay_out(replace(asked, out=asked.out.with_name("notes")))


def test_the_command_prints_folds_and_writes_a_page(asked: CrossvalRequest, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    where = ["--store", str(asked.store), "--out", str(asked.out), "--folds", "2"]
    how = ["--set", "training.epochs=1", "--device", "cpu"]
    told = CliRunner().invoke(app, ["crossval", str(recipe), *where, *how])
    assert told.exit_code == 0, told.output
    assert "mean over 2 folds ± standard deviation: weighted F1" in told.output
    page = (asked.out / "report.html").read_text()
    assert "was trained without its subject" in page
    content = json.loads((asked.out / "crossval.json").read_text())
    scores = [fold["metrics"]["weighted_f1"] for fold in content["folds"]]
    spread = f"{fmean(scores):.4f} ± {stdev(scores):.4f}"
    assert f'<td class="n now">{spread}</td>' in page
    assert f"weighted F1 {spread}" in told.output
    assert "over 1 repeats" not in told.output + page
    wanted = ["--rule", "specificity>=0.9", "--store", str(asked.store)]
    again = CliRunner().invoke(app, ["evaluate", str(asked.out), *wanted])
    assert again.exit_code == 0, again.output
    page = (asked.out / "report.html").read_text()
    assert f'<td class="n now">{spread}</td>' in page  # the folds stay
    assert "size" in json.loads((asked.out / "metrics.json").read_text())["baselines"]
    with pytest.raises(BlastscopeError, match="holds several networks"):
        open_run(asked.out)


def test_repeats_print_the_spread_of_all_cells_together(asked: CrossvalRequest, tmp_path):
    where = ["--store", str(asked.store), "--out", str(asked.out), "--folds", "2"]
    how = ["--set", "training.epochs=1", "--device", "cpu", "--repeats", "2"]
    told = CliRunner().invoke(app, ["crossval", str(tmp_path / "tiny.yaml"), *where, *how])
    assert told.exit_code == 0, told.output
    content = json.loads((asked.out / "crossval.json").read_text())
    aucs = [pooled["auc"] for pooled in content["pooled"]]
    spread = f"{fmean(aucs):.4f} ± {stdev(aucs):.4f}"
    assert "all cells together over 2 repeats" in told.output
    assert f"AUC {spread}" in told.output
    page = (asked.out / "report.html").read_text()
    assert "all cells, mean over 2 repeats" in page
    assert spread in page
    assert evaluate(asked.out).model.endswith("#1")


def test_the_folds_become_one_model_for_new_cells(asked: CrossvalRequest, dataset, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    with pytest.raises(BlastscopeError, match=r"crossval\.json"):
        bs.combine_folds(tmp_path / "none")
    made = bs.cross_validate(
        str(recipe), asked.store, out=asked.out, folds=2, device="cpu",
        settings={"training.epochs": 1},
    )  # fmt: skip
    folds = sorted((asked.out / "runs").glob("repeat1-fold*"))
    runs = [folder / "tiny" for folder in folds]
    where = ["--of-folds", "--out", str(tmp_path / "both"), "--method", "vote", "--votes", "1"]
    told = CliRunner().invoke(app, ["ensemble", str(made.path), *where])
    assert told.exit_code == 0, told.output
    new = dataset(subjects=1, per_subject=3, folder="new")
    both = bs.predict(new, tmp_path / "both", device="cpu").to_frame()
    each = [bs.predict(new, run, device="cpu").to_frame()["p_all"].to_numpy() for run in runs]
    called = both["p_all"].to_numpy() > 0.5
    assert (called == ((each[0] > 0.5) | (each[1] > 0.5))).all()
    bs.combine_folds(made, out=tmp_path / "mean")
    mean = bs.predict(new, tmp_path / "mean", device="cpu").to_frame()["p_all"].to_numpy()
    assert mean == pytest.approx((each[0] + each[1]) / 2, abs=1e-6)
    with pytest.raises(BlastscopeError, match="without predictions of its own"):
        evaluate(tmp_path / "both")
    with pytest.raises(BlastscopeError, match="choose mean or vote"):
        bs.combine_folds(made, method="genetic")
    with pytest.raises(BlastscopeError, match="cannot give 3 votes"):
        bs.combine_folds(made, method="vote", votes=3)
    with pytest.raises(BlastscopeError, match="holds another ensemble"):
        bs.combine_folds(made, out=tmp_path / "both")


def test_a_training_seed_leaves_the_folds_alone(
    asked: CrossvalRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    class LaidOutError(Exception):
        pass

    found: list[CrossvalRequest] = []

    def stop(request: CrossvalRequest) -> None:
        found.append(request)
        raise LaidOutError

    monkeypatch.setattr("blastscope.api.cross_validate.lay_out", stop)
    for settings in ((), ["training.seed=25"], [" training.seed = 26"]):
        with pytest.raises(LaidOutError):
            bs.cross_validate(
                asked.recipes[-1], asked.store, out=tmp_path, seed=3, settings=settings
            )
    loaded = bs.load_recipe(asked.recipes[-1], {"training.seed": 27})  # as `build` gives it
    with pytest.raises(LaidOutError):
        bs.cross_validate(loaded, asked.store, out=tmp_path, seed=3)
    assert [request.seed for request in found] == [3, 3, 3, 3]
    assert [request.recipes[-1].training.seed for request in found] == [3, 25, 26, 27]
