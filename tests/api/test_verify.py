"""Whether a folder is what it was: files changed by hand are found, and nothing else."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.errors import BlastscopeError
from tests.training.conftest import RECIPE


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    (folder / "tiny.yaml").write_text(RECIPE)
    cells = bs.synthesize(folder / "cells", 36, 9, seed=3)
    store = bs.prepare(cells, out=folder / "store", size=32)
    split = bs.split(store, "subject", seed=3)
    recipe = bs.load_recipe(folder / "tiny.yaml", {"training.epochs": 1})
    run = bs.train(recipe, store, split, out=folder / "run")
    bundle = bs.make_bundle(run, folder / "tiny.zip")
    return SimpleNamespace(
        folder=folder, store=folder / "store", run=folder / "run", bundle=bundle.path,
        recipe=recipe, split=split,
    )  # fmt: skip


def statuses(found) -> dict[str, str]:
    return dict(found.to_frame().select("item", "status").iter_rows())


def test_a_run_is_whole(made):
    found = bs.verify(made.run)
    assert set(statuses(found).values()) == {"ok"}
    assert {"checkpoint.safetensors", "predictions.parquet", "recipe.yaml", "store", "split"} <= (
        set(statuses(found))
    )
    assert not found.failed
    assert found.differs == ()
    assert found.found.provenance["code"]["version"] == bs.__version__
    json.dumps(found.as_json())
    assert CliRunner().invoke(app, ["verify", str(made.run)]).exit_code == 0


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _exchange(path):
    frame = pl.read_parquet(path)
    note = pl.read_parquet_metadata(path)
    told = {"blastscope": note["blastscope"]}
    frame.with_columns(p_all=1 - pl.col("p_all")).write_parquet(path, metadata=told)


def _another_rate(path):
    text = path.read_text()
    assert "rate: 0.01" in text
    path.write_text(text.replace("rate: 0.01", "rate: 0.02"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("checkpoint.safetensors", _flip),
        ("history.csv", _flip),
        ("predictions.parquet", _exchange),
        ("recipe.yaml", _another_rate),
        ("network.json", lambda path: path.unlink()),
    ],
)
def test_a_change_is_found_and_named(made, tmp_path, name, change):
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    change(run / name)
    found = bs.verify(run)
    bad = {item for item, status in statuses(found).items() if status in ("changed", "missing")}
    assert found.failed
    assert bad == {name}
    done = CliRunner().invoke(app, ["verify", str(run), "--json"])
    assert done.exit_code == 1


def _more_f1(path):
    text = path.read_text()
    assert '"weighted_f1": ' in text
    path.write_text(text.replace('"weighted_f1": ', '"weighted_f1": 9', 1))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("metrics.json", _more_f1),
        ("report.html", _flip),
        ("card.md", _flip),
        ("figures/roc.png", lambda path: path.unlink()),
    ],
)
def test_a_change_of_an_evaluation_is_found(made, tmp_path, name, change):
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    change(run / name)
    found = bs.verify(run)
    bad = {item for item, status in statuses(found).items() if status in ("changed", "missing")}
    assert (found.failed, bad) == (True, {name})


def test_an_evaluation_of_an_earlier_version_is_not_recorded(made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    (run / "evaluation-digests.json").unlink()
    (run / "decision.json").write_text("{}")
    found = bs.verify(run)
    unknown = {item for item, status in statuses(found).items() if status == "not-recorded"}
    assert unknown == {"metrics.json", "decision.json", "card.md", "report.html"}
    assert not found.failed


def test_an_evaluation_elsewhere_can_be_verified_and_made_again(made, tmp_path):
    out = tmp_path / "own"
    bs.evaluate(made.run, out=out)
    assert set(statuses(bs.verify(out)).values()) == {"ok"}
    _more_f1(out / "metrics.json")
    assert statuses(bs.verify(out))["metrics.json"] == "changed"
    bs.evaluate(made.run, "validation", out=out)
    assert not bs.verify(out).failed


def test_a_title_is_no_change(made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("A tiny network", "A small network"))
    assert not bs.verify(run).failed


def test_inputs_that_moved_are_not_found_and_can_be_given(made, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    about = json.loads((run / "environment.json").read_text())
    about["inputs"]["store"] = str(tmp_path / "gone")
    about["packages"]["numpy"] = "0.0"
    (run / "environment.json").write_text(json.dumps(about))
    found = bs.verify(run)
    assert statuses(found)["store"] == "not-found"
    assert not found.failed
    assert [name for name, *_ in found.differs] == ["packages.numpy"]
    assert statuses(bs.verify(run, store=made.store))["store"] == "ok"
    with pytest.raises(BlastscopeError, match="--store"):
        bs.verify(run, rerun=True)


def test_training_again_gives_the_same_to_the_last_bit(made, tmp_path):
    again = bs.verify(made.run, rerun=True, device="cpu").rerun
    assert again is not None
    assert (again.equal, again.same_weights, again.largest) == (True, True, 0.0)
    assert again.metrics["auc"][0] == again.metrics["auc"][1]
    # Predictions that are not the run's own differ, by as much as was added.
    run = tmp_path / "run"
    shutil.copytree(made.run, run)
    table = run / "predictions.parquet"
    first = pl.read_parquet(table)["p_all"][0]
    _exchange(table)
    found = bs.verify(run, rerun=True, device="cpu")
    assert found.failed
    assert not found.rerun.equal
    apart = (1 - 2 * pl.read_parquet(made.run / "predictions.parquet")["p_all"]).abs().max()
    assert found.rerun.largest == pytest.approx(apart, abs=1e-12)
    assert first is not None


def test_a_store_whose_pixels_were_changed(made, tmp_path):
    assert not bs.verify(made.store).failed
    store = tmp_path / "store"
    shutil.copytree(made.store, store)
    pixels = np.lib.format.open_memmap(store / "pixels.npy", mode="r+")
    pixels[0, 0, 0, 0] ^= 1
    pixels.flush()
    assert statuses(bs.verify(store))["pixels.npy"] == "changed"


def test_a_bundle_and_folders_with_runs(made, tmp_path):
    whole = bs.verify(made.bundle)
    assert set(statuses(whole).values()) == {"ok"}
    assert whole.found.provenance["packages"]["torch"]
    folder = tmp_path / "bundle"
    bs.make_bundle(made.run, folder)
    _flip(folder / "model.onnx")
    (folder / "ood.json").unlink()
    found = statuses(bs.verify(folder))
    assert (found["model.onnx"], found["ood.json"]) == ("changed", "missing")
    assert found["weights.safetensors"] == "ok"

    both = tmp_path / "both"
    bs.train(made.recipe, made.store, made.split, out=both, seeds=2)
    found = bs.verify(both)
    assert not found.failed
    assert {"predictions.parquet", "seed24/checkpoint.safetensors"} <= set(statuses(found))
    kept = both / "mlflow-artifacts" / "ab12" / "artifacts"  # as --track keeps some of the files
    kept.mkdir(parents=True)
    shutil.copy(made.run / "environment.json", kept)
    assert statuses(bs.verify(both)) == statuses(found)
    _flip(both / "seed25" / "checkpoint.safetensors")
    assert statuses(bs.verify(both))["seed25/checkpoint.safetensors"] == "changed"
    with pytest.raises(BlastscopeError, match="not a finished run"):
        bs.verify(both, rerun=True)

    combined = bs.fit_ensemble(
        [f"a={both}/seed24", f"b={made.run}"], out=tmp_path / "e", method="mean"
    )
    found = bs.verify(combined)
    assert not found.failed
    assert statuses(found)["ensemble.json"] == "ok"

    whole = bs.make_bundle(combined, tmp_path / "mean").path
    found = bs.verify(whole)
    assert set(statuses(found).values()) == {"ok"}
    assert not any(found.to_frame()["reason"])
    shutil.rmtree(whole / "members" / "1")
    bs.make_bundle(made.run, whole / "members" / "1", half=True)
    assert statuses(bs.verify(whole))["members/1/bundle.json"] == "changed"


def test_what_is_not_ours_is_refused(tmp_path):
    with pytest.raises(BlastscopeError, match="not made by blastscope"):
        bs.verify(tmp_path)
    with pytest.raises(BlastscopeError, match="does not exist"):
        bs.verify(tmp_path / "gone")
