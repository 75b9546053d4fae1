"""Prepare a case: unpack its zips, number its cells, look at their images, lay out its sheets.

Each step is stored when it is done, so a killed worker goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.data.crop import BEYOND, FIELD, Pixels
from blastscope.data.images import UnusableImageError, large_in_turn, read_image
from blastscope.data.inspection import inspect_image
from blastscope.errors import BlastscopeError
from blastscope.parallel import in_order
from blastscope.workbench.cases import bump
from blastscope.workbench.contact_sheets import KINDS, Kind, sheet, spans, thumbnails
from blastscope.workbench.doubles import note_doubles
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import add_job
from blastscope.workbench.random_order import without_rank
from blastscope.workbench.refusal import RefusalError
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Case, Cell, Scoring, Sheet, Upload
from blastscope.workbench.uploads import add_unpacked, number_cells, unpack

Advance = Callable[[int, int | None], bool]
"""Called with what is done and of how much; whether to go on."""


@dataclass(frozen=True)
class Looked:
    """What was found on a cell's image."""

    about: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    tiles: dict[Kind, Pixels] = field(default_factory=dict)


@large_in_turn()
def look(images: ImageStore, sha: str) -> Looked:
    """Decode an image, find the cell, and make its thumbnails."""
    try:
        decoded = read_image(images.path(sha))
    except UnusableImageError as error:
        return Looked(problem=str(error))
    height, width = decoded.pixels.shape[:2]
    about: dict[str, Any] = {"width": width, "height": height, "format": decoded.format}
    try:
        seen = inspect_image(decoded)
    except UnusableImageError as error:
        return Looked(about, str(error))
    box = seen.located.box
    flags = [*seen.flags, *[BEYOND] * (max(box.w, box.h) > FIELD)]
    about |= {"box": [box.x, box.y, box.w, box.h], "flags": flags}
    return Looked(about, None, thumbnails(seen.pixels))


def prepare(database: Database, images: ImageStore, case_id: int, advance: Advance) -> None:
    """Prepare all files of a case that are not yet, and have its cells scored."""
    unpack_zips(database, images, case_id)
    with database.write() as session:
        case = session.get_one(Case, case_id)
        total = number_cells(session, case)
    done = 0
    for span in spans(total):
        if not _prepare_sheet(database, images, case_id, span):
            done += len(span)
            continue
        done += len(span)
        if not advance(done, total):
            return
    note_doubles(database, images, case_id)
    with database.write() as session:
        case = session.get_one(Case, case_id)
        if case.state == "signed":
            return  # the job was cancelled, and the case signed without what this came to
        if case.state == "preparing" or without_rank(session, case_id):
            # Else a killed worker had come this far. Files may also have come after the state was
            # set, while this was going on.
            draw_order(session, case)
            start_scoring(session, case)


def unpack_zips(database: Database, images: ImageStore, case_id: int) -> None:
    """Take the images out of the zips of a case; what is wrong with one is noted beside it."""
    with database.read() as session:
        zips = session.scalars(
            select(Upload).where(
                Upload.case_id == case_id, Upload.kind == "zip", Upload.state == "stored"
            )
        ).all()
    for one in zips:
        found: list[Upload] = []
        reason = None
        try:
            for name, sha, length, refused in unpack(images, one.sha, one.name):
                state = "stored" if refused is None else "refused"
                found.append(
                    Upload(
                        case_id=case_id, name=name, kind="image", sha=sha or "", bytes=length,
                        state=state, reason=refused, sent_by=one.sent_by,
                    )
                )  # fmt: skip
        except RefusalError as error:
            reason = str(error)
        if not found and reason is None:
            reason = "holds no image (BMP, PNG, TIFF, JPEG or WebP)"
        with database.write() as session:
            add_unpacked(session, case_id, found)
            row = session.get_one(Upload, one.id)
            row.state, row.reason = ("taken", None) if reason is None else ("refused", reason)
            bump(session.get_one(Case, case_id))


def _prepare_sheet(database: Database, images: ImageStore, case_id: int, span: range) -> bool:
    """Look at the cells of one sheet and lay it out, unless that is done; return whether it was."""
    with database.read() as session:
        cells = session.scalars(
            select(Cell)
            .where(Cell.case_id == case_id, Cell.n >= span[0], Cell.n <= span[-1])
            .order_by(Cell.n)
        ).all()
        laid = session.get(Sheet, (case_id, "scale", span[0]))
    if laid is not None and laid.count == len(cells) and all(cell.prepared for cell in cells):
        return False
    found = list(in_order(lambda cell: look(images, cell.sha), cells))
    shas = {
        kind: images.put(
            sheet({k: one.tiles[kind] for k, one in enumerate(found) if one.tiles}, len(cells))
        )
        for kind in KINDS
    }
    with database.write() as session:
        case = session.get_one(Case, case_id)
        for cell, one in zip(cells, found, strict=True):
            row = session.get_one(Cell, cell.id)
            row.about, row.prepared = row.about | one.about, True
            if one.problem is not None:
                refuse_cell(session, row, one.problem)
        for kind, sha in shas.items():
            session.merge(
                Sheet(case_id=case_id, kind=kind, number=span[0], sha=sha, count=len(cells))
            )
        bump(case)
    return True


def refuse_cell(session: Session, cell: Cell, problem: str) -> None:
    """Note why the image of a cell cannot be used, and count its file among those refused."""
    cell.problem = problem
    upload = session.scalar(
        select(Upload).where(Upload.case_id == cell.case_id, Upload.cell == cell.n)
    )
    if upload is not None:
        upload.state, upload.reason = "refused", problem


def draw_order(session: Session, case: Case) -> None:
    """Draw the random order of a case's usable cells, by its seed."""
    cells = session.scalars(select(Cell).where(Cell.case_id == case.id).order_by(Cell.n)).all()
    usable = [cell for cell in cells if cell.problem is None]
    ranks = np.random.default_rng(case.seed).permutation(len(usable)) + 1
    for cell in cells:
        cell.random = None
    for cell, rank in zip(usable, ranks.tolist(), strict=True):
        cell.random = rank
    bump(case)


def start_scoring(session: Session, case: Case, model_id: int | None = None) -> Scoring:
    """Have a case scored, by its model or by another, whose scoring is then the one in use."""
    if model_id is not None and model_id != case.model_id:
        case.model_id, case.scoring_id = model_id, None
    usable = session.scalar(
        select(func.count()).where(Cell.case_id == case.id, Cell.problem.is_(None))
    )
    if not usable:
        raise BlastscopeError("no cell of this case can be used: see what was refused, and why")
    scoring = None if case.scoring_id is None else session.get(Scoring, case.scoring_id)
    if scoring is None or scoring.model_id != case.model_id:
        scoring = Scoring(case_id=case.id, model_id=case.model_id)
        session.add(scoring)
        session.flush()
    scoring.subjects = None
    case.scoring_id = scoring.id
    case.state = "scoring"
    bump(case)
    add_job(session, "score", case.id, {"scoring": scoring.id})
    return scoring
