"""Find the cells of a case's whole fields, as ``blastscope segment`` does, and number them.

A field's cells are stored together with it; a killed worker goes on with the fields that were not
gone over.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.data.crop import Pixels
from blastscope.data.images import UnusableImageError, read_image
from blastscope.data.names import parse_name
from blastscope.errors import BlastscopeError
from blastscope.prediction.images import InputImage, unique_cells
from blastscope.segmentation.fields import MOST_BYTES, MOST_PIXELS, read_field
from blastscope.segmentation.scale import Scale
from blastscope.segmentation.segment import FieldFile, Segmented, segment_fields
from blastscope.workbench.cases import bump, checked_scale
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import JobCancelledError, add_job, again
from blastscope.workbench.people import Who
from blastscope.workbench.preparation import Advance, unpack_zips
from blastscope.workbench.refusal import conflict
from blastscope.workbench.reviews import record
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Case, Cell, QueuedJob, SmearField, Upload
from blastscope.workbench.uploads import no_image, short_subjects, stored_images

SIDE = 1600
"""The most pixels of a side of the small picture of a field."""
_QUALITY = 88


@dataclass(frozen=True)
class _Taken:
    """A field whose cells were found, before it is stored.

    Attributes:
        upload_id: of its file.
        fact: its row of ``Segmented.fields``.
        image: the SHA-256 of its small picture.
        cells: rows of ``Segmented.cells``, each with the SHA-256 of its image, None if refused.
    """

    upload_id: int
    fact: dict[str, Any]
    image: str
    cells: list[tuple[dict[str, Any], str | None]]


def segment_case(
    database: Database, images: ImageStore, folder: Path, case_id: int, advance: Advance
) -> None:
    """Find the cells of all fields of a case that were not gone over, and have them prepared.

    Args:
        folder: of the workbench; what is half done lies in it.

    Raises:
        BlastscopeError: if no field can be used, or their scale cannot be measured.
        JobCancelledError: if the job was cancelled.
    """
    unpack_zips(database, images, case_id)
    with database.write() as session:
        _name_duplicates(session, case_id)
    with database.read() as session:
        case = session.get_one(Case, case_id)
        uploads = stored_images(session, case_id)
        files = _field_files(session, case, uploads, images)
        scale = case.um_per_pixel or known_scale(session, case_id)
    work = _work_folder(folder, case_id, uploads, scale)
    if files:
        _go_over(database, images, case_id, uploads, files, work, scale, advance)
    with database.write() as session:
        add_job(session, "prepare", case_id)
    shutil.rmtree(work, ignore_errors=True)


def known_scale(session: Session, case_id: int) -> float | None:
    """Return the scale of the fields that were gone over: all of a case have one."""
    found = select(SmearField.um_per_pixel).where(SmearField.case_id == case_id)
    return session.scalar(found.limit(1))


def _go_over(
    database: Database, images: ImageStore, case_id: int, uploads: Sequence[Upload],
    files: Sequence[FieldFile], work: Path, scale: float | None, advance: Advance,
) -> None:  # fmt: skip
    def goes_on(done: int, total: int) -> None:
        if not advance(done, total):
            raise JobCancelledError

    try:
        found = segment_fields(files, work, um_per_pixel=scale, on_progress=goes_on)
    except BlastscopeError:
        if not _refuse_all(database, images, case_id, uploads):
            raise
        return
    taken = []
    for upload, fact in zip(uploads, found.fields.iter_rows(named=True), strict=True):
        if fact["problem"] is None:
            taken.append(_taken(upload, fact, found, images))
        goes_on(len(files), len(files))
    with database.write() as session:
        for upload, fact in zip(uploads, found.fields.iter_rows(named=True), strict=True):
            row = session.get_one(Upload, upload.id)
            row.state = "taken" if fact["problem"] is None else "refused"
            row.reason = fact["problem"]
        _store(session, session.get_one(Case, case_id), taken, found)


def _refuse_all(
    database: Database, images: ImageStore, case_id: int, uploads: Sequence[Upload]
) -> bool:
    """If no new field can be used, note why, each; return whether the case has other cells."""
    reasons = []
    for upload in uploads:
        try:
            read_field(images.path(upload.sha))
        except UnusableImageError as error:
            reasons.append(str(error))
        else:
            return False
    with database.write() as session:
        for upload, reason in zip(uploads, reasons, strict=True):
            row = session.get_one(Upload, upload.id)
            row.state, row.reason = "refused", reason
        bump(session.get_one(Case, case_id))
        there = select(Cell.id).where(Cell.case_id == case_id).limit(1)
        return session.scalar(there) is not None


def _name_duplicates(session: Session, case_id: int) -> None:
    """Name the files that are, to the byte, a field that was sent before."""
    gone_over = (
        select(Upload)
        .join(SmearField, SmearField.upload_id == Upload.id)
        .where(SmearField.case_id == case_id)
    )
    known = {upload.sha: upload.name for upload in session.scalars(gone_over)}
    for upload in short_subjects(stored_images(session, case_id)):
        if upload.sha in known:
            upload.state, upload.reason = "duplicate", f"is the same as {known[upload.sha]}"
        known.setdefault(upload.sha, upload.name)


def _field_files(
    session: Session, case: Case, uploads: Sequence[Upload], images: ImageStore
) -> list[FieldFile]:
    """Return the fields to go over; their names differ, also from those that were gone over."""
    query = select(SmearField.file).where(SmearField.case_id == case.id)
    before = session.scalars(query.order_by(SmearField.number)).all()
    files = [*before, *(upload.name for upload in uploads)]
    named = [parse_name(PurePosixPath(file).stem) for file in files]
    names = unique_cells(
        [InputImage(file, one.cell, no_image) for file, one in zip(files, named, strict=True)]
    )
    new = zip(uploads, named[len(before) :], names[len(before) :], strict=True)
    return [
        FieldFile(
            upload.name, name, images.path(upload.sha), one.subject or case.identifier.upper()
        )
        for upload, one, name in new
    ]


def _work_folder(
    folder: Path, case_id: int, uploads: Sequence[Upload], scale: float | None
) -> Path:
    """Return where these fields are gone over; what other ones left there is removed."""
    told = repr(([upload.id for upload in uploads], scale)).encode()
    work = folder / "segmenting" / f"case-{case_id}-{hashlib.sha256(told).hexdigest()[:12]}"
    work.parent.mkdir(parents=True, exist_ok=True)
    for other in work.parent.glob(f"case-{case_id}-*"):
        if other != work:
            shutil.rmtree(other, ignore_errors=True)
    return work


def _taken(upload: Upload, fact: dict[str, Any], found: Segmented, images: ImageStore) -> _Taken:
    """Keep the images of a field and of its cells."""
    rows = found.cells.filter(found.cells["field"] == fact["field"]).to_dicts()
    cells = [
        (row, row["image"] and images.put((found.path / row["image"]).read_bytes())) for row in rows
    ]
    pixels = read_image(images.path(upload.sha), MOST_PIXELS, MOST_BYTES).pixels
    return _Taken(upload.id, fact, images.put(small_picture(pixels)), cells)


def small_picture(pixels: Pixels) -> bytes:
    """Return a field as WebP, made smaller if it is large."""
    factor = min(1.0, SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    content = io.BytesIO()
    Image.fromarray(np.asarray(small, np.uint8)).save(content, "WEBP", quality=_QUALITY, method=2)
    return content.getvalue()


def _store(session: Session, case: Case, taken: Sequence[_Taken], found: Segmented) -> None:
    """Number the fields and their cells; a refused cell stays with its field, with the reason."""
    fields = session.scalar(select(func.count()).where(SmearField.case_id == case.id)) or 0
    cells = session.scalars(select(Cell).where(Cell.case_id == case.id).order_by(Cell.n)).all()
    known = {cell.sha: cell.n for cell in cells}
    new: list[Cell] = []
    for k, one in enumerate(taken):
        refused = []
        for row, sha in one.cells:
            place, reason = [row["x"], row["y"], row["w"], row["h"]], row["refused"]
            if sha is not None and sha in known:
                reason = f"is the same image as cell {known[sha]}"
            if sha is None or reason is not None:
                refused.append({"cell": row["cell"], "place": place, "reason": reason})
                continue
            n = known[sha] = len(cells) + len(new) + 1
            flags = (row["flags"] or "").split(",") if row["flags"] else []
            new.append(
                Cell(
                    case_id=case.id, n=n, sha=sha, file=one.fact["file"], name=row["cell"],
                    subject=one.fact["subject"], prepared=False, about={"outline": flags},
                    field=fields + k + 1, place=place, quality=row["quality"],
                )
            )  # fmt: skip
        session.add(
            SmearField(
                case_id=case.id, number=fields + k + 1, upload_id=one.upload_id,
                file=one.fact["file"], width=one.fact["width"], height=one.fact["height"],
                um_per_pixel=found.scale.um_per_pixel, red_cells=found.scale.red_cells,
                by_red_cells=found.scale.by_red_cells,
                image=one.image, refused=refused,
            )
        )  # fmt: skip
    names = unique_cells([InputImage(c.file, c.name, no_image) for c in [*cells, *new]])
    for cell, name in zip(new, names[len(cells) :], strict=True):
        cell.name = name
    session.add_all(new)
    bump(case)


def tell_scale(session: Session, case: Case, who: Who, um_per_pixel: float) -> None:
    """Set the scale of a case's fields, and go over them if that failed before.

    Raises:
        RefusalError: if the case holds single cells, or its fields were gone over at another scale.
    """
    checked_scale(um_per_pixel)
    if case.content != "fields":
        raise conflict("no-fields", "The files of this case are single cells: they need no scale.")
    if known_scale(session, case.id) is not None:
        raise conflict(
            "gone-over",
            "The fields of this case were gone over at another scale: create a new case.",
        )
    case.um_per_pixel = um_per_pixel
    bump(case)
    record(session, case.id, who, "scale", {"um_per_pixel": um_per_pixel})
    last = session.scalar(
        select(QueuedJob)
        .where(QueuedJob.case_id == case.id, QueuedJob.kind == "segment")
        .order_by(QueuedJob.id.desc())
        .limit(1)
    )
    if last is not None and last.state in ("failed", "cancelled"):
        again(session, last.id, who)


def fields_json(session: Session, case: Case, blind: bool) -> dict[str, Any]:
    """Return the fields of a case and the cells that were refused; a blind reader gets no names."""
    found = session.scalars(
        select(SmearField).where(SmearField.case_id == case.id).order_by(SmearField.number)
    ).all()
    cells = session.scalars(
        select(Cell).where(Cell.case_id == case.id, Cell.field.is_not(None)).order_by(Cell.n)
    ).all()
    told: list[dict[str, Any]] = []
    for one in found:
        scale = Scale(one.um_per_pixel, one.red_cells, by_red_cells=one.by_red_cells)
        here = [cell for cell in cells if cell.field == one.number]
        refused = [{"place": each["place"], "reason": each["reason"]} for each in one.refused]
        refused += [{"place": cell.place, "reason": cell.problem} for cell in here if cell.problem]
        told.append(
            {
                "number": one.number, "file": one.file, "width": one.width, "height": one.height,
                "um_per_pixel": one.um_per_pixel, "red_cells": one.red_cells,
                "within": scale.within,
                "contradicted_by": scale.by_red_cells if scale.is_contradicted else None,
                "image": field_address(case.id, one.number),
                "cells": [cell.n for cell in here if not cell.problem], "refused": refused,
            }
        )  # fmt: skip
        if blind:
            del told[-1]["file"]
    return {"fields": told, "refused": sum(len(one["refused"]) for one in told)}


def field_address(case_id: int, number: int) -> str:
    """Return the address of a field's small picture."""
    return f"/api/v1/cases/{case_id}/fields/{number}.webp"


def place_json(session: Session, cell: Cell, blind: bool) -> dict[str, Any] | None:
    """Return where a cell lies in its field; None if it was sent by itself."""
    if cell.field is None:
        return None
    one = session.get_one(SmearField, (cell.case_id, cell.field))
    told = {
        "number": one.number, "file": one.file, "width": one.width, "height": one.height,
        "um_per_pixel": one.um_per_pixel, "place": cell.place, "quality": cell.quality,
        "image": field_address(cell.case_id, one.number),
    }  # fmt: skip
    if blind:
        del told["file"]
    return told
