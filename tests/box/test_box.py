"""The model in the box: there, whole, small, honest about itself, and right on real cells."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import blastscope
from blastscope import box
from blastscope.bundle.read import open_bundle
from blastscope.cli import app
from blastscope.data.synthetic import write_synthetic
from blastscope.errors import BlastscopeError
from tests.conftest import draw_cell, write_cell

MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(box.in_the_box())


def test_it_is_whole_and_small(bundle):
    assert 1_000_000 < bundle.verify() <= MOST_BYTES
    files = [path for path in box.in_the_box().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


def test_it_learnt_from_all_fourteen_real_subjects_of_fold_1(bundle):
    network = bundle.manifest.network
    assert bundle.manifest.synthetic is False
    assert network.data.subjects == {"all": 11, "hem": 3}
    assert sum(sum(part.values()) for part in network.data.cells.values()) == 3581
    assert "mit" in network.initial_weights.licence.lower()


def test_its_card_says_what_it_is_worth_under_both_splits_and_whom_to_cite(bundle):
    card = bundle.card
    assert "not a medical device" in card
    assert "CC BY 3.0" in card
    assert "10.7937/tcia.2019.dc64i46r" in card
    protocols = {judged.protocol: judged for judged in bundle.manifest.evaluations}
    assert {"image", "subject"} <= set(protocols)
    for judged in protocols.values():
        for metric in ("weighted_f1", "auc"):
            assert judged.metrics[metric].low is not None
            assert f"{judged.metrics[metric].value:.4f}" in card
    assert protocols["subject"].cells == 3581  # every cell by a network without its subject
    assert protocols["subject"].own is False


def test_its_curve_of_size_is_of_other_networks_and_on_its_card(bundle):
    curve = bundle.manifest.size_curve
    assert curve.own is False
    assert (curve.cells, curve.protocol, curve.sampling["counts"]["hem"]) == (3581, "subject", 3)
    assert [round(one.factor, 2) for one in curve.steps] == [
        0.77, 0.83, 0.91, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3
    ]  # fmt: skip
    # Cells as they are have not been resampled, and so are sharper than those of the other steps.
    changed = [one for one in curve.steps if one.factor != 1]
    for aucs in ([one.auc for one in changed], [one.auc_resampled for one in changed]):
        assert aucs == sorted(aucs, reverse=True)  # a larger normal cell looks more like a blast
    for one in curve.steps:
        resampled = "–" if one.factor == 1 else f"{one.auc_resampled:.4f}"
        shares = f"{one.normal_called_all:.1%} | {one.all_called_all:.1%}".replace("%", " %")
        assert f"| × {one.factor:.3g} | {one.auc:.4f} | {resampled} | {shares} |" in bundle.card


def test_its_decision_was_fitted_on_subjects_that_the_networks_had_not_seen(bundle):
    assert bundle.decision is not None
    assert bundle.decision.fitted_on.folds == 3
    assert bundle.decision.decision.subjects == 14


def test_without_a_model_predict_takes_it(tmp_path):
    image = write_cell(tmp_path / "cell.bmp", draw_cell(1))
    done = CliRunner().invoke(app, ["predict", str(image), "--out", "-"])
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert row["model"] == open_bundle(box.in_the_box()).manifest.name
    assert 0 <= row["p_all"] <= 1
    assert row["out_of_distribution"] is True  # a disc with noise is no cell that it knows
    assert "called" not in row
    assert CliRunner().invoke(app, ["inspect"]).exit_code == 0


def test_on_synthetic_cells_its_tables_say_so(tmp_path):
    write_synthetic(tmp_path / "cells", 8, 4, 3)
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "cells"), "--out", "-"])
    assert all(
        json.loads(line)["model"].endswith("(synthetic)")
        for line in done.stdout.split("\n")
        if line
    )


def test_on_real_cells_all_engines_agree_and_it_knows_what_it_learnt(shared):
    data = shared / "data" / "C-NMC_training_data" / "fold_1"
    paths = [p for label in ("all", "hem") for p in sorted((data / label).iterdir())[::60]]
    found = [
        blastscope.load(engine=engine, device="cpu").predict(paths)
        for engine in ("onnxruntime", "torch")
    ]
    p = [frame["p_raw"].to_numpy() for frame in found]
    assert np.abs(p[0] - p[1]).max() < 1e-4
    is_all = np.array([path.parent.name == "all" for path in paths])
    assert roc_auc_score(is_all, p[0]) > 0.95  # cells that it was trained on
    assert found[0]["out_of_distribution"].sum() <= 3


def test_a_copy_without_its_model_says_so(monkeypatch, tmp_path):
    shutil.copy(box.__file__, tmp_path / "__init__.py")
    monkeypatch.setattr(box, "files", lambda name: tmp_path)
    with pytest.raises(BlastscopeError, match="was installed without a model"):
        box.in_the_box()
