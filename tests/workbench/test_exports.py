"""What leaves a case is what people said: as a table, and as a data set that check takes."""

from __future__ import annotations

import io
import re
import zipfile

import polars as pl

import blastscope as bs
from blastscope.workbench.cases import bump
from blastscope.workbench.store.tables import Case, Score


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
        "U": 1, "X": 2, "disagreements": 0, "unlabelled": 15, "unusable": 0,
    }  # fmt: skip
    assert told["in_dataset"] == 12
    content = local.get(f"/api/v1/cases/{case}/export/dataset.zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "set")
    assert not [name for name in names if "UID" in name]
    found = bs.check(tmp_path / "set").found
    assert (found.cells, found.usable, found.notes) == (12, True, found.notes)
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
