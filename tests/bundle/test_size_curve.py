"""The curve of counterfactual size in a bundle: the stress test's own numbers, or a refusal."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from blastscope.api.bundle import make_bundle
from blastscope.api.inspect_bundle import inspect_bundle
from blastscope.api.stress_test import stress_test
from blastscope.bundle.contents import MANIFEST
from blastscope.bundle.read import open_bundle
from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe
from blastscope.report.bundle_card import bundle_card
from blastscope.robustness import step_predictions
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.perturbations import PERTURBATIONS, Step
from blastscope.robustness.stress_file import bundled_size_curve
from blastscope.training.finished_run import open_run
from blastscope.training.train import train
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE

SCALE = PERTURBATIONS[-1]
TAKEN = (
    Step(0),
    *(Step(5, one, one.values[-1][-1]) for one in PERTURBATIONS),
    Step(4, SCALE, 1 / 1.3),
    Step(4, SCALE, 1.3),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run at one scale, ``run``, and its stress test, ``stress``, of few steps."""
    root = tmp_path_factory.mktemp("size")
    for k in range(16):
        label, subject = ("all", f"{k // 4 + 1}") if k % 2 else ("hem", f"H{k // 4 + 1}")
        path = root / "data" / label / f"UID_{subject}_{k}_1_{label}.bmp"
        write_cell(path, draw_cell(k, 120, 30 if k % 2 else 22))
    (root / "tiny.yaml").write_text(RECIPE)
    settings = StoreSettings(size=32, scale="keep", clahe=False)
    store = prepare([root / "data"], root / "store", settings).path
    changes = ["input.size=32", "input.scale=keep", "input.clahe=false", "training.epochs=1"]
    recipe = load_recipe(str(root / "tiny.yaml"), changes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = train(recipe, store, make_split(store, "subject", 3)[0], root / "run", device="cpu").path
    with pytest.MonkeyPatch.context() as patch:
        for place in ("step_predictions", "summary"):
            patch.setattr(f"blastscope.robustness.{place}.steps", lambda: iter(TAKEN))
        patch.setattr(step_predictions, "non_cell_images", lambda side: non_cell_images(side, 2))
        patch.setattr("blastscope.api.stress_test.stress_html", lambda *found, **shown: "")
        stress_test([run], store, out=root / "stress", device="cpu")
    torch.set_num_threads(threads)
    return root


@pytest.fixture(scope="module")
def bundle(folder):
    words = ["bundle", folder / "run", "--stress", folder / "stress", "--out", folder / "made"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return folder / "made"


def changed(folder, tmp_path, change) -> str:
    """Copy the stress test with another ``stress.json``."""
    content = json.loads((folder / "stress" / "stress.json").read_text())
    change(content)
    place = tmp_path / "stress"
    place.mkdir()
    (place / "stress.json").write_text(json.dumps(content))
    return place


def another_seed(content):
    content["identity"]["models"][0][1] = "sha256:" + "0" * 64


def test_card_screen_and_manifest_have_the_numbers_of_the_stress_test(folder, bundle):
    (model,) = json.loads((folder / "stress" / "stress.json").read_text())["models"]
    curve = open_bundle(bundle).manifest.size_curve
    assert [step.model_dump() for step in curve.steps] == model["size"]
    assert [round(step.factor, 2) for step in curve.steps] == [0.77, 1.0, 1.3]
    assert (curve.own, curve.part, curve.protocol) == (True, "test", "subject")
    assert curve.cells == model["cells"]
    found = inspect_bundle(bundle)
    table = found.tables()[-1]
    defined = [{k: v for k, v in step.items() if v is not None} for step in model["size"]]
    assert found.as_json()["size_curve"]["steps"] == defined
    for step, shown in zip(model["size"], table.rows, strict=True):
        row = [
            f"× {step['factor']:.3g}",
            f"{step['auc']:.4f}",
            "–" if step["auc_resampled"] is None else f"{step['auc_resampled']:.4f}",
            f"{100 * step['normal_called_all']:.1f} %",
            f"{100 * step['all_called_all']:.1f} %",
        ]
        assert list(shown) == row
        assert f"| {' | '.join(row)} |" in found.card
    first, last = model["size"][1], model["size"][-1]
    (sentence,) = [line for line in found.card.splitlines() if "enlarged 1.3 times" in line]
    assert f"goes from {first['auc']:.3f} to {last['auc']:.3f}" in sentence
    assert f"{sentence}" in found.notes()
    assert "These weights, on" in found.card.partition("smaller and larger")[2]


def test_a_bundle_without_it_is_as_before(bundle):
    found = open_bundle(bundle)
    plain = found.manifest.model_copy(update={"size_curve": None})
    assert "size_curve" not in json.loads(plain.as_json())
    assert "smaller and larger" not in bundle_card(plain, None)


def test_an_edited_curve_is_refused(bundle, tmp_path):
    place = shutil.copytree(bundle, tmp_path / "m")
    content = json.loads((place / MANIFEST).read_text())
    content["size_curve"]["steps"][0]["auc"] = 0.99
    (place / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BlastscopeError, match="was changed after it was made"):
        open_bundle(place)


def test_of_other_weights_with_the_same_settings(folder, bundle, tmp_path):
    stress = changed(folder, tmp_path, another_seed)
    curve = bundled_size_curve(stress, open_run(folder / "run"))
    own = open_bundle(bundle).manifest
    assert (curve.own, curve.steps) == (False, own.size_curve.steps)
    card = bundle_card(own.model_copy(update={"size_curve": curve}), None)
    assert "Other weights of the same recipe" in card


def twice(content):
    another_seed(content)
    content["identity"]["models"] *= 2
    content["models"] *= 2


def other_settings(content):
    another_seed(content)
    content["models"][0]["settings"]["training"]["epochs"] = 7


def unknown_settings(content):
    del content["models"][0]["settings"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_settings, r"training\.epochs \(7, not 1\)"),
        (twice, "several models with these settings"),
        (unknown_settings, "does not say which settings"),
        (lambda content: content.pop("models"), "unfinished stress test"),
        (lambda content: content["models"][0].update(size=[]), "has no curve of size"),
        (lambda content: content["models"][0]["size"].pop(1), "1 is among them"),
        (lambda content: content["models"][0]["size"][0].update(auc=1.5), "not as blastscope"),
        (lambda content: content.update(synthetic=True), "tested on synthetic cells"),
        (lambda content: content.update(format="blastscope-stress/9"), "newer blastscope"),
        (lambda content: content.update(identity={}), "not as blastscope writes it"),
    ],
)
def test_what_does_not_fit_is_refused(folder, tmp_path, change, said):
    stress = changed(folder, tmp_path, change)
    with pytest.raises(BlastscopeError, match=said):
        make_bundle(folder / "run", tmp_path / "m", stress=stress)
    assert not (tmp_path / "m").exists()
