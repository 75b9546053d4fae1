from __future__ import annotations

import json
import re
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from blastscope.api.audit_explanations import audit_explanations
from blastscope.api.explain import explain
from blastscope.cli import app
from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.regions import find_off_cell
from blastscope.explanation.tables import AUDIT
from blastscope.io.tables import read_table, write_table
from tests.api.conftest import unmarked


@pytest.fixture(scope="module")
def studied(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("studied") / "study"
    data = [trained.images["UID_1_1_1_all"].parents[1]]
    given = [f"A={trained.run}", f"B={trained.other}"]
    ticks: list[tuple[int, int]] = []
    made = audit_explanations(given, out=out, data=data, progress=lambda *tick: ticks.append(tick))
    return given, data, out, made, ticks


def test_a_study_is_of_the_runs_own_part(studied, trained):
    *_, out, made, ticks = studied
    table = pl.read_parquet(out / "audit.parquet")
    said = pl.read_parquet(trained.run / "predictions.parquet").filter(part="test")
    assert sorted(table.filter(model="A")["cell"]) == sorted(said["cell"])
    joined = table.filter(model="A").join(said, on="cell")
    assert joined["p_all"].to_list() == pytest.approx(joined["p_all_right"].to_list(), abs=1e-6)
    assert [row.model for row in made.view.rows] == ["A", "B"]
    assert ticks[-1][0] == ticks[-1][1]
    prepared = 2 * len(said)  # for each model, before the study
    assert (prepared, prepared) in ticks
    assert not (out / ".audit.work").exists()
    assert not (out / ".audit").exists()
    summary = json.loads((out / "audit-summary.json").read_text())
    assert (summary["part"], len(summary["models"])) == ("test", 2)


@pytest.fixture(scope="module")
def looking(studied, tmp_path_factory):
    """The same study, had the first model looked at the background of two cells."""
    given, data, first, *_ = studied
    out = tmp_path_factory.mktemp("looking") / "study"
    shutil.copytree(first, out)
    table, metadata = read_table(out / "audit.parquet", AUDIT)
    chosen = (pl.col("model") == "A") & pl.col("cell").is_in(sorted(table["cell"].unique())[:2])
    table = table.with_columns(
        grad_cam_cell=pl.when(chosen).then(0.1).otherwise("grad_cam_cell"),
        grad_cam_background=pl.when(chosen).then(0.9).otherwise("grad_cam_background"),
        area_background=pl.when(chosen).then(0.3).otherwise("area_background"),
    )
    write_table(table, out / "audit.parquet", AUDIT, metadata)
    return out, audit_explanations(given, out=out, data=data)


def test_the_page_counts_the_cells_of_the_study(studied, looking):
    *_, out, made, _ = studied
    count = pl.read_parquet(out / "audit.parquet")["cell"].n_unique()
    head = f'<p class="meta">{count} test cells · A, B · called ALL if p &gt; 0.5</p>'
    pages = [unmarked((path / "report.html").read_text()) for path in (out, looking[0])]
    assert [head in page for page in pages] == [True, True]
    named = [bool(report.found.cells) for report in (made, looking[1])]
    assert ["These are the cells named above" in page for page in pages] == named
    assert named[1]


def test_every_cell_that_a_study_names_has_a_page(looking):
    out, made = looking
    named = {
        look.cell
        for places in find_off_cell(pl.read_parquet(out / "audit.parquet")).values()
        for place in places
        for look in place.worst
    }
    assert len(named) >= 2
    assert {cell.file.cell for cell in made.found.cells} == named
    page = (out / "report.html").read_text()
    links = set(re.findall(r'href="(cells/[^"]+)"', page))
    assert len(links) == len(named)
    assert all((out / link).is_file() for link in links)


def test_a_study_that_is_done_is_only_reported(studied):
    given, data, out, *_ = studied
    before = (out / "audit.parquet").read_bytes(), (out / "report.html").read_bytes()
    written = (out / "audit.parquet").stat().st_mtime_ns
    audit_explanations(given, out=out, data=data)
    assert ((out / "audit.parquet").read_bytes(), (out / "report.html").read_bytes()) == before
    assert (out / "audit.parquet").stat().st_mtime_ns == written


def test_single_cells_and_a_study_do_not_overwrite_each_other(studied, trained, tmp_path):
    given, data, out, *_ = studied
    cell = str(trained.images["UID_1_1_1_all"])
    with pytest.raises(BlastscopeError, match="holds an audit"):
        explain(given, [cell], out=out, methods=["grad-cam"])
    explain(given, [cell], out=tmp_path / "one", methods=["grad-cam"])
    with pytest.raises(BlastscopeError, match="holds an explanation"):
        audit_explanations(given, out=tmp_path / "one", data=data)


def test_a_study_of_other_models_or_cells_is_not_replaced(studied, trained):
    given, data, out, *_ = studied
    kept = (out / "audit.parquet").read_bytes()
    swapped = [f"A={trained.other}", f"B={trained.run}"]
    for models, part in ((given[:1], "test"), (given, "validation"), (swapped, "test")):
        with pytest.raises(BlastscopeError, match="an audit of other models or cells"):
            audit_explanations(models, out=out, part=part, data=data)
    assert (out / "audit.parquet").read_bytes() == kept
    assert not (out / ".audit.work").exists()


def test_a_wrong_layer_is_said_before_the_study(trained, tmp_path):
    data = [trained.images["UID_1_1_1_all"].parents[1]]
    with pytest.raises(BlastscopeError, match="no layer pol1"):
        audit_explanations([trained.run], out=tmp_path / "out", data=data, layers=["pol1"])
    assert not (tmp_path / "out").exists()


def test_the_command_tells_every_measure(studied):
    given, data, out, *_ = studied
    asked = ["audit", *given, "--data", str(data[0]), "--out", str(out)]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    assert len(re.findall(r"(?m)^ *test +result +in numbers *$", ran.output)) == 2
    assert re.search(r"(?m)^Intervals: \S", ran.output)


def test_the_command_says_what_is_missing(trained, tmp_path):
    def fails(verb: str, *words: str) -> str:
        outcome = CliRunner().invoke(app, [verb, *words, "--out", str(tmp_path / "x")])
        assert isinstance(outcome.exception, BlastscopeError)
        return str(outcome.exception)

    assert "b is neither a run nor a bundle: if it is a cell, give it as a cell" in fails(
        "explain", str(trained.run), "--cells", "a", "b"
    )
    elsewhere = tmp_path / "none"
    (elsewhere / "all").mkdir(parents=True)
    image = trained.images["UID_1_1_1_all"]
    (elsewhere / "all" / image.name).write_bytes(image.read_bytes())
    assert "of the predictions" in fails("audit", str(trained.run), "--data", str(elsewhere))
    assert not (tmp_path / "x" / "report.html").exists()
