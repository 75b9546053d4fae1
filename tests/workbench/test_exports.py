"""What leaves a case is what people said: as a table, and as a data set that check takes."""

from __future__ import annotations

import io
import re
import zipfile

import polars as pl
import pytest
from markupsafe import escape

import blastscope as bs
from blastscope.box import in_the_box
from blastscope.bundle.read import open_bundle
from blastscope.errors import BlastscopeError
from blastscope.report.generalization_text import generalization_text
from blastscope.workbench import heatmaps
from blastscope.workbench.cases import bump
from blastscope.workbench.store.tables import Case, Cell, Score, StoredModel, User


def labelled(local, case: int) -> dict[str, list[int]]:
    by = {"A": [1, 2, 3, 4, 5, 6], "N": [7, 8, 9, 10, 11, 12], "U": [13], "X": [14, 15]}
    for value, numbers in by.items():
        local.label(case, numbers, value)
    return by


def test_tables_say_what_people_and_model_said(served, local):
    case = served.case(30, subjects=2)
    by = labelled(local, case)
    local.events(case, {"kind": "note", "cells": [1], "value": "=HYPERLINK(1)"})
    address = f"/api/v1/cases/{case}/export/"
    frame = pl.read_parquet(io.BytesIO(local.get(address + "cells.parquet").content))
    assert frame["n"].to_list() == list(range(1, 31))
    for value, numbers in by.items():
        assert frame.filter(pl.col("label") == value)["n"].to_list() == numbers
    columns = local.cells(case)["columns"]
    assert frame["p_all"].to_list() == columns["p"]
    assert frame["called"].to_list() == columns["called"]
    assert frame["reader"].to_list() == ["local"] * 15 + [None] * 15
    history = local.get(f"/api/v1/cases/{case}/history?kind=label").json()["events"]
    when = {n: one["at"][:19] + "+00:00" for one in history for n in one["cells"]}
    assert frame["labelled_at"].to_list() == [when.get(n) for n in range(1, 31)]
    text = local.get(address + "cells.csv").text
    assert "'=HYPERLINK" in text
    again = pl.read_csv(text.encode())
    assert again["label"].to_list() == frame["label"].to_list()
    kinds = [one["kind"] for one in local.get(f"/api/v1/cases/{case}/history").json()["events"]]
    assert kinds.count("exported") == 2


def test_the_data_set_is_taken_by_check_and_prepare(served, local, tmp_path):
    case = served.case(30, subjects=2)
    labelled(local, case)
    told = local.get(f"/api/v1/cases/{case}/export").json()
    assert told["left_out"] == {
        "U": 1, "X": 2, "counted_already": 0, "disagreements": 0, "unlabelled": 15, "unusable": 0,
    }  # fmt: skip
    assert told["in_dataset"] == 12
    content = local.get(f"/api/v1/cases/{case}/export/dataset.zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "set")
    assert not [name for name in names if "UID" in name]
    found = bs.check(tmp_path / "set").found
    assert (found.cells, found.usable) == (12, True)
    assert found.per_class == {"all": 6, "hem": 6}
    assert found.per_subject == {"S1": 6, "S2": 6}
    store = bs.prepare(tmp_path / "set", out=tmp_path / "store", size=32).to_frame()
    labels = {
        int(re.search(r"cell(\d+)", cell)[1]): (label, subject)
        for cell, label, subject in store.select("cell", "label", "subject").iter_rows()
    }
    assert labels == {
        n: ("all" if n <= 6 else "hem", f"S{1 + (n - 1) % 2}") for n in range(1, 13)
    }  # fmt: skip


def test_a_data_set_whose_image_is_gone_is_refused(served, local):
    case = served.case(30)
    labelled(local, case)
    with served.bench.database.read() as session:
        sha = session.query(Cell.sha).filter_by(case_id=case, n=3).scalar()
    served.bench.images.path(sha).unlink()
    refused = local.get(f"/api/v1/cases/{case}/export/dataset.zip")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "image-missing")
    assert "cell 3" in refused.json()["error"]["message"]
    assert local.get(f"/api/v1/cases/{case}/export/cells.csv").status_code == 200


def test_cells_in_no_share_are_counted_everywhere(served, local):
    case = served.case(30)
    labelled(local, case)
    with served.bench.database.write() as session:
        for score in session.query(Score).order_by(Score.cell_id).limit(18):
            score.called, score.ood = None, True  # of these, the last three have no label
        bump(session.get(Case, case))
    for page in ("export", "shares", "sign"):
        assert local.get(f"/api/v1/cases/{case}/{page}").json()["neither"] == 3, page
    text = local.get(f"/api/v1/cases/{case}/export/report.html").text
    assert re.search(r"in no share</th><td>3</td>", text)


def test_the_report_is_one_page_that_loads_nothing(served, local):
    case = served.case(30)
    local.label(case, list(range(1, 31)), "A")
    page = local.get(f"/api/v1/cases/{case}/export/report.html")
    assert "attachment" in page.headers["content-disposition"]
    assert "This case is not signed" in page.text
    assert re.search(r"<strong>100(\.0)? ?%</strong> \(88\.4 ?% to 100(\.0)? ?%\)", page.text)
    assert not re.search(r"(src|href)=.(https?:)?//", page.text)
    assert bs.DISCLAIMER in page.text


def test_what_a_signer_decided_is_theirs_and_each_reading_stays(served, local):
    case = served.case(12)
    local.label(case, list(range(1, 13)), "A")
    for name, other in (("ann", [1]), ("ben", [2])):
        reader = served.person(name)
        with served.bench.database.read() as session:
            person = session.query(User).filter_by(name=name).one().id
        made = local.post(f"/api/v1/cases/{case}/readings", json={"person": person}).json()["id"]
        reader.label(case, list(range(1, 13)), "A")
        reader.label(case, other, "N")
        assert reader.post(f"/api/v1/readings/{made}/finish").status_code == 200
    told = local.cells(case)
    # What each disagreement is about is shown, whichever reading it is of.
    assert told["columns"]["other"] == ["N", "N"] + ["A"] * 10
    assert told["disagreements"] == [1, 2]
    agreement = local.get(f"/api/v1/cases/{case}/agreement").json()
    assert (agreement["number"], agreement["disagreements"], agreement["open"]) == (3, [2], [1, 2])
    assert agreement["late"] == 0
    local.label(case, [2], "N")  # with the other reading in sight
    late = local.get(f"/api/v1/cases/{case}/agreement").json()
    assert (late["same"], late["late"], late["open"]) == (12, 1, [1, 2])
    local.events(case, {"kind": "undo"})
    assert local.get(f"/api/v1/cases/{case}/agreement").json() == agreement
    sue = served.person("sue", "signer")
    assert sue.events(case, {"kind": "adjudicate", "cells": [1], "value": "N"}).status_code == 200
    assert local.get(f"/api/v1/cases/{case}/agreement").json()["open"] == [2]
    frame = pl.read_parquet(
        io.BytesIO(local.get(f"/api/v1/cases/{case}/export/cells.parquet").content)
    )
    names = ("label", "reader", "first_label", "second_label", "adjudicated", "open_disagreement")
    assert frame.select(names).rows()[:3] == [
        ("N", "sue", "A", "N", "N", False),
        ("A", "local", "A", "N", None, True),
        ("A", "local", "A", "A", None, False),
    ]
    counts = local.get(f"/api/v1/cases/{case}").json()["counts"]
    assert (counts["A"], counts["N"]) == (11, 1)
    assert {n: (frame["label"] == n).sum() for n in "AN"} == {"A": 11, "N": 1}


def test_another_bundle_in_a_models_place_speaks_for_it_nowhere(served, local, monkeypatch):
    case = served.case(10)
    local.label(case, [1], "A")
    text = generalization_text(open_bundle(in_the_box()).manifest, synthetic=True)
    address = f"/api/v1/cases/{case}/export/report.html"
    with served.bench.database.write() as session:
        model = session.query(StoredModel).one()
        model.paths = [str(in_the_box())]
        about = {"model": model.id, "sha": "0" * 64, "method": "grad-cam", "called": "all"}
    assert escape(text) not in local.get(address).text
    monkeypatch.setattr(heatmaps, "reason_against", lambda: None)
    monkeypatch.setattr(heatmaps, "_run", lambda *_: pytest.fail("it was computed"))
    with pytest.raises(BlastscopeError, match="is another one now"):
        heatmaps.compute(served.bench.database, served.bench.images, about, lambda: True)
    with served.bench.database.write() as session:
        session.query(StoredModel).one().digest = open_bundle(in_the_box()).digest
    assert escape(text) in local.get(address).text
