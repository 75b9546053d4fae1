"""The same work on a local Ray cluster: results, deaths, retries, and equality with one machine."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest
from PIL import Image

import blastscope as bs
from blastscope.cluster import check_engine, connected, on_ray
from blastscope.errors import BlastscopeError
from blastscope.experiments.runner import run_jobs
from tests.conftest import draw_cell, write_cell
from tests.labour import Errand, command_of, cores_of, obey, run_errand
from tests.segmentation.drawn import UM, White, draw
from tests.training.conftest import material as material


@pytest.fixture(scope="module")
def ray():
    """A local cluster of two cores, for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blastscope.cluster.cores", lambda: 2)
        patch.setattr("blastscope.cluster._STORE_BYTES", 80 * 2**20)
        patch.delenv("RAY_ADDRESS", raising=False)
        before = os.environ.get("RAY_USAGE_STATS_ENABLED")
        with connected():
            assert os.environ.get("RAY_USAGE_STATS_ENABLED") == before
            yield


def test_a_cluster_that_does_not_answer_is_refused_before_ray_tries_for_minutes(monkeypatch):
    tried = []
    known = SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **words: tried.append(words["address"]),
        shutdown=lambda: None,
    )
    monkeypatch.setattr("blastscope.cluster._ray", lambda: known)
    with socket.socket() as free:  # bound, so that nobody else listens there
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
        for address in (where, f"ray://{where}"):
            monkeypatch.setenv("RAY_ADDRESS", address)
            with pytest.raises(BlastscopeError, match=where), connected():
                pass
        assert tried == []
        free.listen()
        for address in (where, "auto"):
            monkeypatch.setenv("RAY_ADDRESS", address)
            with connected():
                pass
        assert tried == [where, "auto"]


def test_a_killed_worker_is_begun_again_and_the_order_kept(ray, tmp_path):
    jobs = (
        Errand("a", f"die-once {tmp_path / 'died'}"),
        Errand("b", "two", "a"),
        Errand("c", "raise no good"),
        Errand("d", "four", "c"),
    )
    told = []
    done = run_jobs(jobs, run_errand, engine="ray", on_done=lambda job, *_: told.append(job.key))
    assert (tmp_path / "died").exists()
    assert done.results == {"a": f"die-once {tmp_path / 'died'}", "b": "two"}
    assert str(done.failures["c"]) == "RuntimeError: no good"
    assert set(done.failures) == {"c", "d"}
    assert told.index("a") < told.index("b")


def test_tasks_have_their_share_of_the_cores_and_errors_come_through(ray):
    assert dict(on_ray(cores_of, ["a", "b"], 2)) == {"a": 1, "b": 1}
    with pytest.raises(RuntimeError, match="no good"):
        list(on_ray(obey, ["raise no good"], 2))


def test_a_result_of_a_worker_records_the_users_command_without_its_secrets(ray, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/blastscope", "crossval", "--token", "pw", "a b"])
    told = ["blastscope", "crossval", "--token", "***", "a b"]
    assert dict(on_ray(command_of, ["a"], 1)) == {"a": told}


def test_predictions_and_cells_of_fields_are_those_of_one_machine(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("blastscope.prediction.shard_rows.ROWS", 16)
    for k in range(20):
        pixels = draw_cell(k, 120, 30 if k % 2 else 22)
        write_cell(tmp_path / "cells" / f"UID_{k}_1_1_all.bmp", pixels)
    (tmp_path / "cells" / "broken.bmp").write_bytes(b"BM")
    for engine in ("auto", "ray"):
        bs.predict(tmp_path / "cells", out=tmp_path / f"{engine}.csv", engine=engine)
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "auto.csv").read_bytes()
    assert not list(tmp_path.glob(".*.work"))
    smear = draw((300, 300), [White(100, 150), White(220, 180)], [(60, 60)])
    Image.fromarray(smear).save(tmp_path / "smear.png")
    for engine in ("local", "ray"):
        out = tmp_path / engine
        bs.segment(tmp_path / "smear.png", out=out, um_per_pixel=UM, engine=engine)
    one, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "local", tmp_path / "ray")
    )
    assert len(one) > 4
    assert one == other


def test_a_search_on_a_cluster_is_that_of_one_machine(ray, material, tmp_path):
    space = {"training.rate": {"type": "float", "low": 1e-3, "high": 3e-2, "log": True}}
    local, cluster = (
        bs.tune(
            material.recipe, material.store, material.split, space,
            out=tmp_path / engine, trials=2, settings={"training.epochs": 1}, objective="auc",
            prune="none", device="cpu", engine=engine,
        )
        for engine in ("local", "ray")
    )  # fmt: skip
    told = ["trial", "state", "score", "training.rate"]
    assert cluster.to_frame().select(told).equals(local.to_frame().select(told))
    assert cluster.found.hand_made == local.found.hand_made


def test_an_engine_that_cannot_be_used_is_refused(monkeypatch):
    with pytest.raises(BlastscopeError):
        check_engine("dask")
    with pytest.raises(BlastscopeError):
        check_engine("ray", jobs=2)
    monkeypatch.setattr("blastscope.cluster.find_spec", lambda name: None)
    with pytest.raises(BlastscopeError, match=r"blastscope\[cluster\]"):
        check_engine("ray")
