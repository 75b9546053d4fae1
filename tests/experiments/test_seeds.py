"""Several seeds: whole runs, their spread held against numpy, one table, and whose folder it is."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.evaluate import evaluate
from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.data.synthetic import MARKER
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.evaluation.comparison import compare
from blastscope.evaluation.spread import Spread
from blastscope.experiments.initial_weights import refuse_other_weights
from blastscope.experiments.seeds import SeedsRequest, begin_seeds, gather_seeds
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.report.seeds_page import report_seeds, seeds_meaning
from blastscope.training.train import train

EPOCH = "training.epochs=1"


@pytest.fixture
def command(material, tmp_path):
    """Train so many seeds into a folder by the command line."""

    def call(seeds, *more, out="many"):
        where = ["--store", material.store, "--split", material.split, "--out", tmp_path / out]
        how = ["--set", EPOCH, "--device", "cpu", "--seeds", seeds, *more]
        words = ["train", material.recipe, *where, *how]
        return CliRunner().invoke(app, [str(word) for word in words])

    return call


def refusal(result) -> str:
    assert isinstance(result.exception, BlastscopeError)
    return str(result.exception)


def request_of(material, out, *overrides, **more):
    recipe = load_recipe(str(material.recipe), [EPOCH, *overrides])
    return SeedsRequest(recipe, material.store, material.split, out, device="cpu", **more)


def test_seeds_are_whole_runs_of_one_split_and_their_spread_is_numpys(command, material, tmp_path):
    told = command(2)
    assert told.exit_code == 0, told.output
    out = tmp_path / "many"
    metrics = [json.loads((out / f"seed{k}/metrics.json").read_text()) for k in (24, 25)]
    scores = [found["parts"]["test"]["weighted_f1"] for found in metrics]
    content = json.loads((out / "seeds.json").read_text())
    assert (content["format"], content["seeds"]) == ("blastscope-seeds/2", [24, 25])
    assert [run["metrics"]["weighted_f1"] for run in content["runs"]] == scores
    found = content["spread"]["auc"]
    aucs = [run["metrics"]["auc"] for run in content["runs"]]
    assert aucs[0] != aucs[1]
    assert (found["mean"], found["deviation"], found["lowest"], found["highest"]) == pytest.approx(
        (np.mean(aucs), np.std(aucs, ddof=1), min(aucs), max(aucs))
    )
    assert f"weighted F1 {np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f}" in told.output
    environments = [json.loads((out / f"seed{k}/environment.json").read_text()) for k in (24, 25)]
    assert environments[0]["identity"] == environments[1]["identity"]  # one store, one split
    page = (out / "report.html").read_text()
    assert 'href="seed24/report.html"' in page
    assert (out / "seed25" / "report.html").is_file()
    assert "the spread is that of training, not of the choice of cells or subjects" in page
    alone = load_recipe(str(material.recipe), [EPOCH, "training.seed=25"])
    other = train(alone, material.store, material.split, tmp_path / "alone", device="cpu").path
    own, _ = read_predictions(other / "predictions.parquet")
    mine, _ = read_predictions(out / "seed25" / "predictions.parquet")
    assert mine["p_all"].to_list() == pytest.approx(own["p_all"].to_list(), abs=1e-5)


def test_the_table_of_all_is_read_as_any(command, tmp_path):
    assert command(2).exit_code == 0
    table = tmp_path / "many" / "predictions.parquet"
    rows, metadata = read_predictions(table)
    for seed in (24, 25):
        own, _ = read_predictions(tmp_path / f"many/seed{seed}/predictions.parquet")
        mine = rows.filter(pl.col("model") == f"tiny #{seed}")
        assert mine["p_all"].to_list() == own["p_all"].to_list()
        assert mine["part"].to_list() == own["part"].to_list()
    assert (metadata["recipe"], metadata["seeds"]) == ("tiny", [24, 25])
    (pair,) = compare(align_predictions([table]), "test", resamples=100).pairs
    assert (pair.first, pair.second) == ("tiny #24", "tiny #25")
    found = evaluate(table, model="tiny #25")
    own = json.loads((tmp_path / "many/seed25/metrics.json").read_text())
    assert found.metrics == own["parts"]["test"]
    assert found.overlap.kind == "disjoint"
    assert align_predictions([tmp_path / "many"]).models == ("tiny #24", "tiny #25")
    assert evaluate(tmp_path / "many", model="tiny #25").metrics == found.metrics
    assert not (tmp_path / "many" / "evaluation").exists()


def test_finished_seeds_stay_more_are_added_and_fewer_remove_none(material, tmp_path):
    def train_all(count):
        with begin_seeds(request_of(material, tmp_path / "many", count=count)) as seeds:
            done = {seed: seeds.train(seed) for seed in seeds.all}
            results = {seed: evaluate(found.path, out=found.path) for seed, found in done.items()}
            return {k: found.already for k, found in done.items()}, report_seeds(seeds, results)

    assert train_all(2)[0] == {24: False, 25: False}
    (tmp_path / "many" / "seed25" / "predictions.parquet").unlink()  # as if it had been killed
    (tmp_path / "many" / "notes.txt").write_text("mine")
    already, found = train_all(3)
    assert already == {24: True, 25: False, 26: False}
    again, fewer = train_all(2)
    assert again == dict.fromkeys((24, 25, 26), True)
    assert fewer.spread == found.spread
    assert fewer.spread["auc"].n == 3
    assert (tmp_path / "many" / "notes.txt").read_text() == "mine"


def test_seeds_of_other_pretrained_weights_are_not_judged_together(material, tmp_path):
    request = request_of(material, tmp_path / "many", count=2)
    with begin_seeds(request) as seeds:
        seeds.train(24)
        shutil.copytree(request.run(24), request.run(25))
        begun_with(request.run(24), "a")
        begun_with(request.run(25), "a")
        assert gather_seeds(seeds).height > 0
        request.predictions.unlink()
        begun_with(request.run(25), "b")
        with pytest.raises(BlastscopeError, match="--weights-dir") as told:
            gather_seeds(seeds)
    assert "seed24" in str(told.value)
    assert "seed25" in str(told.value)
    assert not request.predictions.exists()


def test_weights_of_other_networks_may_differ(tmp_path):
    for name, (file, letter) in {"one": ("x", "a"), "two": ("y", "b"), "three": ("x", "a")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "environment.json").write_text("{}")
        begun_with(tmp_path / name, letter, file)
    (tmp_path / "none").mkdir()
    refuse_other_weights(sorted(tmp_path.iterdir()))


def begun_with(run, letter, file="x"):
    """Record of a run that it began with other pretrained weights."""
    path = run / "environment.json"
    weights = {"file": f"{file}.safetensors", "sha256": f"sha256:{64 * letter}"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"initial_weights": weights}))


def test_a_folder_of_something_else_is_refused(command, material, tmp_path):
    assert command(1, out="one").exit_code == 0
    assert "holds a run (environment.json)" in refusal(command(2, out="one"))
    assert not (tmp_path / "one" / "seeds.json").exists()
    assert command(2).exit_code == 0
    assert "holds a series of seeds (seeds.json)" in refusal(command(1))
    told = refusal(command(2, "--set", "training.seed=5"))
    assert "differs in experiment.training.seed (24, not 5)" in told
    assert "differs in experiment.training.rate" in refusal(
        command(2, "--set", "training.rate=0.5")
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "is not a series of seeds and holds" in refusal(command(2, out="mine"))
    for folder, count in (("mine", 2), ("new", 1)):
        with (
            pytest.raises(BlastscopeError),
            begin_seeds(request_of(material, tmp_path / folder, count=count)),
        ):
            pass
    assert not (tmp_path / "new").exists()
    many = tmp_path / "many"
    words = ["compare", str(many / "predictions.parquet"), "--out", str(many)]
    assert "holds a series of seeds" in refusal(CliRunner().invoke(app, words))


def test_every_seed_starts_from_the_same_run(command, material, tmp_path):
    (tmp_path / "second.yaml").write_text(
        "title: The second stage\nextends: tiny.yaml\nstarts_from: tiny\ntraining: {epochs: 1}\n"
    )
    second = material._replace(recipe=tmp_path / "second.yaml")
    out = tmp_path / "runs" / "second"
    with (
        pytest.raises(BlastscopeError, match="no finished one on this store and split"),
        begin_seeds(request_of(second, out, count=2)),
    ):
        pass
    assert not out.exists()
    assert command(1, out="runs/first").exit_code == 0
    with begin_seeds(request_of(second, out, count=2)) as seeds:
        results = {k: evaluate(seeds.train(k).path, out=out / f"seed{k}") for k in seeds.all}
        found = report_seeds(seeds, results)
    started = [
        json.loads((out / f"seed{k}/environment.json").read_text())["starts_from"] for k in (24, 25)
    ]
    assert started[0] == started[1]
    assert "Each started from the same run of tiny" in seeds_meaning(found)
    assert command(1, "--set", "training.seed=7", out="other").exit_code == 0
    elsewhere = request_of(second, out, count=3, start=tmp_path / "other")
    with (
        pytest.raises(BlastscopeError, match=r"seed24 did not start from .*other but from"),
        begin_seeds(elsewhere),
    ):
        pass  # and none of the seeds that are left was trained


def test_synthetic_seeds_keep_the_mark_at_the_end_of_their_names(dataset, material, tmp_path):
    data = dataset(folder="drawn")
    (data / MARKER).write_text("")
    store = prepare([data], tmp_path / "drawn-store", StoreSettings(size=32)).path
    drawn = material._replace(store=store, split=make_split(store, "subject", 3)[0])
    with begin_seeds(request_of(drawn, tmp_path / "many", count=2)) as seeds:
        results = {k: evaluate(seeds.train(k).path, out=seeds.request.run(k)) for k in seeds.all}
        report_seeds(seeds, results)
    table, metadata = read_predictions(tmp_path / "many" / "predictions.parquet")
    assert set(table["model"]) == {"tiny #24 (synthetic)", "tiny #25 (synthetic)"}
    assert metadata["synthetic"] is True
    assert "Synthetic cells" in (tmp_path / "many" / "report.html").read_text()


def test_a_spread_of_one_has_no_deviation():
    assert Spread.of([]) is None
    one = Spread.of([0.5])
    assert (one.mean, one.deviation) == (0.5, None)
    assert Spread.of([0.25, 0.75]).deviation == pytest.approx(np.std([0.25, 0.75], ddof=1))
