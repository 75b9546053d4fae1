"""Whole fields in a case: the worker finds their cells as ``segment`` and ``predict`` do."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from PIL import Image

import blastscope as bs
from blastscope.workbench import fields as module
from blastscope.workbench.jobs import release_all
from blastscope.workbench.store.tables import Case, Score
from tests.segmentation.drawn import UM, White, draw, grid
from tests.workbench.test_scoring import COLUMNS, boxed, send, work  # noqa: F401

REDS = [(60.0, 420.0), (170.0, 430.0)]
EDGE = White(496, 40)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A field with two whole cells and one that the edge cuts, one with a cell, one of none."""
    folder = tmp_path_factory.mktemp("slide")
    whites = [White(150, 200), White(340, 180), EDGE]
    Image.fromarray(draw((460, 500), whites, REDS)).save(folder / "a.png")
    Image.fromarray(draw((300, 400), [White(200, 150, 5.5, 4)])).save(folder / "b.png")
    Image.fromarray(draw((300, 500), [], grid(8))).save(folder / "c.png")
    return folder


def begin(asking, um_per_pixel: float | None = UM, identifier: str = "S-1") -> int:
    body = {
        "identifier": identifier, "material": "blood", "sampling": "all", "content": "fields",
        "um_per_pixel": um_per_pixel,
    }  # fmt: skip
    answer = asking.post("/api/v1/cases", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def done(asking, case: int) -> None:
    answer = asking.post(f"/api/v1/cases/{case}/files/done", json={})
    assert answer.status_code == 200, answer.text


def test_fields_become_cells_that_know_their_place(boxed, slide, monkeypatch, tmp_path):  # noqa: F811
    asking = boxed.person("ann")
    case = begin(asking)
    for path in sorted(slide.glob("*.png")):
        send(asking, case, path.name, path.read_bytes())
    send(asking, case, "y-again.png", (slide / "b.png").read_bytes())
    black = io.BytesIO()
    Image.new("RGB", (300, 300)).save(black, "PNG")
    send(asking, case, "z-black.png", black.getvalue())
    done(asking, case)

    real = module._taken

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_taken", dies)  # killed after the fields were gone over
    with pytest.raises(KeyboardInterrupt):
        work(boxed)
    monkeypatch.setattr(module, "_taken", real)
    with boxed.bench.database.write() as session:
        release_all(session)
    work(boxed)
    told = asking.get(f"/api/v1/cases/{case}").json()
    assert (told["state"], told["content"], told["um_per_pixel"]) == ("review", "fields", UM)
    assert not list((boxed.bench.settings.folder / "segmenting").iterdir())
    progress = {k: told["progress"][k] for k in ("refused", "duplicates", "cells", "scored")}
    assert progress == {"refused": 1, "duplicates": 1, "cells": 3, "scored": 3}

    want = bs.predict(slide, fields=True, um_per_pixel=UM).to_frame()
    used = want.filter(pl.col("problem").is_null())
    found = asking.get(f"/api/v1/cases/{case}/fields").json()
    assert [one["cells"] for one in found["fields"]] == [[1, 2], [3], []]
    assert found["refused"] == 1
    bad = want.filter(pl.col("problem").is_not_null()).row(0, named=True)
    assert found["fields"][0]["refused"] == [
        {"place": [bad["x"], bad["y"], bad["w"], bad["h"]], "reason": bad["problem"]}
    ]
    with boxed.bench.database.read() as session:
        blind = module.fields_json(session, session.get_one(Case, case), blind=True)
    assert "a.png" not in str(blind)
    assert blind["refused"] == 1
    boxes = used.select("x", "y", "w", "h").rows()
    for n, box in enumerate(boxes, 1):
        place = asking.get(f"/api/v1/cases/{case}/cells/{n}").json()["field"]
        assert tuple(place["place"]) == box
        assert place["file"] == ("b.png" if n == 3 else "a.png")
        picture = Image.open(io.BytesIO(asking.get(place["image"]).content))
        assert picture.size == (place["width"], place["height"])
    with boxed.bench.database.read() as session:
        scores = session.query(Score).order_by(Score.cell_id).all()
        got = [{name: getattr(one, name) for name in COLUMNS} for one in scores]
    assert got == used.select(COLUMNS).to_dicts()

    content = asking.get(f"/api/v1/cases/{case}/export/cells.csv").content
    table = pl.read_csv(content)
    assert table.select("x", "y", "w", "h").rows() == boxes
    assert table["file"].to_list() == ["a.png", "a.png", "b.png"]
    listed = asking.get(f"/api/v1/cases/{case}/problems.csv").text
    assert sorted(row["state"] for row in csv.DictReader(io.StringIO(listed))) == [
        "cell refused", "duplicate", "refused",
    ]  # fmt: skip

    # More fields come; one of them cannot be used, and the case goes on all the same.
    send(asking, case, "z-black-2.png", black.getvalue() + b"x")
    done(asking, case)
    work(boxed)
    told = asking.get(f"/api/v1/cases/{case}").json()
    assert (told["state"], told["progress"]["job"]) == ("review", None)
    more = io.BytesIO()
    Image.fromarray(draw((300, 300), [White(140, 160)])).save(more, "PNG")
    send(asking, case, "other/a.png", more.getvalue())
    done(asking, case)
    work(boxed)
    columns = asking.cells(case)["columns"]
    assert columns["file"] == ["a.png", "a.png", "b.png", "other/a.png"]
    assert sorted(columns["random"]) == [1, 2, 3, 4]
    assert columns["scored"] == [True] * 4


def test_a_scale_that_cannot_be_measured_is_asked_for(boxed, slide):  # noqa: F811
    asking = boxed.person("ann")
    assert asking.post("/api/v1/cases", json={
        "identifier": "S-2", "material": "blood", "sampling": "all", "content": "fields",
        "um_per_pixel": 7,
    }).status_code == 422  # fmt: skip
    case = begin(asking, None, "S-2")
    send(asking, case, "b.png", (slide / "b.png").read_bytes())
    done(asking, case)
    work(boxed)
    job = asking.get(f"/api/v1/cases/{case}").json()["progress"]["job"]
    assert (job["kind"], job["state"]) == ("segment", "failed")
    assert "red cells" in job["reason"]
    told = asking.post(f"/api/v1/cases/{case}/scale", json={"um_per_pixel": 9})
    assert told.status_code == 422
    assert asking.post(f"/api/v1/cases/{case}/scale", json={"um_per_pixel": UM}).status_code == 200
    work(boxed)
    told = asking.get(f"/api/v1/cases/{case}").json()
    assert (told["state"], told["counts"]["cells"]) == ("review", 1)
    again = asking.post(f"/api/v1/cases/{case}/scale", json={"um_per_pixel": 2 * UM})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "gone-over")


@pytest.mark.parametrize("times", [1, 2])
def test_a_scale_that_red_cells_contradict_is_told_of(boxed, slide, times):  # noqa: F811
    asking = boxed.person("ann")
    case = begin(asking, times * UM, f"S-{3 + times}")
    for name in ("a.png", "c.png"):
        send(asking, case, name, (slide / name).read_bytes())
    done(asking, case)
    work(boxed)
    field = asking.get(f"/api/v1/cases/{case}/fields").json()["fields"][0]
    assert (field["um_per_pixel"], field["within"]) == (times * UM, None)
    contradicts = field["contradicted_by"]
    assert contradicts is None if times == 1 else contradicts == pytest.approx(UM, rel=0.08)
