"""Cases: create them, list them, and say where each stands."""

from __future__ import annotations

import re
import secrets
from typing import Any

from sqlalchemy import func, not_, select
from sqlalchemy.orm import Session

from blastscope.segmentation.scale import LARGEST, SMALLEST
from blastscope.workbench.people import Who
from blastscope.workbench.refusal import conflict, invalid
from blastscope.workbench.reviews import record
from blastscope.workbench.store.tables import Case, Cell, Reading, StoredModel, Upload, User

TARGETS = {"blood": 200, "marrow": 500}
"""Nucleated cells to count, by material (ICSH, International Journal of Laboratory Hematology
2019, doi 10.1111/ijlh.13042)."""
SAMPLINGS = ("all", "random", "selected")
"""Whether a case's cells are all nucleated cells of a specimen, a random part, or chosen ones."""
CONTENTS = ("cells", "fields")
"""What the files of a case show: single cells, or whole fields of a smear."""
IDENTIFIER = re.compile(r"[\w][\w .:/#+()-]{0,78}[\w)]|\w")
_DATE = re.compile(
    r"\b(19|20)\d\d[-./]?(0[1-9]|1[0-2])[-./]?(0[1-9]|[12]\d|3[01])\b"
    r"|\b(0?[1-9]|[12]\d|3[01])[-./](0?[1-9]|1[0-2])[-./]((19|20)\d\d|\d\d)\b"
)
_NAME = re.compile(r"[^\W\d_]{2,}[ ,.]+[^\W\d_]{2,}|[^\W\d_]*[a-zà-ÿ]{3,}[^\W\d_]*")
_HARMLESS = frozenset(
    [
        "case",
        "demo",
        "synthetic",
        "sample",
        "specimen",
        "slide",
        "smear",
        "test",
        "blood",
        "marrow",
        "bone",
        "cells",
        "study",
    ]
)


def identifier_warnings(identifier: str) -> list[dict[str, str]]:
    """Say if an identifier looks as if it told who the subject is."""
    found = []
    if _DATE.search(identifier):
        message = "This looks like a date: a date of birth or admission tells who the subject is."
        found.append({"code": "looks-like-date", "message": message})
    words = [word for word in re.findall(r"[^\W\d_]+", identifier) if word.lower() in _HARMLESS]
    rest = identifier
    for word in words:
        rest = rest.replace(word, "")
    if _NAME.search(rest):
        message = "This looks like a name: use a number that only your laboratory can resolve."
        found.append({"code": "looks-like-name", "message": message})
    return found


def is_taken(session: Session, identifier: str) -> bool:
    """Say whether a case of this identifier is there; upper and lower case do not count."""
    same = select(Case.id).where(func.lower(Case.identifier) == identifier.strip().lower())
    return session.scalar(same) is not None


def create_case(
    session: Session,
    who: Who,
    model: StoredModel,
    *,
    identifier: str,
    material: str,
    sampling: str,
    blind_first: bool = False,
    note: str = "",
    synthetic: bool = False,
    content: str = "cells",
    um_per_pixel: float | None = None,
) -> Case:
    """Create a case and its first reading.

    Raises:
        RefusalError: if the identifier is taken or not one, or another value does not do.
    """
    identifier = identifier.strip()
    if not IDENTIFIER.fullmatch(identifier):
        raise invalid(
            "identifier",
            "An identifier has 1 to 80 letters, digits and . : / # + ( ) - between them.",
        )
    if is_taken(session, identifier):
        raise conflict("taken", f"There is a case {identifier} already: choose another identifier.")
    if material not in TARGETS:
        raise invalid("material", f"Choose one of {', '.join(TARGETS)}.")
    if sampling not in SAMPLINGS:
        raise invalid("sampling", f"Choose one of {', '.join(SAMPLINGS)}.")
    if content not in CONTENTS:
        raise invalid("content", f"Choose one of {', '.join(CONTENTS)}.")
    if um_per_pixel is not None:
        checked_scale(um_per_pixel)
    case = Case(
        identifier=identifier, material=material, sampling=sampling, blind_first=blind_first,
        content=content, um_per_pixel=um_per_pixel if content == "fields" else None,
        synthetic=synthetic, note=note[:2000], model_id=model.id, created_by=who.id,
        seed=secrets.randbelow(2**31), version=0, state="receiving",
    )  # fmt: skip
    session.add(case)
    session.flush()
    session.add(Reading(case_id=case.id, number=1, scope="all"))
    about: dict[str, Any] = {
        "sampling": sampling, "material": material, "blind_first": blind_first,
        "content": content, "um_per_pixel": case.um_per_pixel,
    }  # fmt: skip
    record(session, case.id, who, "created", {**about, "model": model.digest})
    return case


def checked_scale(um_per_pixel: float) -> float:
    """Return micrometres a pixel, if a microscope has them.

    Raises:
        RefusalError: if none has.
    """
    if not SMALLEST <= um_per_pixel <= LARGEST:
        raise invalid(
            "um_per_pixel",
            f"Give micrometres per pixel between {SMALLEST} and {LARGEST}: 7.5 divided by the "
            "diameter of a red cell in pixels.",
        )
    return um_per_pixel


NOT_UNPACKED = not_((Upload.kind == "zip") & (Upload.state == "taken"))
"""To count the files that were sent: a zip counts as the images that it held."""


def bump(case: Case) -> None:
    """Note that a case has changed in something else than review events."""
    case.version += 1


def file_progress(session: Session, case: Case) -> dict[str, int]:
    """Count the files of a case by what became of them, its usable cells, and those prepared."""
    counted = (
        select(Upload.state, func.count())
        .where(Upload.case_id == case.id, NOT_UNPACKED)
        .group_by(Upload.state)
    )
    states = dict(session.execute(counted).tuples().all())
    cells = select(func.count()).where(Cell.case_id == case.id, Cell.problem.is_(None))
    prepared = cells.where(Cell.prepared.is_(True))
    return {
        "sent": sum(states.values()),
        "refused": states.get("refused", 0),
        "duplicates": states.get("duplicate", 0),
        "cells": session.scalar(cells) or 0,
        "prepared": session.scalar(prepared) or 0,
    }


def names_of(session: Session) -> dict[int, str]:
    """Return the names of all people by their numbers."""
    return dict(session.execute(select(User.id, User.name)).tuples().all())


def case_facts(case: Case, creator: str) -> dict[str, Any]:
    """Return what a case is, without what depends on its cells."""
    return {
        "id": case.id,
        "identifier": case.identifier,
        "material": case.material,
        "sampling": case.sampling,
        "target": TARGETS[case.material],
        "blind_first": case.blind_first,
        "content": case.content,
        "um_per_pixel": case.um_per_pixel,
        "synthetic": case.synthetic,
        "created_at": case.created_at.isoformat(),
        "created_by": creator,
        "note": case.note,
        "state": case.state,
    }
