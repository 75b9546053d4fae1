"""Files that are sent to a case: what is taken, numbered as a cell, refused or a duplicate."""

from __future__ import annotations

import stat
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from blastscope.data.images import MAX_BYTES, SUFFIXES
from blastscope.data.names import CellName, parse_name, printable
from blastscope.prediction.archives import MAX_ENTRIES
from blastscope.prediction.images import InputImage, unique_cells
from blastscope.workbench.access import without_names
from blastscope.workbench.cases import NOT_UNPACKED, bump, names_of
from blastscope.workbench.image_store import (
    ImageStore,
    Incoming,
    looks_like_image,
    looks_like_zip,
)
from blastscope.workbench.jobs import add_job
from blastscope.workbench.people import Who
from blastscope.workbench.random_order import refuse_late
from blastscope.workbench.refusal import RefusalError, conflict, invalid
from blastscope.workbench.reviews import record
from blastscope.workbench.settings import MOST_FILES, MOST_ZIP_BYTES
from blastscope.workbench.store.tables import Case, Cell, Upload

MOST_NAME = 300
MOST_SUBJECT = 80
"""The most characters of a subject's name, which a file's name may hold."""
_MOST_UNPACKED = 16 * 2**30
"""The most bytes that a zip may hold, so that a small one can't fill the disk."""
_MOST_PACKED = 200
"""How many times larger than in the zip an image may be: black packs well, and bombs better."""


def safe_name(name: str) -> str:
    """Return a sent file's name with forward slashes; it is shown and never used as a path.

    Raises:
        RefusalError: if it is empty or too long, is absolute or leads out of its folder.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    leads_out = ".." in parts or name.startswith(("/", "\\")) or (parts and ":" in parts[0])
    joined = printable("/".join(parts))
    if not parts:
        raise invalid("name", "The file has no name: give it one.")
    if leads_out or "\0" in name:
        raise invalid(
            "name",
            f"{printable(name)[:80]} is not a path inside the folder that is sent: give the file "
            "another name.",
        )
    if len(joined) > MOST_NAME:
        raise invalid(
            "name",
            f"A file's name has at most {MOST_NAME} characters with its folders, and this one has "
            f"{len(joined):,}: shorten it.",
        )
    return joined


def most_bytes(name: str) -> int:
    """Return the most bytes that a file of this name may have."""
    return MOST_ZIP_BYTES if is_zip(name) else MAX_BYTES


def is_zip(name: str) -> bool:
    """Say whether a file's name is that of a zip."""
    return name.lower().endswith(".zip")


def add_file(
    session: Session, case: Case, who: Who, name: str, sha: str, file: Incoming
) -> tuple[Upload, bool]:
    """Note a file that was received, and who sent it first; return it, and whether it is new.

    Raises:
        RefusalError: if the case takes no more files, or a file of this name has another content.
    """
    known = session.scalar(select(Upload).where(Upload.case_id == case.id, Upload.name == name))
    if known is not None:
        if known.sha == sha:
            return known, False
        raise conflict(
            "other-content",
            f"{name} was sent before with another content: give it another name.",
        )
    refuse_more(session, case)
    zipped = is_zip(name)
    right = looks_like_zip(file.head) if zipped else looks_like_image(file.head)
    reason = None
    if not file.bytes:
        reason = "is empty"
    elif not right:
        reason = "is not a zip" if zipped else "is not a BMP, PNG, TIFF, JPEG or WebP image"
    upload = Upload(
        case_id=case.id, name=name, kind="zip" if zipped else "image", sha=sha, bytes=file.bytes,
        state="stored" if right else "refused", reason=reason, sent_by=who.id,
    )  # fmt: skip
    session.add(upload)
    session.flush()
    bump(case)  # so that no page takes the counts of files that it has for those of now
    return upload, True


def refuse_more(session: Session, case: Case) -> None:
    """Refuse further files where they would change what was drawn or signed.

    Raises:
        RefusalError: if the case is signed, its random order is in use, or it has as many files as
            it may.
    """
    if case.state == "signed":
        raise conflict("signed", "The case is signed: reopen it, with a reason, to add files.")
    refuse_late(session, case)
    sent = session.scalar(select(func.count()).where(Upload.case_id == case.id)) or 0
    if sent >= MOST_FILES:
        raise conflict("too-many", f"A case takes {MOST_FILES:,} files: create another case.")


def all_sent(session: Session, case: Case, who: Who) -> None:
    """Note that all files are sent for now, and have them prepared.

    Raises:
        RefusalError: if no usable file was sent, the case is signed, or its random order is in use.
    """
    if case.state == "signed":
        raise conflict("signed", "The case is signed: reopen it, with a reason, to add files.")
    waiting = session.execute(
        select(Upload.sent_by, func.count())
        .where(Upload.case_id == case.id, Upload.state == "stored")
        .group_by(Upload.sent_by)
    )
    senders = _by_name(session, waiting.tuples())
    if not senders:
        any_cell = session.scalar(select(Cell.id).where(Cell.case_id == case.id).limit(1))
        if any_cell is not None:
            return
        raise conflict("no-files", "No usable file was sent: send at least one image or zip.")
    refuse_late(session, case)
    case.state = "preparing"
    bump(case)
    about = {"files": sum(one["files"] for one in senders), "senders": senders}
    record(session, case.id, who, "files", about)
    add_job(session, "segment" if case.content == "fields" else "prepare", case.id)


def senders_of(session: Session, case_id: int) -> list[dict[str, Any]]:
    """Count the files of a case by who sent them."""
    found = session.execute(
        select(Upload.sent_by, func.count())
        .where(Upload.case_id == case_id, NOT_UNPACKED)
        .group_by(Upload.sent_by)
    )  # fmt: skip
    return _by_name(session, found.tuples())


def sender_of_each(session: Session, case_id: int) -> dict[str, str | None]:
    """Return who sent each file of a case, by the file's name."""
    names = names_of(session)
    found = session.execute(select(Upload.name, Upload.sent_by).where(Upload.case_id == case_id))
    return {name: None if person is None else names.get(person) for name, person in found.tuples()}


def _by_name(session: Session, counted: Iterable[tuple[int | None, int]]) -> list[dict[str, Any]]:
    """Name people beside counts; nobody is named of files that an older version took."""
    names = names_of(session)
    told = [
        {"person": None if person is None else names.get(person), "files": files}
        for person, files in counted
    ]
    return sorted(told, key=lambda one: (one["person"] is None, one["person"] or ""))


def stored_images(session: Session, case_id: int) -> Sequence[Upload]:
    """Return the images of a case that nothing has become of yet, by name."""
    return session.scalars(
        select(Upload)
        .where(Upload.case_id == case_id, Upload.kind == "image", Upload.state == "stored")
        .order_by(Upload.name)
    ).all()


def short_subjects(stored: Sequence[Upload]) -> list[Upload]:
    """Refuse images whose names hold a subject that no table takes; return the others."""
    for upload in stored:
        if len(_named(upload).subject or "") > MOST_SUBJECT:
            upload.state = "refused"
            upload.reason = f"names a subject of more than {MOST_SUBJECT} characters: shorten it"
    return [upload for upload in stored if upload.state == "stored"]


def number_cells(session: Session, case: Case) -> int:
    """Number the stored images of a case as cells, by name; return how many cells there are.

    The bytes decide what is a duplicate: it is named and no cell. Cells of whole fields are
    numbered as their fields are gone over (``fields``).
    """
    stored = [] if case.content == "fields" else short_subjects(stored_images(session, case.id))
    cells = session.scalars(select(Cell).where(Cell.case_id == case.id).order_by(Cell.n)).all()
    known = {cell.sha: cell.n for cell in cells}
    new: list[Upload] = []
    for upload in stored:
        if upload.sha in known:
            upload.state, upload.duplicate_of = "duplicate", known[upload.sha]
            upload.reason = f"is the same as cell {known[upload.sha]}"
            continue
        known[upload.sha] = len(cells) + len(new) + 1
        new.append(upload)
    named = [_named(upload) for upload in new]
    taken = [InputImage(cell.file, cell.name, no_image) for cell in cells]
    fresh = [InputImage(u.name, one.cell, no_image) for u, one in zip(new, named, strict=True)]
    names = unique_cells([*taken, *fresh])
    for k, (upload, one) in enumerate(zip(new, named, strict=True)):
        n = len(cells) + k + 1
        upload.state, upload.cell = "taken", n
        session.add(
            Cell(
                case_id=case.id, n=n, sha=upload.sha, file=upload.name, name=names[n - 1],
                subject=one.subject or case.identifier.upper(), prepared=False, about={},
            )
        )  # fmt: skip
    bump(case)
    return len(cells) + len(new)


def _named(upload: Upload) -> CellName:
    return parse_name(PurePosixPath(upload.name).stem)


def no_image() -> Any:
    """Stand for the image where only names count."""
    raise NotImplementedError


def unpack(
    images: ImageStore, sha: str, name: str
) -> Iterator[tuple[str, str | None, int, str | None]]:
    """Yield the images of a stored zip: name, SHA-256, bytes, and why one is refused.

    Nothing is unpacked to a place that an entry names.

    Raises:
        RefusalError: if it is damaged or holds too much.
    """
    try:
        with zipfile.ZipFile(images.path(sha)) as archive:
            entries = [one for one in archive.infolist() if not one.is_dir()]
            _refuse_entries(entries, name)
            for entry in entries:
                if _is_passed_over(entry.filename):
                    continue
                yield _unpacked(images, archive, entry, name)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise RefusalError(422, "damaged", f"is damaged or not a zip ({error})") from error


def add_unpacked(session: Session, case_id: int, found: Sequence[Upload]) -> None:
    """Note the images of a zip. Names are unique in a case, so a double is refused under another.

    Of entries of one name the last counts, as in unpacking and in ``blastscope predict``.
    """
    known = set(session.scalars(select(Upload.name).where(Upload.case_id == case_id)))
    times: Counter[str] = Counter()
    for upload in reversed(found):
        name = upload.name
        while upload.name in known:
            times[name] += 1
            mark = f" ({times[name] + 1})"
            upload.name = name[: MOST_NAME - len(mark)] + mark
        if upload.name != name and upload.reason is None:
            upload.state = "refused"
            upload.reason = "has the name of another file, which counts: give it a name of its own"
        known.add(upload.name)
    session.add_all(found)


def _refuse_entries(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > min(MAX_ENTRIES, MOST_FILES):
        raise RefusalError(
            422, "too-many", f"holds {len(entries):,} files: send {MOST_FILES:,} at most"
        )
    if sum(entry.file_size for entry in entries) > _MOST_UNPACKED:
        raise RefusalError(413, "too-large", "holds more than 16 GB: send it in parts")


def _is_passed_over(name: str) -> bool:
    """Say whether an entry is neither an image by its name nor meant to be one."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts)
    return hidden or PurePosixPath(name).suffix.lower() not in SUFFIXES


def _unpacked(
    images: ImageStore, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str
) -> tuple[str, str | None, int, str | None]:
    shown = printable(f"{name}/{entry.filename}")
    if len(shown) > MOST_NAME:
        long = f"has a name of more than {MOST_NAME} characters with its folders: shorten it"
        return f"…{shown[1 - MOST_NAME :]}", None, 0, long
    try:
        safe_name(entry.filename)
    except RefusalError:
        return shown, None, 0, "has a path that leads out of its zip"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return shown, None, 0, "is a link"
    if entry.flag_bits & 1:
        return shown, None, 0, "is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return shown, None, 0, "is compressed by an unsupported method"
    if entry.file_size > MAX_BYTES or entry.file_size > _MOST_PACKED * max(
        entry.compress_size, 2**20
    ):
        return shown, None, 0, "is too large, or packed as a bomb is"
    try:
        with archive.open(entry) as stream, images.receive(MAX_BYTES) as file:
            while piece := stream.read(2**20):
                file.write(piece)
    except Exception as error:  # a damaged zip may make zipfile raise anything
        return shown, None, 0, f"cannot be read ({error})"
    reason = None if looks_like_image(file.head) else "is not an image"
    return shown, file.sha, file.bytes, reason


def file_json(
    session: Session, upload: Upload, names: Mapping[int, str], blind: bool
) -> dict[str, Any]:
    """Return what a page shows of a file; a blind reader gets neither its name nor its sender's."""
    told = {
        "id": upload.id, "name": upload.name, "bytes": upload.bytes, "state": upload.state,
        "cell": upload.cell, "reason": upload.reason, "duplicate_of": upload.duplicate_of,
        "sent_by": None if upload.sent_by is None else names.get(upload.sent_by),
        "sent_at": upload.created_at.isoformat(),
    }  # fmt: skip
    if blind:
        for name in ("name", "sent_by", "sent_at"):
            del told[name]
        told["reason"] = without_names(session, upload.case_id, upload.reason)
    return told
