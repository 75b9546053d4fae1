"""Similar cells: the nearest by what a network's last layer takes, its features.

The features of a cell are the mean over the network's views, of length 1, so that the nearest is
the one with the largest product. "Labelled" neighbours are cells that people labelled in this
workbench, with the same model; to them come those of a reference
(:mod:`blastscope.workbench.reference`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.adaptation.cells import feature_engine
from blastscope.data.images import read_image
from blastscope.data.layouts import Problem
from blastscope.engines.last_layer import FeatureEngine
from blastscope.errors import BlastscopeError
from blastscope.prediction.images import InputImage
from blastscope.prediction.models import Predictor
from blastscope.prediction.pipeline import BATCH, read_cell
from blastscope.workbench.cell_table import Bools, CellTable
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.models import open_again
from blastscope.workbench.preparation import Advance
from blastscope.workbench.refusal import conflict, unknown
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Case, Cell, Embedding, StoredModel

Floats = NDArray[np.float32]
NEAREST = 6
"""Neighbours that are shown, and of each label."""


def embed(database: Database, images: ImageStore, case_id: int, advance: Advance) -> None:
    """Compute the features of all cells of a case that have none.

    Raises:
        BlastscopeError: if the model has several networks, or can't be opened.
    """
    with database.read() as session:
        case = session.get_one(Case, case_id)
        model = session.get_one(StoredModel, case.model_id)
        known = select(Embedding.sha).where(Embedding.model_id == model.id)
        left = session.execute(
            select(Cell.sha, Cell.file)
            .where(Cell.case_id == case_id, Cell.problem.is_(None), Cell.sha.not_in(known))
            .order_by(Cell.n)
        ).all()
    if not left:
        return
    predictor = open_again(model).predictor
    engine = feature_engine(predictor)
    if engine is None:
        raise BlastscopeError("the model has several networks, whose features are not alike")
    for first in range(0, len(left), BATCH):
        shas = [sha for sha, _ in left[first : first + BATCH]]
        found = _features(predictor, engine, images, shas)
        with database.write() as session:
            for sha, vector in found.items():
                session.merge(Embedding(model_id=model.id, sha=sha, vector=vector.tobytes()))
        if not advance(first + len(shas), len(left)):
            return


def _features(
    predictor: Predictor, engine: FeatureEngine, images: ImageStore, shas: Sequence[str]
) -> dict[str, Floats]:
    settings = predictor.settings[0]
    pixels = {}
    for sha in shas:
        found = read_cell(InputImage("", sha, partial(read_image, images.path(sha))), [settings])
        if not isinstance(found, Problem):
            pixels[sha] = found.pixels[settings]
    if not pixels:
        return {}
    values = engine.compute(np.stack(list(pixels.values()))).values
    return dict(zip(pixels, of_length_one(values), strict=True))


def of_length_one(values: NDArray[np.float64]) -> Floats:
    """Return features (N, F) as vectors of length 1, float32."""
    lengths = np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    found: Floats = (values / lengths).astype(np.float32)
    return found


def vectors(session: Session, model_id: int, shas: Sequence[str]) -> Floats:
    """Return the features of cells, float32, (cells, features); NaN where they are unknown."""
    wanted = set(shas)
    rows = session.execute(
        select(Embedding.sha, Embedding.vector).where(Embedding.model_id == model_id)
    )
    known = {sha: np.frombuffer(vector, np.float32) for sha, vector in rows if sha in wanted}
    if not known:
        return np.zeros((len(shas), 0), np.float32)
    none = np.full(len(next(iter(known.values()))), np.nan, np.float32)
    return np.stack([known.get(sha, none) for sha in shas])


def distances(session: Session, case: Case, table: CellTable, n: int) -> Floats:
    """Return how far all cells of a case are from one of them, 0 to 2; 9 where it is unknown.

    Raises:
        RefusalError: if there is no such cell, or its features are not known.
    """
    if not 1 <= n <= len(table):
        raise unknown("cell", n)
    found = vectors(session, case.model_id, table.sha)
    if not found.shape[1] or np.isnan(found[n - 1]).any():
        raise conflict("no-features", "The features of this cell are not computed yet: wait.")
    far: Floats = np.nan_to_num(1 - found @ found[n - 1], nan=9.0)
    return far


def similar_order(session: Session, case: Case, table: CellTable, here: Bools, n: int) -> list[int]:
    """Return chosen cells, the most similar to a cell first, then those without features.

    Raises:
        RefusalError: as :func:`distances`.
    """
    numbers = np.flatnonzero(here)
    order = np.argsort(distances(session, case, table, n)[numbers], kind="stable")
    told: list[int] = (numbers[order] + 1).tolist()
    return told


def nearest(
    far: Floats, n: int, label: NDArray[np.int8], usable: Bools
) -> tuple[list[int], dict[int, list[int]]]:
    """Return the nearest cells to cell ``n``, and the nearest of each label (``reviews.CODES``)."""
    order = [
        k
        for k in np.argsort(far, kind="stable").tolist()
        if k != n - 1 and usable[k] and far[k] < 9
    ]
    by_label = {code: [k + 1 for k in order if label[k] == code][:NEAREST] for code in range(1, 5)}
    return [k + 1 for k in order[:NEAREST]], by_label


def tile_of(n: int, sheets: list[dict[str, Any] | None], per_sheet: int, per_row: int) -> Any:
    """Return the column and row of a cell's thumbnail in its sheet; None while that is not made."""
    number, place = divmod(n - 1, per_sheet)
    sheet = sheets[number] if number < len(sheets) else None
    if sheet is None:
        return None
    return {"sheet": sheet["scale"], "x": place % per_row, "y": place // per_row}
