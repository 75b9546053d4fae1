"""Images that cannot be used are counted apart from cells in all that a reader sees."""

from __future__ import annotations

import io
import zipfile

import polars as pl
import pytest

from blastscope.workbench import scoring as module
from blastscope.workbench.cases import bump
from blastscope.workbench.preparation import prepare
from blastscope.workbench.store.tables import Case, Cell, Score, Upload, User
from tests.workbench.filling import _picture


def break_cell(served, case: int, *numbers: int) -> None:
    """Let it come out that images cannot be used, after they were labelled."""
    with served.bench.database.write() as session:
        for n in numbers:
            cell = session.query(Cell).filter_by(case_id=case, n=n).one()
            cell.problem, cell.random = "is truncated", None
            session.query(Upload).filter_by(case_id=case, cell=n).one().state = "refused"
        bump(session.get_one(Case, case))


def test_files_that_cannot_be_read_are_in_no_count_of_cells(served, local):
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    case = local.post("/api/v1/cases", json=body).json()["id"]
    files = {f"{k}.png": _picture(k, 0.3) for k in range(1, 6)}
    files |= {"cut.png": _picture(6, 0.3)[:-30], "text.png": b"This is a text.\n"}
    for name, content in files.items():
        sent = local.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)
        assert sent.status_code == 201
    local.post(f"/api/v1/cases/{case}/files/done", json={})
    prepare(served.bench.database, served.bench.images, case, lambda *_: True)
    with served.bench.database.write() as session:
        found = session.get_one(Case, case)
        for cell in session.query(Cell).filter_by(case_id=case, problem=None):
            session.add(
                Score(
                    scoring_id=found.scoring_id, cell_id=cell.id, p_all=0.9, called="all",
                    refer=False, ood=False, networks=[0.9],
                )
            )  # fmt: skip
        bump(found)
    (listed,) = local.get("/api/v1/cases").json()["cases"]
    for told in (listed, local.get(f"/api/v1/cases/{case}").json()):
        progress = told["progress"]
        assert [progress[name] for name in ("sent", "refused")] == [7, 2]
        assert [progress[name] for name in ("cells", "prepared", "scored")] == [5, 5, 5]
        assert [told["counts"][name] for name in ("cells", "unlabelled", "unusable")] == [5, 5, 1]
    assert local.cells(case)["counts"]["unusable"] == 1
    (scored,) = local.get(f"/api/v1/cases/{case}/scorings").json()["scorings"]
    assert scored["cells"] == 5
    export = local.get(f"/api/v1/cases/{case}/export").json()
    assert (export["cells"], export["with_label"], export["in_dataset"]) == (5, 0, 0)
    assert export["left_out"]["unusable"] == 1


def test_a_label_of_an_image_that_cannot_be_used_counts_nowhere(served, local):
    case = served.case(14)
    local.label(case, list(range(1, 15)), "A")
    ben = served.person("ben")
    with served.bench.database.read() as session:
        number = session.query(User).filter_by(name="ben").one().id
    reading = local.post(f"/api/v1/cases/{case}/readings", json={"person": number}).json()["id"]
    ben.label(case, list(range(1, 14)), "A")
    ben.label(case, [14], "N")
    assert ben.post(f"/api/v1/readings/{reading}/finish").status_code == 200
    break_cell(served, case, 13, 14)
    agreement = local.get(f"/api/v1/cases/{case}/agreement").json()
    assert (agreement["cells"], agreement["same"]) == (12, 12)
    assert (agreement["disagreements"], agreement["open"]) == ([], [])
    counts = local.cells(case)["counts"]
    assert [counts[name] for name in ("cells", "A", "unusable", "disagreements")] == [12, 12, 2, 0]
    sign = local.get(f"/api/v1/cases/{case}/sign").json()
    assert (sign["unlabelled"], sign["open_disagreements"]) == (0, [])
    export = local.get(f"/api/v1/cases/{case}/export").json()
    assert (export["cells"], export["with_label"], export["in_dataset"]) == (12, 12, 12)
    address = f"/api/v1/cases/{case}/export/"
    rows = pl.read_csv(local.get(address + "cells.csv").content)
    apart = rows.filter(pl.col("problem").is_not_null())
    assert rows["label"].drop_nulls().len() == 12  # whoever counts labels gets what the report has
    assert (apart["n"].to_list(), apart["first_label"].to_list()) == ([13, 14], ["A", "A"])
    assert apart.select("label", "reader", "labelled_at").null_count().row(0) == (2, 2, 2)
    with zipfile.ZipFile(io.BytesIO(local.get(address + "dataset.zip").content)) as archive:
        assert len([one for one in archive.namelist() if one.startswith("all/")]) == 12
        assert "2 whose image cannot be used" in archive.read("README.txt").decode()


@pytest.mark.parametrize("sampled", [False, True])
def test_an_image_that_breaks_before_it_is_scored_is_no_cell(served, local, monkeypatch, sampled):
    case = served.case(110)
    with served.bench.database.write() as session:
        found = session.get_one(Case, case)
        session.query(Score).delete()
        found.state = "scoring"
        before = {one.n: one.random for one in session.query(Cell).filter_by(case_id=case)}
        broken = next(n for n, rank in before.items() if rank == 50)
        scoring, bad = found.scoring_id, session.query(Cell).filter_by(n=broken).one().id
        bump(found)
    if sampled:
        assert local.post(f"/api/v1/cases/{case}/sample", json={"size": 100}).is_success

    def scores(model, images, cells):
        row = {"called": "all", "refer": False, "ood": False, "networks": [0.9]}
        return [
            {**row, "p_all": 0.9, "problem": None}
            if cell.id != bad
            else {**row, "p_all": None, "problem": "is truncated or damaged"}
            for cell in cells
        ]

    class Model:
        def marked(self, synthetic):
            return self

    monkeypatch.setattr(module, "open_again", lambda row: Model())
    monkeypatch.setattr(module, "score_batch", scores)
    monkeypatch.setattr(module, "_sum_up", lambda *_: None)
    module.score(served.bench.database, served.bench.images, scoring, lambda *_: True)
    told = local.get(f"/api/v1/cases/{case}").json()
    assert [told["counts"][name] for name in ("cells", "unusable")] == [109, 1]
    progress = told["progress"]
    assert [progress[name] for name in ("cells", "scored", "refused")] == [109, 109, 1]
    files = local.get(f"/api/v1/cases/{case}/files?state=refused").json()["files"]
    assert [(one["cell"], one["reason"]) for one in files] == [(broken, "is truncated or damaged")]
    assert local.get(f"/api/v1/cases/{case}/export").json()["unscored"] == 0
    with served.bench.database.read() as session:
        after = {one.n: one.random for one in session.query(Cell).filter_by(case_id=case)}
    if sampled:  # the sample stays as it was drawn, and has a cell less
        assert after == before
        assert told["sample"] == {"size": 100, "left": 99, "unusable": 1, "enlarged": []}
        local.label(case, [n for n, rank in before.items() if rank <= 100 and n != broken], "A")
        line = local.get(f"/api/v1/cases/{case}/shares").json()["lines"][2]
        assert (line["basis"], line["of"], line["blasts"]) == ("sample", 99, 99)
    else:  # the order of the others stays, without a gap
        assert after.pop(broken) is None
        assert sorted(after.values()) == list(range(1, 110))
        assert sorted(after, key=after.get) == [n for n in sorted(before, key=before.get)
                                                if n != broken]  # fmt: skip
