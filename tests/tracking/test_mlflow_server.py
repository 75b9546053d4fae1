"""One run and one search in a local MLflow, read back with MLflow's own client."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import blastscope as bs
from blastscope.api.track import refuse_tracking, track_folder
from blastscope.errors import BlastscopeError
from blastscope.io.files import sqlite_url
from blastscope.tracking import mlflow_server
from blastscope.tracking.mlflow_server import log_record, parse_track, telemetry_off
from blastscope.tracking.records import RunRecord


@pytest.fixture(scope="module")
def server(trained, tmp_path_factory):
    """A run that is evaluated and recorded, with its model, in an SQLite file of its own."""
    place = tmp_path_factory.mktemp("mlflow")
    run = place / trained.run.name  # the other tests' run stays without an evaluation
    shutil.copytree(trained.run, run)
    bs.evaluate(run, out=run)
    uri = f"sqlite:///{place / 'mlflow.db'}"
    before = dict(os.environ)
    track_folder(f"mlflow:{uri}", run)
    assert dict(os.environ) == before
    with telemetry_off():
        from mlflow import MlflowClient

        yield MlflowClient(tracking_uri=uri, registry_uri=uri), uri, run, place


def all_runs(client):
    experiment = client.get_experiment_by_name("blastscope")
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_is_recorded_once_with_all_that_it_holds(server):
    client, uri, run, place = server
    (found,) = all_runs(client)
    assert found.info.status == "FINISHED"
    metrics = bs.evaluate(run).metrics
    assert found.data.metrics["test/auc"] == metrics["auc"]
    assert found.data.params["training.epochs"] == "2"
    steps = [one.step for one in client.get_metric_history(found.info.run_id, "val_loss")]
    assert steps == [1, 2]
    kept = {one.path for one in client.list_artifacts(found.info.run_id)}
    assert {"report.html", "recipe.yaml", "predictions.parquet", "model"} <= kept
    assert found.info.artifact_uri.startswith((place / "mlflow-artifacts").as_uri())
    track_folder(f"mlflow:{uri}", run)
    assert len(all_runs(client)) == 1


def test_the_registered_model_predicts_what_the_run_does_and_holds_no_pickle(server, trained):
    import mlflow
    import pandas as pd

    client, _, run, place = server
    (name,) = [one.name for one in client.search_registered_models()]
    assert name == "blastscope-tiny"
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    version = client.get_model_version(name, "1")
    model = mlflow.pyfunc.load_model(version.source)
    images = [str(path) for path in list(trained.images.values())[:3]]
    texts = [base64.b64encode(Path(path).read_bytes()).decode() for path in images]
    wanted = bs.load(run).predict(images)
    for given in (images, texts):
        found = model.predict(pd.DataFrame({"image": given}))
        assert list(found.columns)[:7] == wanted.columns[:7]
        assert found["p_all"].tolist() == pytest.approx(wanted["p_all"].to_list(), abs=1e-5)
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
    assert not [path for path in place.rglob("*") if path.suffix in (".pkl", ".pickle")]


@pytest.mark.parametrize(("folder", "tail"), [("what?", ""), ("plain", "?timeout=9")])
def test_artifacts_lie_beside_the_database_whatever_its_url(tmp_path, folder, tail):
    place = tmp_path / folder
    place.mkdir()
    record = place / "report.html"
    record.write_text("a page")
    uri = f"{sqlite_url(place / 'mlflow.db')}{tail}"
    log_record(RunRecord("one", "run", "one", place, files=(record,)), uri, tmp_path)
    (kept,) = (place / "mlflow-artifacts").rglob("report.html")
    assert kept.read_text() == "a page"


def test_children_and_failures_are_runs_of_their_parent(server):
    client, uri, _, place = server
    children = (
        RunRecord("trial 1", "trial, finished", "trial 1", None, metrics={"score": 0.5}),
        RunRecord("trial 2", "trial, failed", "trial 2", None, reason="out of memory"),
    )
    parent = RunRecord("search", "search", "abc", None, params={"a": ""}, children=children)
    for _ in range(2):
        log_record(parent, uri, place)
    found = {run.info.run_name: run for run in all_runs(client)}
    top = found["search"].info.run_id
    assert len(found) == len(all_runs(client)) == 4
    for name in ("trial 1", "trial 2"):
        assert found[name].data.tags["mlflow.parentRunId"] == top
    assert found["trial 2"].info.status == "FAILED"
    assert found["trial 2"].data.tags["blastscope.reason"] == "out of memory"


def test_a_record_that_was_interrupted_is_written_anew(server, monkeypatch):
    client, uri, _, place = server
    record = RunRecord("half", "run", "half", None, params={"a": "1"})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mlflow_server, "_log_numbers", killed)
        with pytest.raises(KeyboardInterrupt):
            log_record(record, uri, place)
    log_record(record, uri, place)
    (found,) = [run for run in all_runs(client) if run.info.run_name == "half"]
    assert (found.info.status, found.data.params) == ("FINISHED", {"a": "1"})


def test_a_model_is_registered_if_a_process_is_killed_before_or_after_that(server, monkeypatch):
    client, uri, run, place = server
    child = RunRecord("fold", "run", "fold", None)
    record = RunRecord("registered", "run", "registered", None, children=(child,))
    model = place / "model.zip"
    bs.make_bundle(run, model)
    real = mlflow_server._register
    for finished in (False, True):

        def killed(*words, finished=finished):
            if finished:
                real(*words)
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(mlflow_server, "_register", killed)
            with pytest.raises(KeyboardInterrupt):
                log_record(record, uri, place, model)
    for _ in range(2):
        log_record(record, uri, place, model)
    names = [one.info.run_name for one in all_runs(client)]
    assert (names.count("registered"), names.count("fold")) == (1, 1)
    (version,) = client.search_model_versions("name = 'blastscope-registered'")
    assert client.get_run(version.run_id).info.lifecycle_stage == "active"


def test_a_server_that_does_not_answer_is_refused_before_any_training():
    with socket.socket() as free:  # bound, so that nobody else listens there
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(BlastscopeError, match=where) as caught:
            refuse_tracking(f"mlflow:http://user:secret@{where}")
        assert "secret" not in str(caught.value)
    handler = type("Answers", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    with HTTPServer(("127.0.0.1", 0), handler) as server:  # any answer is one, here 501
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        refuse_tracking(f"mlflow:http://127.0.0.1:{server.server_port}")
        thread.join()


def test_what_cannot_be_used_is_refused_before_any_training(monkeypatch, material, tmp_path):
    assert parse_track("mlflow") is None
    assert parse_track("mlflow:http://host:5000") == "http://host:5000"
    for wrong in ("wandb", "mlflow:"):
        with pytest.raises(BlastscopeError, match="mlflow:URI"):
            parse_track(wrong)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setattr(mlflow_server, "find_spec", lambda name: None)
    with pytest.raises(BlastscopeError, match=r"blastscope\[mlflow\]"):
        bs.train(
            material.recipe, material.store, material.split, out=tmp_path / "run", track="mlflow"
        )
    assert not (tmp_path / "run").exists()
