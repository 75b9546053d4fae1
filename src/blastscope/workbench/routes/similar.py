"""The cells that look most like one: labelled in its case, or of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.workbench.access import access
from blastscope.workbench.cases import names_of
from blastscope.workbench.cell_table import CellTable
from blastscope.workbench.contact_sheets import PER_ROW, PER_SHEET, png
from blastscope.workbench.context import Workbench
from blastscope.workbench.reference import reference_json
from blastscope.workbench.refusal import RefusalError, unknown
from blastscope.workbench.review_state import LABELS
from blastscope.workbench.reviews import ReadingView
from blastscope.workbench.routes import cell_answers
from blastscope.workbench.routes.answers import gives, sends
from blastscope.workbench.routes.cells import checked_place, sheet_addresses
from blastscope.workbench.routes.dependencies import FOREVER, Bench, Viewer
from blastscope.workbench.sighting import saw
from blastscope.workbench.similar import NEAREST, distances, nearest, tile_of, vectors
from blastscope.workbench.store.tables import Case, QueuedJob
from blastscope.workbench.summaries import readings_of, reviewed

router = APIRouter(prefix="/api/v1")


@router.get("/cases/{case_id}/cells/{n}/similar", **gives(cell_answers.SimilarJson))
def get_similar(bench: Bench, who: Viewer, case_id: int, n: int) -> dict[str, Any]:
    """Return what looks most like a cell to the network.

    ``nearest`` are cells of the case, labelled or not. ``by_label`` are the nearest six of each
    label, of the case and of the reference together; ``reference`` says for each which it is.
    """
    with bench.database.read() as session:
        found = access(session, case_id, who)
        found.refuse_blind()
        case = found.case
        saw(bench.database, session, case, who)
        table = bench.tables.of(session, case)
        place = checked_place(table, n)
        beside = reference_json(session, bench.reference, bench.model_id, case.model_id)
        try:
            far = distances(session, case, table, place + 1)
        except RefusalError:
            return {
                "state": _state(session, case_id),
                "nearest": [],
                "by_label": {label: [] for label in LABELS},
                "reference": beside,
            }
        label = reviewed(bench, session, case, table).label
        near, by_label = nearest(far, n, label, table.usable)
        first = readings_of(session, case_id)[0]
        with bench.reviews.view(session, first.id, len(table)) as view:
            told = _Told(
                case, table, label, far, view, names_of(session),
                sheet_addresses(session, case_id, len(table)),
            )  # fmt: skip
            listed = {
                LABELS[code - 1]: [told.cell(k) for k in cells] for code, cells in by_label.items()
            }
            close = [told.cell(k) for k in near]
        if beside["state"] == "ready":
            vector = vectors(session, case.model_id, [table.sha[place]])[0]
            for name, others in _of_reference(bench, vector).items():
                listed[name] = sorted([*listed[name], *others], key=_distance)[:NEAREST]
        return {"state": "ready", "nearest": close, "by_label": listed, "reference": beside}


def _distance(one: dict[str, Any]) -> float:
    return float(one["distance"])


def _state(session: Session, case_id: int) -> str:
    """Say whether the features of a case are still to come."""
    waiting = select(QueuedJob.id).where(
        QueuedJob.case_id == case_id,
        QueuedJob.kind.in_(("similar", "score", "prepare")),
        QueuedJob.state.in_(("waiting", "running")),
    )
    return "none" if session.scalar(waiting.limit(1)) is None else "waiting"


@dataclass(frozen=True)
class _Told:
    """What is needed to tell of a case's cells."""

    case: Case
    table: CellTable
    label: Any
    far: Any
    view: ReadingView
    names: dict[int, str]
    sheets: list[dict[str, Any] | None]

    def cell(self, n: int) -> dict[str, Any]:
        """Return what a page shows of a cell of the case."""
        code = int(self.label[n - 1])
        return {
            "reference": False,
            "case": self.case.id,
            "identifier": self.case.identifier,
            "n": n,
            "cell": self.table.name[n - 1],
            "label": LABELS[code - 1] if code else None,
            "reader": self._reader(n) if code else None,
            "distance": float(self.far[n - 1]),
            "tile": tile_of(n, self.sheets, PER_SHEET, PER_ROW),
            "image": None,
        }

    def _reader(self, n: int) -> str | None:
        for kind in ("adjudicate", "label"):
            stands = self.view.state.standing(kind, n)
            if stands is not None and stands.value is not None:
                return self.names.get(stands.person)
        return None


def _of_reference(bench: Workbench, vector: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the nearest reference cells of each label."""
    reference = bench.reference
    assert reference is not None
    names = reference.store.cells["cell"]
    return {
        LABELS[code - 1]: [
            {
                "reference": True,
                "case": None,
                "identifier": reference.name,
                "n": None,
                "cell": names[row],
                "label": LABELS[code - 1],
                "reader": None,
                "distance": far,
                "tile": None,
                "image": f"/api/v1/reference/{row}.png?of={reference.place.stem}",
            }
            for far, row in found
        ]
        for code, found in reference.nearest(vector).items()
    }


@router.get("/reference/{row}.png", **sends("image/png"))
def get_reference_image(bench: Bench, who: Viewer, row: int) -> Response:
    """Return a labelled cell of the reference as it was prepared; its number is its row there."""
    if bench.reference is None:
        raise unknown("reference cell", row)
    content = png(bench.reference.pixels(row))
    return Response(content, media_type="image/png", headers={"Cache-Control": FOREVER})
