"""The built-in demo case: 200 synthetic cells of three subjects."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from blastscope.data.images import read_image
from blastscope.data.synthetic import write_synthetic
from blastscope.workbench.cases import create_case
from blastscope.workbench.contact_sheets import png
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import JobCancelledError, add_job
from blastscope.workbench.people import Who
from blastscope.workbench.preparation import Advance
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Case, StoredModel, Upload

IDENTIFIER = "Synthetic demo"
CELLS, SUBJECTS, SEED = 200, 3, 24


def demo_case(session: Session, who: Who, model: StoredModel) -> tuple[Case, bool]:
    """Return the demo case, and whether it is new; the worker draws its cells."""
    case = session.scalar(select(Case).where(Case.identifier == IDENTIFIER))
    if case is not None:
        return case, False
    case = create_case(
        session, who, model, identifier=IDENTIFIER, material="marrow", sampling="all",
        note="Cells drawn by rules: what a model says of them means nothing for real ones.",
        synthetic=True,
    )  # fmt: skip
    case.state = "preparing"
    add_job(session, "demo", case.id)
    return case, True


def draw_demo(database: Database, images: ImageStore, case_id: int, advance: Advance) -> None:
    """Draw the cells of the demo case and give them to it as sent files.

    Raises:
        JobCancelledError: if the job was cancelled.
    """

    def drawn(done: int) -> None:
        if not advance(done, CELLS):
            raise JobCancelledError

    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
        place = Path(folder) / "cells"
        write_synthetic(place, CELLS, SUBJECTS, SEED, drawn)
        files = sorted(place.rglob("*.bmp"), key=lambda path: path.name)
        stored = []
        for path in files:
            content = png(read_image(path).pixels)  # the same pixels in a fifth of the space
            stored.append((f"{path.stem}.png", images.put(content), len(content)))
    with database.write() as session:
        known = set(session.scalars(select(Upload.name).where(Upload.case_id == case_id)))
        opened = session.get_one(Case, case_id).created_by
        session.add_all(
            Upload(
                case_id=case_id, name=name, kind="image", sha=sha, bytes=length, state="stored",
                sent_by=opened,
            )
            for name, sha, length in stored
            if name not in known
        )  # fmt: skip
        add_job(session, "prepare", case_id)
