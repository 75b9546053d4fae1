"""Pages of ``predict --explain``: one truth for a cell, and heatmaps on one scale."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

import blastscope as bs
from blastscope.explanation.result import Attribution
from blastscope.report import explanation_page
from blastscope.report.explanation_plots import (
    attribution_panel,
    callers,
    class_panel,
    drawn,
    everything,
    panels,
)
from blastscope.training.finished_run import open_run
from tests.report.decided_tables import decided_table, written


@pytest.fixture(scope="module")
def decision(trained, tmp_path_factory):
    place = tmp_path_factory.mktemp("decision")
    table = decided_table().with_columns(model=pl.lit("tiny #1"))
    settings = open_run(trained.run).recipe.settings
    bs.evaluate(written(place / "p.parquet", table, settings=settings), out=place / "cv")
    return place / "cv"


@pytest.fixture
def drawings(monkeypatch):
    """Every cell as its page was drawn."""
    cells = []

    def kept(cell):
        cells.append(cell)
        return class_panel(cell)

    monkeypatch.setattr(explanation_page, "class_panel", kept)
    return cells


def said(page: str) -> list[tuple[float, str, bool]]:
    """Return p, the call and the referral of each caller on a cell's page."""
    plain = re.sub(r"<[^>]+>", "", page.replace("</li>", "\n"))
    return [
        (float(p), call, "refer" in rest)
        for p, call, rest in re.findall(r"p\(ALL\) ([\d.]+), called (ALL|normal)(.*)", plain)
    ]


def check_pages(found, out, cells):
    frame = found.to_frame()
    rows = {
        row["cell"]: row for row in frame.iter_rows(named=True) if not row["out_of_distribution"]
    }
    assert {cell.file.cell for cell in cells} == set(rows)
    raw = []
    for cell in cells:
        row = rows[cell.file.cell]
        called = row["called"] if "called" in row else ("all" if row["p_all"] > 0.5 else "hem")
        refer = row.get("refer")
        assert (cell.file.label, cell.file.subject) == (row["label"], row["subject"])
        assert [one.p_all for one in callers(cell)] == [row["p_all"]]
        assert [one.called for one in callers(cell)] == [called]
        assert {one.called for one in everything(cell)} == {called}
        assert cell.table.refer == refer
        page = (out / "cells" / f"{cell.file.cell}.html").read_text()
        word = {"all": "ALL", "hem": "normal"}[called]
        assert said(page) == [(pytest.approx(row["p_all"], abs=6e-4), word, bool(refer))]
        raw += [model.measured["p_all"] for model in cell.models]
        assert ("not calibrated" in page) == (refer is None)
        texts = [text.get_text() for text in attribution_panel(cell).texts]
        texts += [text.get_text() for text in class_panel(cell).texts]
        numbers = re.findall(r"p\(ALL\) ([\d.]+): called (\w+)", " ".join(texts))
        assert set(numbers) == ({(f"{row['p_all']:.3f}", word)})
    return rows, raw


def test_pages_show_the_tables_p_call_and_referral(trained, decision, drawings, tmp_path):
    folder = next(iter(trained.images.values())).parent.parent
    found = bs.predict(
        folder, trained.run, decision=decision, device="cpu", explain=tmp_path / "why"
    )
    rows, raw = check_pages(found, tmp_path / "why", drawings)
    shown = [row["p_all"] for row in rows.values()]
    assert np.abs(np.array(shown) - raw).max() > 0.01  # the calibration moves them
    called = {row["called"] for row in rows.values()}
    content = json.loads((tmp_path / "why" / "explanation.json").read_text())["rows"]
    table = bs.predict(folder, trained.run, decision=decision, device="cpu").to_frame()
    told = {row["cell"]: row for row in table.iter_rows(named=True)}
    for row in content:
        one = told[row["cell"]]
        assert row["p_all"] == pytest.approx(one["p_all"], abs=1e-6)
        assert (row["called"], row["refer"]) == (one["called"], one["refer"])
    assert called <= {"all", "hem"}


def test_several_runs_are_their_mean_and_members_have_no_number_beside_it(
    trained, drawings, tmp_path
):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted(trained.images.values())[:3]:
        shutil.copy(path, folder)
    runs = [trained.run, trained.other]
    found = bs.predict(folder, runs, device="cpu", explain=tmp_path / "why")
    check_pages(found, tmp_path / "why", drawings)
    for cell in drawings:
        assert [one.name for one in callers(cell)] == [found.model]
        each = [model.measured["p_all"] for model in cell.models]
        assert callers(cell)[0].p_all == pytest.approx(np.mean(each), abs=1e-5)
    frame = pl.read_csv(tmp_path / "why" / "cells.csv")
    assert frame["p_all"].count() == len(drawings)  # one number a cell
    assert len(frame) == 3 * len(drawings)


def test_heatmaps_of_a_set_share_a_scale(trained, drawings, tmp_path):
    runs = {"A": trained.run, "B": trained.other}
    files = sorted(trained.images.values())[:9]
    bs.explain(runs, files, methods=["grad-cam"], device="cpu", out=tmp_path / "why")
    assert len(drawings) == 9
    for k in range(2):
        scales = {cell.models[k].scale for cell in drawings}
        peaks = [np.abs(cell.models[k].attributions["grad-cam"].signed).max() for cell in drawings]
        assert len(scales) == 1
        assert max(peaks) <= scales.pop() * 1.0001


def strength(picture) -> float:
    return float(np.ptp(picture.astype(int), axis=2).max())


def test_a_weak_attribution_is_pale(trained, drawings, tmp_path):
    file = sorted(trained.images.values())[0]
    bs.explain(trained.run, file, methods=["grad-cam"], device="cpu", out=tmp_path / "why")
    (cell,) = drawings
    (model,) = cell.models
    full = strength(panels(cell)[0])
    found = model.attributions["grad-cam"]
    weak = Attribution(found.for_all * 0.01, found.for_normal * 0.01)
    object.__setattr__(model, "attributions", {"grad-cam": weak})
    assert strength(panels(cell)[0]) < full * 0.05
    assert drawn(cell, model)[1] == model.scale
    object.__setattr__(model, "scale", None)  # alone, it would look as strong as any
    assert strength(panels(cell)[0]) == pytest.approx(full, abs=2)
