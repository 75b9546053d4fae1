"""Similar cells: the nearest by the features of a model."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.workbench.cell_table import Bools, CellTable
from blastscope.workbench.refusal import conflict, unknown
from blastscope.workbench.store.tables import Case, Embedding


def vectors(session: Session, case: Case, table: CellTable) -> np.ndarray:
    """Return the features of a case's cells, float32, (cells, features); NaN where unknown."""
    rows = session.execute(
        select(Embedding.sha, Embedding.vector).where(
            Embedding.model_id == case.model_id, Embedding.sha.in_(table.sha)
        )
    )
    known = {sha: np.frombuffer(vector, np.float32) for sha, vector in rows}
    if not known:
        return np.zeros((len(table), 0), np.float32)
    none = np.full(len(next(iter(known.values()))), np.nan, np.float32)
    return np.stack([known.get(sha, none) for sha in table.sha])


def similar_order(session: Session, case: Case, table: CellTable, here: Bools, n: int) -> list[int]:
    """Return chosen cells, the most similar to a cell first, then those without features.

    Raises:
        RefusalError: if there is no such cell, or its features are not known.
    """
    if not 1 <= n <= len(table):
        raise unknown("cell", n)
    found = vectors(session, case, table)
    if not found.shape[1] or np.isnan(found[n - 1]).any():
        raise conflict("no-features", "The features of this cell are not computed yet: wait.")
    distance = 1 - found @ found[n - 1]
    numbers = np.flatnonzero(here)
    order = np.argsort(np.nan_to_num(distance[numbers], nan=9.0), kind="stable")
    told: list[int] = (numbers[order] + 1).tolist()
    return told
