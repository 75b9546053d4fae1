"""Note who was shown the model's output in a case: they can't be a blind second reader any more."""

from __future__ import annotations

from sqlalchemy.orm import Session

from blastscope.workbench.people import Who
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.tables import Case, Sighting


def saw(database: Database, session: Session, case: Case, who: Who) -> None:
    """Note that a person is shown a case, once."""
    if session.get(Sighting, (case.id, who.id)) is not None:
        return
    with database.write() as writing:
        if writing.get(Sighting, (case.id, who.id)) is None:
            writing.add(Sighting(case_id=case.id, person_id=who.id))
