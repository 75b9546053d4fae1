"""`blastscope adapt` from end to end: a whole bundle comes out, or nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import blastscope as bs
from blastscope.api.bundle import make_bundle
from blastscope.bundle.contents import CARD
from blastscope.bundle.manifest import SizeCurve, SizeStepEntry
from blastscope.bundle.read import open_bundle
from blastscope.bundle.write import BundleDraft, write_bundle
from blastscope.cli import app
from blastscope.engines.last_layer import FeatureEngine, LastLayer, replace_last_layer
from blastscope.engines.onnx_engines import OnnxRuntimeEngine
from blastscope.errors import BlastscopeError
from blastscope.report.bundle_card import bundle_card
from tests.adaptation.conftest import draw_tinted


@pytest.fixture(scope="module")
def adapted(laboratory, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapted") / "mine.zip"
    return bs.adapt(laboratory.bundle, labelled=laboratory.cells, out=out)


def test_the_adapted_bundle_is_whole_and_says_what_was_done(laboratory, adapted):
    found = open_bundle(adapted.path)
    found.verify()
    entry = found.manifest.adaptation
    assert entry.bundle == open_bundle(laboratory.bundle).digest
    assert entry.cells == {"all": 48, "hem": 48}
    assert entry.subjects == {"all": 4, "hem": 4}
    assert entry.by == "subject"
    assert entry.after["log_loss"] <= entry.before["log_loss"]
    assert "## Adaptation" in found.card
    assert found.manifest.name.endswith(", adapted")
    decision = json.loads(found_file(adapted.path, "decision.json"))
    assert decision["part"] == "adaptation"
    assert "subject_shares" not in decision


def found_file(path, name):
    from blastscope.bundle.contents import Contents

    return Contents(path).read(name)


def test_predictions_are_those_that_were_judged_but_for_folds(laboratory, adapted):
    """The bundle calls cells by its own calibration, fitted on all of them."""
    before = bs.load(laboratory.bundle).predict(laboratory.cells)
    after = bs.load(adapted.path).predict(laboratory.cells)
    assert after["p_all"].is_not_nan().all()
    truth = (before["label"] == "all").to_numpy()

    def loss(table):
        p = np.clip(table["p_all"].to_numpy(), 1e-6, 1 - 1e-6)
        return -np.where(truth, np.log(p), np.log(1 - p)).mean()

    assert loss(after) < loss(before)


def test_the_adapted_bundle_goes_to_the_other_verbs(laboratory, adapted, tmp_path):
    told = CliRunner().invoke(app, ["inspect", str(adapted.path)])
    assert "Adapted from" in told.output
    out = tmp_path / "p.parquet"
    made = bs.predict([laboratory.cells], adapted.path, out=out)
    assert made.found.frame["called"].null_count() < 96
    assert bs.evaluate(out).metrics["n"] == 96
    again = bs.adapt(adapted.path, labelled=laboratory.cells, out=tmp_path / "again")
    assert again.name == adapted.name
    json.dumps(again.as_json())


def test_a_changed_last_layer_is_the_same_in_every_engine(laboratory, tmp_path):
    network = open_bundle(laboratory.bundle).networks[0]
    model, weights = network.onnx(), network.weights()
    engine = FeatureEngine(model, weights)
    rng = np.random.default_rng(0)
    size = network.settings.size
    pixels = rng.integers(0, 255, (5, size, size, 3), np.uint8)
    features = engine.compute(pixels)
    assert engine.layer.logits(features.values) == pytest.approx(features.logits, abs=1e-5)
    layer = LastLayer(engine.layer.weight * -0.5 + 0.01, 0.25)
    changed = replace_last_layer(model, weights, layer)
    expected = layer.logits(features.values)
    found = OnnxRuntimeEngine(*changed).view_logits(pixels).mean(1)
    assert found == pytest.approx(expected, abs=1e-5)
    assert len(changed[1]) == len(weights)

    import torch

    from blastscope.engines.torch_engine import TorchEngine, load_classifier

    classifier = load_classifier(network.recipe, changed[1])
    torch_engine = TorchEngine(classifier, network.recipe.prediction.views, torch.device("cpu"))
    assert torch_engine.view_logits(pixels).mean(1) == pytest.approx(expected, abs=1e-4)


def test_a_tensor_that_shares_its_numbers_with_the_layer_keeps_them(laboratory):
    """Equal tensors lie in one stretch of the weights; changing the layer changes no other."""
    import onnx
    from onnx import numpy_helper

    network = open_bundle(laboratory.bundle).networks[0]
    proto = onnx.ModelProto.FromString(network.onnx())
    bias = next(one for one in proto.graph.initializer if one.name.endswith("head.logit.bias"))
    twin = proto.graph.initializer.add()
    twin.CopyFrom(bias)
    twin.name = "twin"
    engine = FeatureEngine(proto.SerializeToString(), network.weights())
    layer = LastLayer(engine.layer.weight, engine.layer.bias + 1)
    model, weights = replace_last_layer(proto.SerializeToString(), network.weights(), layer)
    changed = onnx.ModelProto.FromString(model)
    kept = next(one for one in changed.graph.initializer if one.name == "twin")
    assert not kept.external_data
    assert numpy_helper.to_array(kept)[0] == np.float32(engine.layer.bias)
    assert FeatureEngine(model, weights).layer.bias == pytest.approx(engine.layer.bias + 1)


def test_a_graph_with_another_end_is_refused(laboratory):
    import onnx

    network = open_bundle(laboratory.bundle).networks[0]
    proto = onnx.ModelProto.FromString(network.onnx())
    gemm = next(node for node in proto.graph.node if node.op_type == "Gemm")
    gemm.attribute.append(onnx.helper.make_attribute("alpha", 0.5))
    with pytest.raises(BlastscopeError, match="does not end in one linear layer"):
        FeatureEngine(proto.SerializeToString(), network.weights())


def test_half_precision_stays_half(laboratory, tmp_path):
    half = make_bundle(laboratory.run, tmp_path / "half", half=True).path
    network = open_bundle(half).networks[0]
    engine = FeatureEngine(network.onnx(), network.weights())
    layer = LastLayer(engine.layer.weight + 0.013, engine.layer.bias)
    changed = replace_last_layer(network.onnx(), network.weights(), layer)
    assert len(changed[1]) == len(network.weights())
    stored = FeatureEngine(*changed).layer
    assert stored.weight == pytest.approx(layer.weight, rel=1e-3)
    made = bs.adapt(half, labelled=laboratory.cells, out=tmp_path / "m.zip")
    open_bundle(made.path).verify()


def with_size_curve(bundle, out):
    """Copy a bundle with a curve of counterfactual size, of its own weights."""
    source = open_bundle(bundle)
    steps = (SizeStepEntry(factor=1.0, auc=0.9), SizeStepEntry(factor=1.3, auc=0.8))
    sampling = source.manifest.evaluations[0].sampling
    curve = SizeCurve(
        own=True, part="test", protocol="subject", cells=9, sampling=sampling, steps=steps
    )
    manifest = source.manifest.model_copy(update={"size_curve": curve})
    files = {name: found_file(bundle, name) for name in manifest.files if name != CARD}
    card = bundle_card(manifest, source.decision)
    write_bundle(BundleDraft(manifest, files, source.decision).sealed(card), out)
    return out


def test_a_layer_that_is_kept_changes_the_weights_and_their_checkpoint(
    laboratory, tmp_path, monkeypatch
):
    from blastscope.adaptation import fitting

    monkeypatch.setattr(
        fitting, "log_loss", lambda is_all, p, seen=[]: -len(seen.append(0) or seen)
    )
    bundle = with_size_curve(laboratory.bundle, tmp_path / "curve")
    made = bs.adapt(bundle, labelled=laboratory.cells, out=tmp_path / "m")
    assert made.fit.correction is not None  # each loss is lower than the one before
    old, new = (open_bundle(path).networks[0] for path in (laboratory.bundle, made.path))
    assert old.weights() != new.weights()
    assert new.checkpoint != old.checkpoint
    assert not any(one.own for one in new.manifest.evaluations)
    assert new.manifest.size_curve.own is False
    assert "the curve of size above are of the model before it" in open_bundle(made.path).card
    assert json.loads(found_file(made.path, "decision.json"))["checkpoint"] == new.checkpoint
    raw = bs.load(made.path).predict(laboratory.cells)["p_raw"].to_numpy()
    cells = made.cells
    fitted = fitting.corrected(cells, made.fit.correction, np.arange(len(cells)))
    assert raw == pytest.approx(fitted, abs=1e-4)
    in_torch = bs.load(made.path, engine="torch").predict(laboratory.cells)["p_raw"].to_numpy()
    assert raw == pytest.approx(in_torch, abs=1e-4)


def test_a_store_gives_what_its_images_give(laboratory, adapted, tmp_path):
    size = str(open_bundle(laboratory.bundle).networks[0].settings.size)
    bs.prepare(laboratory.cells, out=tmp_path / "store", size=int(size))
    made = bs.adapt(laboratory.bundle, labelled=tmp_path / "store", out=tmp_path / "m")
    assert made.adaptation.after == pytest.approx(adapted.adaptation.after, abs=1e-6)
    bs.prepare(laboratory.cells, out=tmp_path / "other", size=48)
    with pytest.raises(BlastscopeError, match="prepared differently"):
        bs.adapt(laboratory.bundle, labelled=tmp_path / "other", out=tmp_path / "n")
    assert not (tmp_path / "n").exists()


def refuse(words, match):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code != 0
    assert isinstance(done.exception, BlastscopeError)
    assert match in str(done.exception)
    assert "\n" not in str(done.exception)


def test_too_few_cells_and_a_missing_class_are_one_sentence(laboratory, tmp_path):
    few = draw_tinted(tmp_path / "few", 1, 6, 20)
    words = ["adapt", laboratory.bundle, "--labelled", few, "--out", tmp_path / "m.zip"]
    refuse(words, "6 ALL and 6 normal cells: an adaptation needs 20 labelled cells")
    one = shutil.copytree(laboratory.cells, tmp_path / "one")
    shutil.rmtree(one / "hem")
    refuse([*words[:3], one, *words[4:]], "48 ALL and 0 normal cells")
    assert not (tmp_path / "m.zip").exists()
    assert list(tmp_path.glob(".*")) == []


def test_what_is_not_a_bundle_or_taken_is_refused(laboratory, adapted, tmp_path):
    more = ["--labelled", laboratory.cells, "--out", tmp_path / "m.zip"]
    refuse(["adapt", laboratory.run, *more], "is not a bundle: make one")
    refuse(["adapt", laboratory.bundle, *more[:2], "--out", adapted.path], "is there already")
    refuse(["adapt", laboratory.bundle, "--labelled", tmp_path / "x", *more[2:]], "does not exist")


def test_the_same_pixels_with_two_labels_are_refused(laboratory, tmp_path):
    cells = shutil.copytree(laboratory.cells, tmp_path / "cells")
    one = min(cells.glob("all/*.bmp"))
    shutil.copy(one, cells / "hem" / "UID_H20_99_1_hem.bmp")
    with pytest.raises(bs.BlastscopeError, match=f"{one.name} has the same pixels"):
        bs.adapt(laboratory.bundle, labelled=cells, out=tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_unlabelled_and_damaged_files_are_left_out_and_named(laboratory, tmp_path):
    cells = shutil.copytree(laboratory.cells, tmp_path / "cells")
    (cells / "all" / "UID_20_0_1_all.bmp").write_bytes(b"not an image")
    pages = [Image.new("RGB", (60, 60), (90, 40, 120)) for _ in range(2)]
    pages[0].save(cells / "all" / "two.tif", save_all=True, append_images=pages[1:])
    made = bs.adapt(laboratory.bundle, labelled=cells, out=tmp_path / "m")
    assert made.adaptation.cells == {"all": 47, "hem": 48}
    assert any("UID_20_0_1_all.bmp" in sentence for sentence in made.notes())
    content = made.as_json()
    assert (content["unlabelled"], content["unusable"]) == (0, 2)
    assert (content["name"], content["adapted_from"]) == (made.name, made.adaptation.name)
    assert content["name"] != content["adapted_from"]
    many = tuple((f"f{k}.png", "is black.") for k in range(300))
    named = replace(made, cells=replace(made.cells, problems=many, unlabelled=2))
    assert sum(" is black." in sentence for sentence in named.notes()) == 10
    assert any("290" in sentence for sentence in named.notes())
    content = named.as_json()
    assert (content["unlabelled"], content["unusable"]) == (2, 300)


def test_an_ensemble_keeps_its_layers_and_gets_a_decision(laboratory, trained, tmp_path):
    from blastscope.ensemble.combination import Combination
    from blastscope.ensemble.ensemble_folder import (
        EnsembleFolder,
        ensemble_members,
        write_ensemble,
    )
    from blastscope.evaluation.aligned_predictions import align_predictions

    place = tmp_path / "e"
    scores = align_predictions([f"A={trained.run}", f"B={trained.other}"])
    how = Combination("mean", "weights", (0.5, 0.5))
    members = ensemble_members(scores.members, place)
    write_ensemble(EnsembleFolder("both", how, members, False, {"part": "validation"}), place)
    (place / "predictions.parquet").touch()
    bundle = make_bundle(place, tmp_path / "both.zip").path
    made = bs.adapt(bundle, labelled=laboratory.cells, out=tmp_path / "m.zip")
    assert [one.reason for one in made.fit.steps if one.step == "last-layer"] == ["ensemble"]
    open_bundle(made.path).verify()
    table = bs.load(made.path).predict(laboratory.cells)
    assert table["called"].dtype == pl.String
