"""Write records to MLflow: a server, or a local SQLite file; and register a bundle as a model.

Only MLflow's client is used, so that a caller's own tracking server, experiment and active run stay
as they are. Its telemetry is off while it works for us.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import sqlite_url
from blastscope.process import environment, quiet
from blastscope.tracking.records import ARTIFACTS, RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "blastscope"
DATABASE = "mlflow.db"
_KEY, _BEGUN, _KIND, _PARENT = (
    "blastscope.key", "blastscope.begun", "blastscope.kind", "mlflow.parentRunId",
)  # fmt: skip
_MODEL_CODE = Path(__file__).with_name("served_model.py")
_PATIENCE = 10.0
"""Seconds in which a server must answer."""
_LONGEST = 500
"""Characters of a parameter: the least that servers take."""
_OFF = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def parse_track(track: str) -> str | None:
    """Return the URI in ``mlflow:URI``; None in ``mlflow``.

    Raises:
        BlastscopeError: if it is something else, or MLflow is not installed.
    """
    name, colon, uri = track.partition(":")
    if name != "mlflow" or (colon and not uri):  # such as mlflow:$URI of a variable that is not set
        raise BlastscopeError(
            f"{track} is not a tracking server: write mlflow, or mlflow:URI for a server's address."
        )
    if find_spec("mlflow") is None:
        raise BlastscopeError(
            "Tracking needs MLflow: install it with pip install 'blastscope[mlflow]'."
        )
    return uri if colon else None


def refuse_silent_server(uri: str | None) -> None:
    """Refuse an address of a server that does not answer; MLflow would try it for minutes.

    Raises:
        BlastscopeError: if nothing answers there within ten seconds.
    """
    if uri is None or not uri.startswith(("http://", "https://")):
        return
    import requests

    try:
        requests.head(uri, timeout=_PATIENCE)
    except requests.exceptions.SSLError:  # it answers, and MLflow has its own settings for it
        return
    except requests.exceptions.RequestException as error:
        raise BlastscopeError(
            f"The tracking server at {_shown(uri)} does not answer: start it, or correct the "
            "address after --track mlflow:."
        ) from error


@contextmanager
def telemetry_off() -> Iterator[None]:
    """Turn MLflow's telemetry and bars off in a block; the environment is as before afterwards."""
    with environment(_OFF):
        yield


def log_record(record: RunRecord, uri: str | None, home: Path, bundle: Path | None = None) -> str:
    """Write a record and its children; return where they are.

    A record that is there already is left as it is, and one that a killed process left unfinished
    is written anew.

    Args:
        uri: of the tracking server; None for an SQLite file in ``home``.
        bundle: registered as a model of the run; None to register none.

    Raises:
        BlastscopeError: if the server cannot be reached or refuses, or a file cannot be written.
    """
    place = uri or sqlite_url(home / DATABASE)
    with telemetry_off(), writing(home):
        from mlflow import MlflowClient  # it sets up logging, so before that is quieted
        from mlflow.exceptions import MlflowException

        try:
            with quiet("mlflow", "alembic"):
                client = MlflowClient(tracking_uri=place, registry_uri=place)
                experiment = _experiment(client, uri, home)
                _log_whole(client, experiment, record, bundle)
        except (MlflowException, ImportError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BlastscopeError(
                f"The tracking server at {_shown(place)} refused ({reason[:200]}): check the "
                "address after --track mlflow:."
            ) from error
    return _shown(place)


def _shown(place: str) -> str:
    """Return an address without a password."""
    scheme, _, rest = place.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if rest else place


def _experiment(client: MlflowClient, uri: str | None, home: Path) -> str:
    """Return the experiment's id; artifacts of a local database lie beside it."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    beside = None
    if uri is None:
        beside = (home.resolve() / ARTIFACTS).as_uri()
    elif uri.startswith("sqlite:///"):
        from sqlalchemy import make_url

        database = Path(make_url(uri).database or "")  # the URL may escape signs, or have options
        beside = (database.resolve().parent / ARTIFACTS).as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=beside))


def _log_whole(
    client: MlflowClient, experiment: str, record: RunRecord, bundle: Path | None
) -> None:
    """Write a record and its model if they are not there; the tag that says so comes last."""
    if _runs(client, experiment, _KEY, record.key):
        return
    for left in _runs(client, experiment, _BEGUN, record.key):
        _remove(client, experiment, left.info.run_id)
    run = _log(client, experiment, record, None)
    if bundle is not None:
        _register(client, run, record, bundle)
    client.set_tag(run, _KEY, record.key)


def _remove(client: MlflowClient, experiment: str, run: str) -> None:
    """Remove a run that a killed process left: its model and its children first."""
    for version in client.search_model_versions(f"run_id = '{run}'"):
        client.delete_model_version(version.name, version.version)
    for child in _runs(client, experiment, _PARENT, run):
        client.delete_run(child.info.run_id)
    client.delete_run(run)


def _log(client: MlflowClient, experiment: str, record: RunRecord, parent: str | None) -> str:
    """Write one record and its children; return its run."""
    key = record.key if parent is None else f"{parent} {record.key}"
    tags = {_KIND: record.kind, _BEGUN: key}
    if parent is not None:
        tags[_PARENT] = parent
    if record.folder is not None:
        tags["blastscope.folder"] = str(record.folder)
    if record.reason:
        tags["blastscope.reason"] = record.reason[:_LONGEST]
    run = client.create_run(experiment, tags=tags, run_name=record.name)
    run_id = str(run.info.run_id)
    _log_numbers(client, run_id, record)
    for path in record.files:
        client.log_artifact(run_id, str(path))
    for child in record.children:
        _log(client, experiment, child, run_id)
    client.set_terminated(run_id, "FAILED" if record.reason else "FINISHED")
    return run_id


def _runs(client: MlflowClient, experiment: str, tag: str, value: str) -> list[Any]:
    return list(client.search_runs([experiment], f"tags.`{tag}` = '{value}'"))


def _log_numbers(client: MlflowClient, run_id: str, record: RunRecord) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [Param(key, value[:_LONGEST] or "none") for key, value in record.params.items()]
    metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items()]
    for step, values in record.history:
        metrics += [Metric(name, value, now, step) for name, value in values.items()]
    for first in range(0, len(params), 100):  # what servers take at a time
        client.log_batch(run_id, params=params[first : first + 100])
    for first in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[first : first + 1000])


def model_name(record: RunRecord) -> str:
    """Return the name of the registered model of a record's recipe."""
    return f"blastscope-{record.name.replace('/', '-').replace(':', '-')}"


def _register(client: MlflowClient, run: str, record: RunRecord, bundle: Path) -> None:
    """Save a bundle as a pyfunc model among the run's artifacts, and register it."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
        path = Path(folder) / "model"
        save_model(bundle, path)
        client.log_artifacts(run, str(path), "model")
    name = model_name(record)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run).info.artifact_uri}/model"
    client.create_model_version(name, source, run_id=run)


def save_model(bundle: Path, path: Path) -> None:
    """Write a bundle as an MLflow model: code and the bundle's files, nothing pickled."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from blastscope import __version__

    requirements: Mapping[str, Any] = {"pip_requirements": [f"blastscope=={__version__}", "mlflow"]}
    mlflow.pyfunc.save_model(
        path=str(path),
        python_model=str(_MODEL_CODE),
        artifacts={"bundle": str(bundle)},
        signature=ModelSignature(inputs=Schema([ColSpec(DataType.string, "image")])),
        **requirements,
    )
