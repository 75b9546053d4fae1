"""Bundles as they are typed: made, inspected, and given to every command that takes a model."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

import blastscope
from blastscope.cli import app


def run(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def test_bundle_and_inspect(bundles, tmp_path):
    out = tmp_path / "m.zip"
    told = run("bundle", bundles.trained.run, "--out", out)
    assert f"{out}: tiny, 1 network" in told
    assert "It has no decision" in told
    run("bundle", bundles.trained.run, "--out", out, "--force")
    told = run("inspect", out)
    assert "cnn4-small" in told
    assert "not a medical device" in told
    manifest = json.loads(CliRunner().invoke(app, ["inspect", str(out), "--json"]).stdout)
    assert manifest["network"]["preparation"]["size"] == 32
    assert run("inspect", out, "--card").startswith("# tiny")
    told = run("inspect", bundles.ensemble)
    assert "genetic" in told
    assert told.count("cnn4-small") == 2


def test_a_licence_is_on_the_card_or_refused(bundles, tmp_path):
    words = ("bundle", bundles.trained.run, "--out", tmp_path / "m", "--licence")
    run(*words, "CC-BY-4.0")
    assert (tmp_path / "m" / "card.md").read_text().startswith("---\nlicense: cc-by-4.0\n")
    done = CliRunner().invoke(app, [str(word) for word in (*words, "my own: see below")])
    assert "not the identifier of a licence" in str(done.exception)


def test_explain_takes_a_bundle_as_it_takes_its_run(bundles, tmp_path):
    image = next(iter(bundles.trained.images.values()))
    words = ("--cells", image, "--methods", "grad-cam", "--device", "cpu", "--out")
    run("explain", bundles.zip, *words, tmp_path / "b")
    run("explain", bundles.trained.other, *words, tmp_path / "r")
    one, two = (pl.read_csv(tmp_path / place / "cells.csv") for place in "br")
    assert one["p_all"].to_list() == pytest.approx(two["p_all"].to_list(), abs=1e-6)
    run("explain", bundles.ensemble, *words, tmp_path / "e")
    assert set(pl.read_csv(tmp_path / "e" / "cells.csv")["model"]) >= {"A", "B"}


def test_export_and_submit_take_bundles(bundles, tmp_path):
    store = bundles.trained.run.parent / "store40"
    run("export", bundles.zip, "--cells", store, "--out", tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").stat().st_size > 100_000  # the weights are in it
    done = CliRunner().invoke(
        app,
        ["export", str(bundles.ensemble), "--cells", str(store), "--out", str(tmp_path / "e.onnx")],
    )
    assert "holds 2 networks" in str(done.exception)
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    for k, path in enumerate(list(bundles.trained.images.values())[:3], start=1):
        shutil.copy(path, numbered / f"{k}.bmp")
    run("submit", bundles.zip, numbered, "--out", tmp_path / "s", "--device", "cpu")
    assert (tmp_path / "s" / "submission.zip").is_file()


def test_shares_of_blasts_by_subject_in_python(bundles, tmp_path):
    from blastscope.api.bundle import make_bundle as bundle
    from blastscope.api.evaluate import evaluate

    source = shutil.copytree(bundles.trained.run, tmp_path / "run")
    evaluate(source, out=source)
    model = blastscope.load(bundle(source, tmp_path / "m").path)
    table = model.predict(list(bundles.trained.images.values()))
    shares = model.subjects(table)
    known = table.filter(~pl.col("out_of_distribution"))
    assert dict(shares.select("subject", "cells").iter_rows()) == dict(
        known.group_by("subject").len().iter_rows()
    )
    assert blastscope.load(bundles.zip).subjects(table).is_empty()  # it does not decide
