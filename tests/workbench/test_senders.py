"""Each file knows who sent it: in the list of files, the history, and what leaves the case."""

from __future__ import annotations

import csv
import io
import json
import re

from blastscope.workbench.demo import draw_demo
from blastscope.workbench.preparation import unpack_zips
from blastscope.workbench.store.tables import Upload, User
from tests.workbench.filling import _picture
from tests.workbench.test_zips import packed

NEW = {"identifier": "B-1", "material": "blood", "sampling": "all"}


def put(asking, case: int, name: str, content: bytes):
    return asking.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)


def senders(asking, case: int) -> dict[str, str | None]:
    files = asking.get(f"/api/v1/cases/{case}/files").json()["files"]
    return {one["name"]: one["sent_by"] for one in files}


def test_two_send_files_and_a_third_has_them_prepared(served, local):
    ann, ben = served.person("ann"), served.person("ben")
    case = local.post("/api/v1/cases", json=NEW).json()["id"]
    sent = put(ann, case, "a.png", _picture(1, 0.2)).json()["file"]
    assert sent["sent_by"] == "ann"
    assert put(ben, case, "a.png", _picture(1, 0.2)).json()["file"] == sent  # it is there already
    put(ben, case, "b.png", _picture(2, 0.2))
    put(ben, case, "bad.png", b"no image")
    put(ben, case, "z.zip", packed([("c.png", _picture(3, 0.2)), ("d.png", b"no image")]))
    assert local.post(f"/api/v1/cases/{case}/files/done", json={}).status_code == 200
    unpack_zips(served.bench.database, served.bench.images, case)
    assert senders(local, case) == {
        "a.png": "ann", "b.png": "ben", "bad.png": "ben", "z.zip": "ben", "z.zip/c.png": "ben",
        "z.zip/d.png": "ben",
    }  # fmt: skip
    told = local.get(f"/api/v1/cases/{case}").json()
    assert told["senders"] == [{"person": "ann", "files": 1}, {"person": "ben", "files": 4}]
    lie = [one for one in served.bench.images.folder.rglob("*") if one.is_file()]
    disk = local.get("/api/v1/system").json()["disk"]["images"]
    assert disk == sum(one.stat().st_size for one in lie)  # one file of each content
    # A zip is the images that it held: five files, of which two can't be used.
    assert (told["progress"]["sent"], told["progress"]["refused"]) == (5, 2)
    (event,) = local.get(f"/api/v1/cases/{case}/history?kind=files").json()["events"]
    by = [{"person": "ann", "files": 1}, {"person": "ben", "files": 2}]
    assert (event["person"], event["value"]) == ("local", {"files": 3, "senders": by})
    listed = csv.DictReader(io.StringIO(local.get(f"/api/v1/cases/{case}/history.csv").text))
    assert [json.loads(one["value"])["senders"] for one in listed if one["kind"] == "files"] == [by]
    problems = csv.DictReader(io.StringIO(local.get(f"/api/v1/cases/{case}/problems.csv").text))
    assert {one["file"]: one["sent_by"] for one in problems} == {
        "bad.png": "ben", "z.zip/d.png": "ben",
    }  # fmt: skip


def test_what_leaves_a_case_says_who_sent_each_file(served, local):
    case = served.case(12)
    served.person("ann")
    with served.bench.database.write() as session:
        number = session.query(User).filter_by(name="ann").one().id
        for upload in session.query(Upload).filter(Upload.cell <= 5):
            upload.sent_by = number
    address = f"/api/v1/cases/{case}/export/"
    rows = csv.DictReader(io.StringIO(local.get(address + "cells.csv").text))
    assert [one["sent_by"] for one in rows] == ["ann"] * 5 + [""] * 7
    report = local.get(address + "report.html").text
    found = re.search(r"Files sent by</th><td>(.*?)</td>", report)[1]
    assert re.findall(r"ann: (\d+)|version: (\d+)", found) == [("5", ""), ("", "7")]
    told = local.get(f"/api/v1/cases/{case}").json()["senders"]
    assert told == [{"person": "ann", "files": 5}, {"person": None, "files": 7}]


def test_the_demos_cells_are_of_who_opened_it(served, monkeypatch):
    ann = served.person("ann")
    monkeypatch.setattr("blastscope.workbench.demo.CELLS", 3)
    case = ann.post("/api/v1/demo").json()["id"]
    draw_demo(served.bench.database, served.bench.images, case, lambda *_: True)
    assert list(senders(ann, case).values()) == ["ann"] * 3
