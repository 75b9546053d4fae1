"""No image of a zip vanishes: each becomes a cell, or is listed with why it does not."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections import Counter

from blastscope.workbench.preparation import unpack_zips
from blastscope.workbench.store.tables import Case, Cell, Upload
from blastscope.workbench.uploads import MOST_NAME, number_cells
from tests.workbench.filling import _picture


def packed(entries: list[tuple[str, bytes]]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubles
        for name, image in entries:
            archive.writestr(name, image)
    return content.getvalue()


def unpacked(served, local, entries, before=()) -> tuple[int, list[Upload]]:
    """Send files and a zip, unpack it, and return the case and its images in their order."""
    body = {"identifier": "B-1", "material": "blood", "sampling": "all"}
    case = local.post("/api/v1/cases", json=body).json()["id"]
    for name, content in [*before, ("z.zip", packed(entries))]:
        sent = local.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)
        assert sent.json()["file"]["state"] == "stored", sent.text
    unpack_zips(served.bench.database, served.bench.images, case)
    with served.bench.database.write() as session:
        number_cells(session, session.get_one(Case, case))
    with served.bench.database.read() as session:
        query = session.query(Upload).filter_by(case_id=case, kind="image").order_by(Upload.id)
        return case, query.all()


def test_names_that_are_too_long_are_listed(served, local):
    deep = "/".join(["a folder of some length"] * 13)
    names = [f"{deep}/cell-{k}.png" for k in range(3)] + ["short.png", "x" * 296 + ".png"]
    case, found = unpacked(served, local, [(n, _picture(k, 0.5)) for k, n in enumerate(names)])
    assert len(found) == len({one.name for one in found}) == 5
    assert [one.state for one in found] == ["refused"] * 3 + ["taken", "refused"]
    assert [one.name[-10:] for one in found[:3]] == [f"cell-{k}.png" for k in range(3)]
    assert max(len(one.name) for one in found) <= MOST_NAME
    assert all(str(MOST_NAME) in one.reason for one in found if one.state == "refused")
    listed = local.get(f"/api/v1/cases/{case}/problems.csv").text
    assert listed.count("refused") == 4


def test_of_entries_of_one_name_the_last_counts_and_the_others_are_listed(served, local):
    images = [_picture(k, 0.5) for k in range(6)]
    long = "y" * (MOST_NAME - len("z.zip/.png")) + ".png"  # no room for a mark
    names = ["a.png", "b.png", "a.png", long, long, "a.png"]
    _, found = unpacked(served, local, list(zip(names, images, strict=True)))
    assert len(found) == len({one.name for one in found}) == 6
    assert max(len(one.name) for one in found) == MOST_NAME
    states = Counter(one.state for one in found)
    assert states == {"taken": 3, "refused": 3}
    shas = {one.sha for one in found if one.state == "taken"}
    assert shas == {served.bench.images.put(images[k]) for k in (1, 4, 5)}
    with served.bench.database.read() as session:
        assert {one.sha for one in session.query(Cell)} == shas
    assert all(one.reason for one in found if one.state == "refused")


def test_a_file_that_was_sent_keeps_its_name(served, local):
    first, second = _picture(1, 0.5), _picture(2, 0.5)
    _, found = unpacked(served, local, [("a.png", second)], [("z.zip/a.png", first)])
    assert [(one.name, one.state) for one in found] == [
        ("z.zip/a.png", "taken"), ("z.zip/a.png (2)", "refused"),
    ]  # fmt: skip
