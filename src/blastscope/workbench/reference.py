"""Reference cells: the labelled cells of a prepared store, as neighbours of a case's cells.

Their features are those of :mod:`blastscope.workbench.similar`, computed once by the worker and
kept in the workbench's folder, by the store's fingerprint and the model's digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.adaptation.cells import feature_engine
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError, writing
from blastscope.prediction.pipeline import BATCH
from blastscope.training.finished_run import refuse_other_preparation
from blastscope.workbench.cell_table import CALLS
from blastscope.workbench.jobs import UNFINISHED, step_back
from blastscope.workbench.models import find_model, open_again, open_bundled
from blastscope.workbench.preparation import Advance
from blastscope.workbench.refusal import unknown
from blastscope.workbench.reviews import CODES
from blastscope.workbench.similar import NEAREST, Floats, of_length_one
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import QueuedJob, now

if TYPE_CHECKING:
    from blastscope.engines.last_layer import FeatureEngine
    from blastscope.prediction.models import Predictor

FOLDER = "reference"
"""In the workbench's folder: the features of each store and model."""
_LENGTH_OFF = 1e-3
"""By how much the length of a vector may differ from 1; a row that was not written has length 0."""


@dataclass(frozen=True)
class ReferenceCells:
    """A store whose labelled cells are shown beside a case's cells.

    Attributes:
        store: the store.
        rows: where its labelled cells are, shape (cells,).
        label: their labels as ``reviews.CODES``, shape (cells,).
        digest: of the model that the features are of.
        place: the file of the features.
    """

    store: Store
    rows: NDArray[np.int64]
    label: NDArray[np.int8]
    digest: str
    place: Path

    @property
    def name(self) -> str:
        """The name of the store's folder."""
        return self.store.path.name

    @cached_property
    def vectors(self) -> Floats:
        """The features of the labelled cells, float32, (cells, features), memory-mapped.

        Raises:
            BlastscopeError: if the file is damaged.
        """
        try:
            found: Floats = np.load(self.place, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BlastscopeError(
                f"{self.place} cannot be read ({error}): remove it, and start the workbench again."
            ) from error
        if found.ndim != 2 or len(found) != len(self.rows) or found.dtype != np.float32:
            raise BlastscopeError(
                f"{self.place} does not fit {self.store.path}: remove it, and start the workbench "
                "again."
            )
        return found

    @property
    def ready(self) -> bool:
        """Whether the features are computed."""
        return self.place.is_file()

    def nearest(self, vector: Floats) -> dict[int, list[tuple[float, int]]]:
        """Return distance and row in the store of the nearest cells of each label, ordered."""
        far = 1 - np.asarray(self.vectors @ vector)
        found: dict[int, list[tuple[float, int]]] = {}
        for code in np.unique(self.label).tolist():
            here = np.flatnonzero(self.label == code)
            order = here[np.argsort(far[here], kind="stable")[:NEAREST]]
            found[code] = [(float(far[k]), int(self.rows[k])) for k in order]
        return found

    def pixels(self, row: int) -> NDArray[np.uint8]:
        """Return a labelled cell's pixels, (size, size, 3), RGB.

        Raises:
            RefusalError: if this row has no labelled cell.
        """
        if row not in self._known:
            raise unknown("reference cell", row)
        return np.array(self.store.pixels[row])

    @cached_property
    def _known(self) -> frozenset[int]:
        return frozenset(self.rows.tolist())


def open_reference(path: Path, models: tuple[Path, ...], folder: Path) -> ReferenceCells:
    """Open a store as a reference for a model.

    Args:
        path: the store.
        models: of the model, as ``open_bundled`` takes them.
        folder: of the workbench.

    Raises:
        BlastscopeError: if it is not a store, has no labels or another preparation than the model,
            or the model has several networks.
    """
    predictor = open_bundled(models).predictor
    return _reference(open_store(path), predictor, folder)


def _reference(store: Store, predictor: Predictor, folder: Path) -> ReferenceCells:
    for run in predictor.members.runs:
        refuse_other_preparation(run, store)
    if len(predictor.members.runs) > 1:
        raise BlastscopeError(
            f"{predictor.members.name} has several networks, whose features are not alike: leave "
            "--reference out, or serve a model of one network."
        )
    codes = [CODES[CALLS.get(label or "")] for label in store.cells["label"].to_list()]
    label = np.array(codes, np.int8)
    if not label.any():
        raise BlastscopeError(
            f"{store.path} has no cell with a label: prepare labelled cells for --reference."
        )
    digest = str(predictor.members.bundle)
    key = hashlib.sha256(f"{store.fingerprint} {digest}".encode()).hexdigest()[:32]
    rows = np.flatnonzero(label)
    return ReferenceCells(store, rows, label[rows], digest, folder / FOLDER / f"{key}.npy")


def queue(session: Session, reference: ReferenceCells | None, model_id: int) -> None:
    """Have the features of a reference computed if they are not; end jobs for other references."""
    about = None if reference is None else _about(reference, model_id)
    known = False
    for job in _jobs(session):
        if job.state not in UNFINISHED:
            continue
        if job.about == about:
            known = True
        else:
            job.state, job.finished_at = "cancelled", now()
    if reference is not None and not reference.ready and not known:
        session.add(QueuedJob(kind="reference", case_id=None, about=about))


def _about(reference: ReferenceCells, model_id: int) -> dict[str, Any]:
    store = reference.store
    return {
        "store": str(store.path.absolute()), "fingerprint": store.fingerprint, "model": model_id,
    }  # fmt: skip


def _jobs(session: Session) -> list[QueuedJob]:
    found = select(QueuedJob).where(QueuedJob.kind == "reference").order_by(QueuedJob.id.desc())
    return list(session.scalars(found))


def reference_json(
    session: Session, reference: ReferenceCells | None, default_model: int, model_id: int
) -> dict[str, Any]:
    """Return what a page shows of the reference beside a cell of a case that a model scored.

    ``state``: ``none`` without a reference, ``other-model`` if the case was scored by another model
    than the one that is served, ``ready``, or the state of its job.
    """
    if reference is None:
        return {"state": "none"}
    store = reference.store
    told: dict[str, Any] = {
        "state": "ready",
        "name": reference.name,
        "synthetic": store.synthetic,
        "scale": store.settings.scale,
        "cells": {
            name: int((reference.label == CODES[name]).sum()) for name in CALLS.values()
        },
        "job": None, "done": None, "total": None, "reason": None,
    }  # fmt: skip
    if model_id != default_model:
        return told | {"state": "other-model"}
    if reference.ready:
        return told
    job = next((one for one in _jobs(session) if one.about == _about(reference, model_id)), None)
    if job is None:
        return told | {"state": "waiting"}
    state = "waiting" if job.state == "done" else job.state  # its file was removed meanwhile
    return told | {
        "state": state, "job": job.id, "done": job.done, "total": job.total, "reason": job.reason,
    }  # fmt: skip


def compute(
    database: Database, folder: Path, job_id: int, about: dict[str, Any], advance: Advance
) -> None:
    """Compute the features of a reference's labelled cells; goes on where a killed worker stopped.

    It steps back after a batch if anything else is to be done.

    Raises:
        BlastscopeError: if the store or the model is another one now.
    """
    with database.read() as session:
        model = find_model(session, about["model"])
    predictor = open_again(model).predictor
    store = open_store(Path(about["store"]))
    if store.fingerprint != about["fingerprint"]:
        raise BlastscopeError(f"{store.path} has other cells now: start the workbench again")
    reference = _reference(store, predictor, folder)
    if reference.ready:
        return
    engine = feature_engine(predictor)
    assert engine is not None  # of one network, by _reference
    part = reference.place.with_suffix(".part.npy")
    vectors = _begun(part, (len(reference.rows), len(engine.layer.weight)))
    left = _not_written(vectors)
    done = len(vectors) - len(left)
    for first in range(0, len(left), BATCH):
        places = left[first : first + BATCH]
        vectors[places] = _features(engine, reference, places)
        done += len(places)
        if not advance(done, len(vectors)):
            return
        with database.write() as session:
            if done < len(vectors) and step_back(session, job_id):
                return
    with writing(part):
        vectors.flush()
        del vectors  # so that Windows lets it be renamed
        part.replace(reference.place)


def _features(
    engine: FeatureEngine, reference: ReferenceCells, places: NDArray[np.int64]
) -> Floats:
    pixels = np.stack([reference.store.pixels[row] for row in reference.rows[places]])
    return of_length_one(engine.compute(pixels).values)


def _begun(part: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    """Open what was begun, or begin: a file of zeros."""
    with writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if part.is_file():
            try:
                found = open_memmap(part, mode="r+")
                if found.shape == shape and found.dtype == np.float32:
                    return found
            except ValueError:  # it was cut short
                pass
        return open_memmap(part, mode="w+", dtype=np.float32, shape=shape)


def _not_written(vectors: Floats) -> NDArray[np.int64]:
    """Return the rows whose length is not 1: not computed, or cut short by a power failure."""
    found = [
        first + np.flatnonzero(~(np.abs(np.linalg.norm(some, axis=1) - 1) < _LENGTH_OFF))
        for first in range(0, len(vectors), 4096)
        for some in [vectors[first : first + 4096]]
    ]
    return np.concatenate(found).astype(np.int64)
