"""Train, bundle, load, predict: what comes back is what the run itself said."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest

import blastscope
from blastscope.api.bundle import make_bundle as bundle
from blastscope.api.evaluate import evaluate
from blastscope.bundle.contents import NAMES
from blastscope.bundle.read import open_bundle
from blastscope.decision.decision_file import read_decision
from blastscope.errors import BlastscopeError
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions
from blastscope.prediction.predict import predict
from blastscope.recipes.library import read_recipe


@pytest.mark.parametrize("engine", ["onnxruntime", "torch", "openvino"])
@pytest.mark.parametrize("which", ["folder", "zip"])
def test_a_bundle_says_what_its_run_said_in_every_engine(bundles, which, engine, tmp_path):
    if engine == "openvino":
        pytest.importorskip("openvino")
    run = bundles.trained.run if which == "folder" else bundles.trained.other
    images = bundles.trained.images
    out = tmp_path / "new.parquet"
    predict(list(images.values()), [getattr(bundles, which)], out, engine=engine, device="cpu")
    frame, about = read_predictions(out)
    said = bundles.trained.p_all(run)
    assert frame["cell"].to_list() == list(images)
    assert frame["p_all"].to_list() == pytest.approx([said[c] for c in frame["cell"]], abs=2e-6)
    assert about["checkpoint"] == sha256_of(run / "checkpoint.safetensors")
    assert about["bundle"] == open_bundle(getattr(bundles, which)).digest


def test_an_ensemble_is_a_bundle_of_bundles_with_weights(bundles):
    one, two = (bundles.trained.p_all(run) for run in (bundles.trained.run, bundles.trained.other))
    images = bundles.trained.images
    model = blastscope.load(bundles.ensemble)
    frame = model.predict(list(images.values()))
    wanted = [0.75 * one[cell] + 0.25 * two[cell] for cell in images]
    assert frame["p_all"].to_list() == pytest.approx(wanted, abs=2e-6)
    assert (model.name, model.sizes, model.synthetic) == ("both", (32, 40), False)
    assert repr(model) == "<both: 2 networks, cells of 32, 40 pixels>"
    for number in (1, 2):  # each member is a bundle of its own
        member = open_bundle(bundles.ensemble / "members" / str(number))
        assert member.verify() > 0


def test_every_file_is_as_its_manifest_says_and_can_be_read_with_other_tools(bundles):
    from safetensors.numpy import load_file

    manifest = json.loads((bundles.folder / "bundle.json").read_text())
    assert set(manifest["files"]) < set(NAMES)
    for name, file in manifest["files"].items():
        content = (bundles.folder / name).read_bytes()
        assert file["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert file["bytes"] == len(content)
    weights = load_file(bundles.folder / "weights.safetensors")
    trained = load_file(bundles.trained.run / "checkpoint.safetensors")
    assert weights.keys() == trained.keys()
    assert all(np.array_equal(weights[name], trained[name]) for name in weights)
    network = manifest["network"]
    assert network["preparation"]["size"] == 32
    assert network["classes"] == ["hem", "all"]
    recipe = read_recipe(bundles.trained.run / "recipe.yaml")
    assert open_bundle(bundles.folder).networks[0].recipe == recipe


def test_counts_of_the_data_travel_and_names_of_subjects_do_not(bundles):
    manifest = json.loads((bundles.folder / "bundle.json").read_text())
    data = manifest["network"]["data"]
    table, about = read_predictions(bundles.trained.run / "predictions.parquet")
    train = table.filter(table["part"] == "train")
    assert data["cells"]["train"] == {
        label: train.filter(train["label"] == label).height for label in ("all", "hem")
    }
    assert data["subjects"] == {
        label: train.filter(train["label"] == label)["subject"].n_unique()
        for label in ("all", "hem")
    }
    assert (data["store"], data["split"]) == (about["store"], about["split"])
    for path in bundles.folder.rglob("*"):
        assert b"UID_" not in path.read_bytes()


def test_the_same_run_gives_the_same_zip(bundles, tmp_path):
    again = bundle(bundles.trained.other, tmp_path / "again.zip").path
    assert sha256_of(again) == sha256_of(bundles.zip)
    assert zipfile.ZipFile(again).testzip() is None


def test_half_precision_takes_half_the_space_and_hardly_changes_a_probability(bundles, tmp_path):
    half = bundle(bundles.trained.run, tmp_path / "half", half=True).path
    sizes = [(place / "weights.safetensors").stat().st_size for place in (half, bundles.folder)]
    assert sizes[0] < 0.6 * sizes[1]
    assert (half / "model.onnx").stat().st_size < 20_000  # there is one copy of the weights
    said = bundles.trained.p_all(bundles.trained.run)
    images = list(bundles.trained.images.values())
    found = [
        blastscope.load(half, engine=engine, device="cpu").predict(images)["p_all"].to_numpy()
        for engine in ("onnxruntime", "torch")
    ]
    assert np.abs(found[0] - [said[cell] for cell in bundles.trained.images]).max() < 5e-3
    assert np.abs(found[0] - found[1]).max() < 1e-6  # both compute with what is stored


def test_what_a_bundle_may_not_be_made_of_or_into(bundles, tmp_path):
    with pytest.raises(BlastscopeError, match="is a bundle already"):
        bundle(bundles.folder, tmp_path / "x")
    with pytest.raises(BlastscopeError, match="is there already: choose another name, or give"):
        bundle(bundles.trained.run, bundles.folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(BlastscopeError, match="is there already and is not a bundle"):
        bundle(bundles.trained.run, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_metrics_and_decision_of_a_run_travel_and_those_of_another_are_refused(bundles, tmp_path):
    run, other = (
        shutil.copytree(source, tmp_path / name)
        for source, name in ((bundles.trained.run, "run"), (bundles.trained.other, "other"))
    )
    found = evaluate(run, out=run)
    evaluate(other, out=other)
    made = open_bundle(bundle(run, tmp_path / "b").path)
    judged = made.manifest.evaluations[0]
    assert judged.own
    assert judged.protocol == "subject"
    assert judged.metrics["auc"].value == found.metrics["auc"]
    assert (judged.metrics["auc"].low, judged.metrics["auc"].high) == found.intervals.bounds["auc"]
    assert (
        made.decision.decision.as_json() == read_decision(run / "decision.json").decision.as_json()
    )
    kept, travelled = (
        json.loads((folder / "decision.json").read_text()) for folder in (run, tmp_path / "b")
    )
    assert kept.keys() - travelled.keys() == {"subject_shares"}  # it names subjects
    own = predict([*bundles.trained.images.values()], [run]).frame
    theirs = predict([*bundles.trained.images.values()], [tmp_path / "b"]).frame
    assert theirs["called"].to_list() == own["called"].to_list()
    assert theirs["confidence"].to_list() == pytest.approx(own["confidence"].to_list(), abs=1e-5)
    with pytest.raises(BlastscopeError, match="was fitted to other weights"):
        bundle(run, tmp_path / "c", decision=other)
    content = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps({**content, "model": "foreign"}))
    with pytest.raises(BlastscopeError, match=r"evaluates foreign, not tiny"):
        bundle(run, tmp_path / "c", evaluations=[other])


@pytest.mark.parametrize("given", ["own", "copy twice"])
def test_an_evaluation_that_is_given_twice_is_refused(bundles, tmp_path, given):
    run = shutil.copytree(bundles.trained.run, tmp_path / "run")
    evaluate(run, out=run)
    copies = [shutil.copytree(run, tmp_path / name) for name in ("first", "second")]
    if given == "copy twice":
        (run / "metrics.json").unlink()
    with pytest.raises(BlastscopeError, match="once"):
        bundle(run, tmp_path / "b", evaluations=copies[:1] if given == "own" else copies)
    assert not (tmp_path / "b").exists()


def test_an_older_bundle_is_replaced_whole_when_asked(bundles, tmp_path):
    made = bundle(bundles.trained.run, tmp_path / "m").path
    (made / "decision.json").write_text("of the old one")
    bundle(bundles.trained.other, made, force=True)
    assert open_bundle(made).networks[0].settings.size == 40
    assert not (made / "decision.json").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_force_replaces_a_bundle_and_nothing_else(bundles, tmp_path):
    cells = tmp_path / "cells.zip"
    with zipfile.ZipFile(cells, "w") as archive:
        archive.writestr("1.bmp", b"a cell")
    folder = bundle(bundles.trained.run, tmp_path / "folder").path
    notes = folder / "notes.txt"
    notes.write_text("mine")
    before = cells.read_bytes()
    for out in (cells, folder):
        with pytest.raises(BlastscopeError, match="choose another name"):
            bundle(bundles.trained.run, out, force=True)
    assert (cells.read_bytes(), notes.read_text()) == (before, "mine")
    notes.unlink()
    assert bundle(bundles.trained.run, folder, force=True).path == folder


def test_a_run_that_started_from_another_began_with_that_ones_weights(bundles, tmp_path):
    run, head = tmp_path / "net", tmp_path / "head"
    shutil.copytree(bundles.trained.run, run)
    shutil.copytree(bundles.trained.run, head)
    weights = {"file": "cnn4-small.safetensors", "sha256": "sha256:" + "0" * 64}
    for folder, note in (
        (run, {"starts_from": {"run": "elsewhere/head", "checkpoint": "sha256:0"}}),
        (head, {"initial_weights": weights}),
    ):
        about = json.loads((folder / "environment.json").read_text())
        (folder / "environment.json").write_text(json.dumps(about | note))
    made = open_bundle(bundle(run, tmp_path / "b").path)
    assert made.manifest.network.initial_weights.file == "cnn4-small.safetensors"
    assert "began with ImageNet weights, `cnn4-small.safetensors`" in made.card
    shutil.rmtree(head)
    with pytest.raises(BlastscopeError, match="run elsewhere/head, which is missing"):
        bundle(run, tmp_path / "c")
