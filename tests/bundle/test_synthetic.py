"""What synthetic cells have taught says so wherever it speaks."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import blastscope
from blastscope.api.bundle import make_bundle as bundle
from blastscope.api.evaluate import evaluate
from blastscope.bundle.read import open_bundle
from blastscope.cli import app
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings
from blastscope.data.synthetic import write_synthetic
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.report.bundle_card import SYNTHETIC
from blastscope.training.train import train
from tests.conftest import draw_cell, write_cell
from tests.training.conftest import RECIPE


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A bundle of a network that drawn cells have taught, with its evaluation."""
    root = tmp_path_factory.mktemp("taught")
    write_synthetic(root / "cells", 48, 8, 3)
    (root / "tiny.yaml").write_text(RECIPE)
    store = prepare([root / "cells"], root / "store", StoreSettings(size=32)).path
    split = make_split(store, "subject", 3)[0]
    recipe = load_recipe(str(root / "tiny.yaml"), ["training.epochs=1"])
    run = train(recipe, store, split, root / "run", device="cpu").path
    evaluate(run, out=run)
    return bundle(run, root / "taught.zip").path


@pytest.fixture
def image(tmp_path):
    """One that is not marked as synthetic."""
    return write_cell(tmp_path / "new" / "cell.png", draw_cell(1, 120, 30))


def run(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_bundle_itself_says_so(taught, tmp_path):
    found = open_bundle(taught)
    assert found.manifest.synthetic
    assert SYNTHETIC in found.card
    assert SYNTHETIC in run("inspect", taught)
    again = run("bundle", taught.parent / "run", "--out", tmp_path / "again.zip")
    assert SYNTHETIC in again
    assert SYNTHETIC in run("inspect", taught, "--card")


def test_every_table_that_it_predicts_says_so(taught, image, tmp_path):
    for suffix in ("csv", "parquet", "json"):
        out = tmp_path / f"o.{suffix}"
        assert SYNTHETIC in run("predict", image, "--model", taught, "--out", out)
        if suffix == "json":
            content = json.loads(out.read_text())
            assert content["synthetic"] is True
            assert content["cells"][0]["model"].endswith(" (synthetic)")
        else:
            assert read_predictions(out)[0]["model"][0].endswith(" (synthetic)")
    done = CliRunner().invoke(app, ["predict", str(image), "--model", str(taught), "--out", "-"])
    assert json.loads(done.stdout)["model"].endswith(" (synthetic)")
    assert SYNTHETIC in done.stderr
    assert SYNTHETIC in run("predict", image, "--model", taught)
    model = blastscope.load(taught)
    assert model.synthetic
    assert model.predict(image)["model"][0].endswith(" (synthetic)")


def test_its_explanations_say_so_and_what_is_no_cell_has_none(taught, image, tmp_path):
    out = tmp_path / "why"
    run("predict", image, "--model", taught, "--explain", out)
    assert not out.exists()
    cells = sorted((taught.parent / "cells").rglob("*.bmp"))[:4]
    run("predict", *cells, "--model", taught, "--explain", out)
    assert "ynthetic" in (out / "report.html").read_text()
    pages = list((out / "cells").glob("*.html"))
    assert pages
    assert all("ynthetic" in page.read_text() for page in pages)
