"""What the worker makes of sent files: the scores of ``predict``, to the last digit."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import blastscope as bs
from blastscope.box import in_the_box
from blastscope.data.synthetic import write_synthetic
from blastscope.workbench import context
from blastscope.workbench import scoring as module
from blastscope.workbench.app import create_app
from blastscope.workbench.contact_sheets import PER_SHEET, TILE, sheet, spans
from blastscope.workbench.jobs import release_all
from blastscope.workbench.models import register
from blastscope.workbench.store.tables import Case, QueuedJob, Score, Scoring
from blastscope.workbench.worker import Worker
from tests.workbench.conftest import Served, settings_of

COLUMNS = ("p_all", "p_raw", "ood_score", "called", "confidence", "refer", "flags")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells") / "cells"
    write_synthetic(folder, 24, 2, seed=5)
    return sorted(folder.rglob("*.bmp"), key=lambda path: path.name)


@pytest.fixture
def boxed(tmp_path, monkeypatch):
    """A workbench with the model in the box, whose worker is this process."""
    monkeypatch.setattr(context, "register", lambda session, _: register(session, [in_the_box()]))
    bench = context.Workbench(settings_of(tmp_path / "workbench"))
    yield Served(bench, create_app(bench))
    bench.close()


def send(asking: TestClient, case: int, name: str, content: bytes) -> dict:
    answer = asking.put(f"/api/v1/cases/{case}/files", params={"name": name}, content=content)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["file"]


def work(served: Served, most: int = 100) -> int:
    bench = served.bench
    worker = Worker(bench.database, bench.images, bench.settings.folder)
    return sum(1 for _ in range(most) if worker.once())


def dying_worker(boxed: Served, monkeypatch) -> None:
    """Prepare a case, score a batch, and end as a killed worker does."""
    real, batches = module.score_batch, []

    def dies(*args):
        if batches:
            raise KeyboardInterrupt
        batches.append(1)
        return real(*args)

    monkeypatch.setattr(module, "score_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        work(boxed)
    monkeypatch.setattr(module, "score_batch", real)
    with boxed.bench.database.write() as session:
        release_all(session)


def test_scores_equal_predict_to_the_last_digit_after_a_death_too(boxed, cells, monkeypatch):
    asking = boxed.person("ann")
    body = {"identifier": "B-1", "material": "marrow", "sampling": "all"}
    case = asking.post("/api/v1/cases", json=body).json()["id"]
    broken = cells[0].read_bytes()[:5000]
    for path in cells[:20]:
        send(asking, case, path.name, path.read_bytes())
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in cells[20:]:
            archive.write(path, path.name)
    send(asking, case, "more.zip", zipped.getvalue())
    send(asking, case, "again.bmp", cells[3].read_bytes())
    send(asking, case, "zz-broken.bmp", broken)
    assert asking.post(f"/api/v1/cases/{case}/files/done", json={}).json()["state"] == "preparing"
    dying_worker(boxed, monkeypatch)
    assert asking.get(f"/api/v1/cases/{case}").json()["progress"]["scored"] == 16
    assert work(boxed) == 2  # the rest of the scores, then the features
    told = asking.get(f"/api/v1/cases/{case}").json()
    assert told["state"] == "review"
    progress = told["progress"]
    assert (progress["refused"], progress["duplicates"], progress["scored"]) == (1, 1, 24)
    assert told["counts"]["cells"] == 24
    files = asking.get(f"/api/v1/cases/{case}/files?state=refused").json()["files"]
    assert "truncated" in files[0]["reason"]
    assert "zz-broken.bmp,refused" in asking.get(f"/api/v1/cases/{case}/problems.csv").text

    model = bs.load(engine="onnxruntime", device="cpu")
    expected = {row["file"].rsplit("/")[-1]: row for row in model.predict(cells).to_dicts()}
    export = asking.get(f"/api/v1/cases/{case}/export/cells.csv")
    assert export.status_code == 200
    columns = asking.cells(case)["columns"]
    with boxed.bench.database.read() as session:
        scoring = session.query(Scoring).one()
        scores = {one.cell_id: one for one in session.query(Score)}
        table = boxed.bench.tables.of(session, session.get_one(Case, case))
    compared = 0
    for k, file in enumerate(columns["file"]):
        if columns["problem"][k] is not None:
            continue
        one, want = scores[table.ids[k]], expected[file.rsplit("/")[-1]]
        assert {name: getattr(one, name) for name in COLUMNS} == {n: want[n] for n in COLUMNS}
        assert one.ood == want["out_of_distribution"]
        assert one.networks == [want["p_raw"]]
        assert columns["p"][k] == want["p_all"]
        compared += 1
    assert compared == 24
    subjects = model.subjects(model.predict(cells)).drop("label", "wrong", "covered").to_dicts()
    kept = [{k: v for k, v in row.items() if k in subjects[0]} for row in scoring.subjects]
    assert sorted(kept, key=str) == sorted(subjects, key=str)

    for kind in ("crop", "original"):
        image = asking.get(f"/api/v1/cases/{case}/cells/1/{kind}.png")
        pixels = np.array(Image.open(io.BytesIO(image.content)))
        if kind == "original":
            np.testing.assert_array_equal(pixels, np.array(Image.open(cells[0]).convert("RGB")))
    near = asking.get(f"/api/v1/cases/{case}/cells/1/similar").json()
    assert near["state"] == "ready"
    far = [one["distance"] for one in near["nearest"]]
    assert len(far) == 6
    assert far == sorted(far)
    assert 1 not in [one["n"] for one in near["nearest"]]
    order = asking.get(f"/api/v1/cases/{case}/cells/find?order=similar:1").json()["cells"]
    assert order[0] == 1
    assert order[1:7] == [one["n"] for one in near["nearest"]]


def test_a_cancelled_job_stops_and_begins_again(boxed, cells):
    asking = boxed.person("ann")
    body = {"identifier": "B-1", "material": "marrow", "sampling": "all"}
    case = asking.post("/api/v1/cases", json=body).json()["id"]
    send(asking, case, cells[0].name, cells[0].read_bytes())
    asking.post(f"/api/v1/cases/{case}/files/done", json={})
    with boxed.bench.database.read() as session:
        number = session.query(QueuedJob).one().id
    assert asking.delete(f"/api/v1/jobs/{number}").json()["state"] == "cancelled"
    assert work(boxed) == 0
    assert asking.post(f"/api/v1/jobs/{number}/again", json={}).json()["state"] == "waiting"
    assert work(boxed, 1) == 1
    assert asking.post(f"/api/v1/jobs/{number}/again", json={}).status_code == 409


def test_sheets_hold_a_hundred_tiles_each():
    assert [len(one) for one in spans(250)] == [100, 100, 50]
    tiles = {k: np.full((TILE, TILE, 3), 10 + 2 * k, np.uint8) for k in range(PER_SHEET)}
    image = np.array(Image.open(io.BytesIO(sheet(tiles, PER_SHEET))))
    assert image.shape == (1280, 1280, 3)
    means = image.reshape(10, TILE, 10, TILE, 3).mean((1, 3, 4)).ravel()
    np.testing.assert_allclose(means, [10 + 2 * k for k in range(PER_SHEET)], atol=2)
    assert Image.open(io.BytesIO(sheet({0: tiles[0]}, 11))).size == (1280, 256)
