"""``compare`` as a user meets it: the files it leaves, the page, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.compare import compare
from blastscope.cli import app
from blastscope.cli.output import console
from blastscope.errors import BlastscopeError
from blastscope.evaluation.metrics import compute_metrics
from blastscope.io.predictions import write_predictions
from blastscope.report.evaluation_text import sampling_text
from tests.report.test_html import HOSTILE, Page

FILES = {
    "comparison.json", "models.csv", "pairs.csv", "report.html", "figures/models.png",
    "figures/models.svg", "figures/differences.png", "figures/differences.svg",
}  # fmt: skip


def table(folder: Path, model: str, seed: int = 0, **metadata) -> Path:
    """60 test cells of 6 ALL and 4 normal subjects, and a training cell of another."""
    rng = np.random.default_rng(seed)
    subjects = [f"{'A' if i < 6 else 'H'}{i}" for i in range(10) for _ in range(6)]
    is_all = np.array([name[0] == "A" for name in subjects])
    p_all = 1 / (1 + np.exp(rng.normal(0, 1.5, 60) - np.where(is_all, 1.2, -1.2)))
    frame = pl.DataFrame(
        {
            "cell": [*(f"c{i}" for i in range(60)), "t"],
            "subject": [*subjects, "X"],
            "label": [*np.where(is_all, "all", "hem"), "all"],
            "part": [*["test"] * 60, "train"],
            "model": model,
            "p_all": [*p_all, 0.9],
        }
    )
    path = folder / f"table{seed}.parquet"
    write_predictions(frame, path, {"protocol": "subject", **metadata})
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    given = [table(folder, name, seed) for seed, name in enumerate(("VGG16", HOSTILE, "mean"))]
    out = folder / "out"
    return compare(given, out=out, resamples=150), out, given


def test_the_files_are_those_promised(made):
    _, out, _ = made
    assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == FILES


def test_the_tables_hold_scikit_learns_metrics_and_all_pairs(made):
    comparison, out, given = made
    models = pl.read_csv(out / "models.csv")
    assert models.columns == ["model", "metric", "value", "low", "high"]
    assert models.height == 3 * 10
    first = pl.read_parquet(given[0]).filter(pl.col("part") == "test")
    expected = compute_metrics((first["label"] == "all").to_numpy(), first["p_all"].to_numpy())
    for _, metric, value, low, high in models.filter(pl.col("model") == "VGG16").iter_rows():
        assert value == pytest.approx(expected[metric], abs=1e-9)
        assert low <= value <= high
    pairs = pl.read_csv(out / "pairs.csv")
    told = json.loads((out / "comparison.json").read_text())
    assert pairs["mcnemar_p"].to_list() == [pair["mcnemar_p"] for pair in told["pairs"]]
    assert pairs.height == len(comparison.pairs) == 3


def test_the_page_opens_with_what_was_compared(made):
    comparison, out, _ = made
    html = (out / "report.html").read_text()
    page = Page(html)
    before_tables = page.text.split("Metrics with 95 % intervals")[0]
    assert (
        "60 test cells (36 ALL, 24 normal) · 10 subjects · subject-disjoint split" in before_tables
    )
    assert "No test subject is in training." in before_tables
    assert sampling_text(comparison.sampling) in page.text
    assert "Of 3 models" in before_tables
    assert '<p class="callout disjoint">' in html
    assert "take cells for independent draws" in page.text
    assert "<details open>" in html  # three pairs need no folding


def test_every_metric_of_the_page_has_its_interval(made):
    comparison, out, _ = made
    text = Page((out / "report.html").read_text()).text
    for metrics in comparison.estimates.values():
        for name in ("weighted_f1", "auc", "recall_all", "precision_hem", "mcc"):
            e = metrics[name]
            assert f"{e.value:.4f}{e.low:.3f} to {e.high:.3f}" in text


def test_the_page_is_self_contained_and_a_hostile_name_is_text(made):
    _, out, _ = made
    html = (out / "report.html").read_text()
    page = Page(html)
    assert len(page.loads) == 2
    assert all(load.startswith("data:image/svg+xml;base64,") for load in page.loads)
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_again_gives_the_same_bytes_and_touches_nothing_else(made, tmp_path):
    _, out, given = made
    mine = out / "notes.txt"
    mine.write_text("mine")
    before = {name: (out / name).read_bytes() for name in FILES}
    compare(given, out=out, resamples=150)
    assert {name: (out / name).read_bytes() for name in FILES} == before
    assert mine.read_text() == "mine"
    mine.unlink()


def test_the_splits_of_models_that_differ_are_kept(tmp_path):
    given = [table(tmp_path, "A"), table(tmp_path, "B", 1, protocol="image")]
    found = compare(given, out=tmp_path / "out", resamples=100)
    assert found.protocol is None
    assert found.protocols == {"A": "subject", "B": "image"}
    assert found.as_json()["protocols"] == found.protocols
    page = (tmp_path / "out" / "report.html").read_text()
    assert "unknown split" not in page


def test_one_model_is_not_compared(tmp_path):
    with pytest.raises(BlastscopeError, match=r"holds one model, 'm'.*use evaluate for one"):
        compare([table(tmp_path, "m")], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint.safetensors",
        "recipe.yaml",
        "ensemble.json",
        "metrics.json",
        "errors.json",
        "report.html",
    ],
)
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    given = [table(tmp_path, "a"), table(tmp_path, "b", 1)]
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(BlastscopeError, match=rf"holds .*{name}.*: choose another folder"):
        compare(given, out=out, resamples=100)
    assert [p.name for p in out.iterdir()] == [name]


def test_synthetic_cells_are_marked_and_cite_nothing(tmp_path):
    given = [table(tmp_path, "a", synthetic=True), table(tmp_path, "b", 1)]
    compare(given, out=tmp_path / "out", resamples=100)
    html = (tmp_path / "out" / "report.html").read_text()
    assert 'class="synthetic"' in html
    assert "Citing the data" not in html


def invoke(*arguments: object, columns: int):
    console.cache_clear()
    try:
        return CliRunner(env={"COLUMNS": str(columns)}).invoke(
            app, ["compare", *(str(a) for a in arguments)]
        )
    finally:
        console.cache_clear()


@pytest.mark.parametrize("columns", [80, 200])
def test_the_verb_prints_the_papers_form(tmp_path, columns):
    given = [f"first={table(tmp_path, 'm')}", f"second={table(tmp_path, 'm', 1)}"]
    out = tmp_path / "out"
    told = invoke(*given, "--out", out, "--resamples", 120, columns=columns)
    assert told.exit_code == 0, told.output
    content = json.loads((out / "comparison.json").read_text())
    assert (content["models"], content["sampling"]["resamples"]) == (["first", "second"], 120)
    for name in ("precision_hem", "recall_all", "weighted_f1", "auc"):
        found = content["estimates"]["second"][name]
        value, low, high = f"{found['value']:.4f}", f"{found['low']:.3f}", f"{found['high']:.3f}"
        shown = f"{value} ({low}–{high})".replace("0.", ".")
        assert shown in told.output
    for column in ("precision normal", "recall ALL", "weighted F1"):
        assert column in told.output
    assert "120 resamples of" in told.output
    assert "weighted F1 (" in told.output  # the headline
    assert told.output.rstrip().endswith(str(out / "report.html"))
