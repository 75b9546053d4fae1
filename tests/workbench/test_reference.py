"""Reference cells of a store beside a case's cells, against scikit-learn's brute force."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from blastscope.adaptation.cells import feature_engine
from blastscope.box import in_the_box
from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.data.synthetic import write_synthetic
from blastscope.errors import BlastscopeError
from blastscope.workbench import reference as module
from blastscope.workbench.app import create_app
from blastscope.workbench.context import Workbench
from blastscope.workbench.jobs import release_all
from blastscope.workbench.models import open_bundled
from blastscope.workbench.reference import open_reference
from blastscope.workbench.store.tables import Embedding, QueuedJob, User
from tests.workbench.conftest import Served, settings_of
from tests.workbench.test_scoring import send, work

BOX = (in_the_box(),)


@pytest.fixture(scope="module")
def predictor():
    return open_bundled(BOX).predictor


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells") / "cells"
    write_synthetic(folder, 26, 4, seed=3)
    return folder


@pytest.fixture(scope="module")
def store(cells, predictor, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "known cells"
    prepare([cells], out, predictor.settings[0])
    return out


def open_bench(folder, store, **more):
    bench = Workbench(replace(settings_of(folder, **more), models=BOX, reference=store))
    return Served(bench, create_app(bench))


def features(predictor, pixels):
    values = feature_engine(predictor).compute(np.array(pixels)).values
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_neighbours_are_those_of_brute_force(store, cells, predictor, tmp_path, monkeypatch):
    served = open_bench(tmp_path / "workbench", store)
    ann = served.person("ann", "admin")
    paths = sorted(cells.rglob("*.bmp"))[:10]
    body = {"identifier": "R-1", "material": "blood", "sampling": "all"}
    case = ann.post("/api/v1/cases", json=body).json()["id"]
    for path in paths:
        send(ann, case, path.name, path.read_bytes())
    ann.post(f"/api/v1/cases/{case}/files/done", json={})

    # The reference's job gives way to the case, dies after a batch, and is taken up again.
    computed = []
    real = module._features

    def counting(engine, reference, places):
        if len(computed) == 16:
            raise KeyboardInterrupt
        computed.extend(places.tolist())
        return real(engine, reference, places)

    monkeypatch.setattr(module, "_features", counting)
    with pytest.raises(KeyboardInterrupt):
        work(served)
    near = ann.get(f"/api/v1/cases/{case}/cells/1/similar").json()
    assert near["state"] == "ready"
    beside = near["reference"]
    assert (beside["state"], beside["done"], beside["total"]) == ("running", 16, 26)
    assert near["by_label"] == {label: [] for label in "ANUX"}
    served.bench.close()
    served = open_bench(tmp_path / "workbench", store)
    with served.bench.database.write() as session:
        release_all(session)
        assert session.query(QueuedJob).filter_by(kind="reference").count() == 1
    monkeypatch.setattr(module, "_features", lambda *a: computed.extend(a[2].tolist()) or real(*a))
    assert work(served) == 1
    assert sorted(computed) == list(range(26))  # none twice

    ann = served.person("ann", "admin")
    ann.label(case, [2, 3, 4], "A")
    ann.label(case, [5], "N")
    opened = open_store(store)
    own = features(predictor, opened.pixels)
    names = [name.rsplit("/")[-1] for name in opened.cells["file"]]
    files = ann.cells(case)["columns"]["file"]
    rows = [names.index(file) for file in files]  # the case's cells in the store
    truth = np.array(opened.cells["label"])
    for n in (1, 5, 9):
        told = ann.get(f"/api/v1/cases/{case}/cells/{n}/similar").json()
        assert told["reference"]["state"] == "ready"
        assert told["reference"]["cells"] == {
            "A": int((truth == "all").sum()), "N": int((truth == "hem").sum()),
        }  # fmt: skip
        assert not any(one["reference"] for one in told["nearest"])
        for label, of_store, in_case in (("A", "all", [2, 3, 4]), ("N", "hem", [5])):
            known = np.flatnonzero(truth == of_store)
            beside = [m for m in in_case if m != n]
            pool = np.concatenate([own[known], own[[rows[m - 1] for m in beside]]])
            found = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(pool)
            far, _ = found.kneighbors(own[[rows[n - 1]]])
            listed = told["by_label"][label]
            np.testing.assert_allclose([one["distance"] for one in listed], far[0], atol=2e-5)
            for one in listed:
                if one["reference"]:
                    row = int(one["image"].split("/")[-1].split(".")[0])
                    assert (one["case"], one["reader"]) == (None, None)
                    assert one["identifier"] == "known cells"
                    assert truth[row] == of_store
                    exact = 1 - own[row] @ own[rows[n - 1]]
                else:
                    assert one["reader"] == "ann"
                    assert one["n"] in beside
                    exact = 1 - own[rows[one["n"] - 1]] @ own[rows[n - 1]]
                assert one["distance"] == pytest.approx(exact, abs=2e-5)
        assert told["by_label"]["U"] == []
    image = next(one["image"] for one in told["by_label"]["A"] if one["reference"])
    picture = np.array(Image.open(io.BytesIO(ann.get(image).content)))
    row = int(image.split("/")[-1].split(".")[0])
    np.testing.assert_array_equal(picture, opened.pixels[row])
    assert ann.get("/api/v1/reference/999.png").status_code == 404
    with served.bench.database.read() as session:
        assert session.query(Embedding).count() == 10  # the reference's are not among them

    # A blind second reader gets nothing of it.
    bob = served.person("bob")
    with served.bench.database.read() as session:
        person = session.query(User).filter_by(name="bob").one().id
    ann.post(f"/api/v1/cases/{case}/readings", json={"person": person})
    answer = bob.get(f"/api/v1/cases/{case}/cells/1/similar")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "blind")
    assert "reference" not in bob.get(f"/api/v1/cases/{case}/cells/1").text
    served.bench.close()


def test_what_cannot_be_a_reference_is_refused_before_anything_is_made(
    store, cells, predictor, tmp_path
):
    other = tmp_path / "other"
    used = predictor.settings[0]
    prepare([cells], other, StoreSettings(32, used.scale, used.clahe, used.contour))
    with pytest.raises(BlastscopeError, match=f"size 32, not {used.size}") as caught:
        open_reference(other, BOX, tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BlastscopeError, match="is not a finished store"):
        open_reference(cells, BOX, tmp_path)
    unlabelled = tmp_path / "unlabelled"
    (tmp_path / "plain").mkdir()
    for k, path in enumerate(sorted(cells.rglob("*.bmp"))[:2]):
        shutil.copy(path, tmp_path / "plain" / f"{k}.bmp")
    prepare([tmp_path / "plain"], unlabelled, used)
    with pytest.raises(BlastscopeError, match="no cell with a label"):
        Workbench(replace(settings_of(tmp_path / "bench"), models=BOX, reference=unlabelled))
    assert not (tmp_path / "bench").exists()


def test_another_reference_ends_the_job_of_the_one_before(store, cells, predictor, tmp_path):
    folder = tmp_path / "workbench"
    open_bench(folder, store).bench.close()
    second = tmp_path / "second"
    shutil.copytree(store, second)
    served = open_bench(folder, second)
    with served.bench.database.read() as session:
        jobs = session.query(QueuedJob).order_by(QueuedJob.id).all()
        assert [one.state for one in jobs] == ["cancelled", "waiting"]
        assert jobs[1].about["store"] == str(second)
    served.bench.close()
    served = open_bench(folder, None)
    with served.bench.database.read() as session:
        states = [one.state for one in session.query(QueuedJob)]
    assert states == ["cancelled", "cancelled"]
    assert served.person("ann").get("/api/v1/reference/0.png").status_code == 404
    served.bench.close()
