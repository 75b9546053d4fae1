"""Record what a verb wrote in a tracking server."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.api.bundle import make_bundle
from blastscope.api.result import notice
from blastscope.tracking.mlflow_server import log_record, parse_track, refuse_silent_server
from blastscope.tracking.records import read_record

if TYPE_CHECKING:
    from blastscope.tracking.records import RunRecord


def refuse_tracking(track: str | None) -> None:
    """Refuse a tracking server that cannot be used, before hours of training.

    Raises:
        BlastscopeError: if it is not ``mlflow`` or ``mlflow:URI``, MLflow is not installed, or the
            server does not answer.
    """
    if track is not None:
        refuse_silent_server(parse_track(track))


def track_folder(track: str | None, folder: Path, progress: bool = False) -> None:
    """Record a finished folder, if a tracking server is given.

    A single run, and the judged winner of a search, are also registered as models.

    Args:
        track: ``mlflow``, for an SQLite file in the folder, or ``mlflow:URI``; None for nothing.

    Raises:
        BlastscopeError: if the server cannot be used.
    """
    if track is None:
        return
    uri, record = parse_track(track), read_record(folder)
    run = _run_of(record, folder)
    with tempfile.TemporaryDirectory(prefix="blastscope-") as place:
        bundle = None if run is None else Path(make_bundle(run, Path(place) / "bundle"))
        where = log_record(record, uri, folder, bundle)
    if progress:
        notice(f"Recorded in {where}")


def _run_of(record: RunRecord, folder: Path) -> Path | None:
    """Return the run whose network stands for the record."""
    if record.kind == "run":
        return folder
    winner = folder / "judged" / "winner"
    return winner if record.kind == "search" and (winner / "report.html").is_file() else None
