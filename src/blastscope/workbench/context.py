"""What every request needs: settings, database, images, caches, the worker, the default model."""

from __future__ import annotations

import secrets
import threading
from contextlib import AbstractContextManager

from blastscope.workbench.cell_table import CellTables
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.models import register
from blastscope.workbench.people import Passwords, workbench_key
from blastscope.workbench.reference import open_reference, queue
from blastscope.workbench.reviews import Reviews
from blastscope.workbench.settings import Settings
from blastscope.workbench.store.database import Database
from blastscope.workbench.store.group_writer import GroupWriter
from blastscope.workbench.supervisor import Supervisor


class Workbench:
    """A workbench that is being served."""

    def __init__(self, settings: Settings) -> None:
        """Open the database, which is migrated, the model, and the reference if there is one.

        Raises:
            BlastscopeError: if one of them cannot be opened.
        """
        self.settings = settings
        self.reference = (
            None
            if settings.reference is None
            else open_reference(settings.reference, settings.models, settings.folder)
        )
        self.images = ImageStore(settings.images, settings.incoming)
        self.images.forget_parts()
        self.database = Database(settings.database)
        self.database.migrate()
        with self.database.write() as session:
            self.model_id = register(session, settings.models).id
            self.key = workbench_key(session)
            queue(session, self.reference, self.model_id)
        self.reviews, self.tables = Reviews(), CellTables()
        self.writer = GroupWriter(self.database, self.holding)
        self.passwords = Passwords()
        self.worker = Supervisor(settings, self.database)
        self._launch: str | None = None
        self._launching = threading.Lock()

    def launch_token(self) -> str:
        """Make the token of the launch address, which holds once."""
        with self._launching:
            self._launch = secrets.token_urlsafe(24)
            return self._launch

    def launches(self, token: str) -> bool:
        """Say whether a token is that of the launch address; it is used up by this."""
        with self._launching:
            if self._launch is None or not secrets.compare_digest(
                token.encode(), self._launch.encode()
            ):
                return False
            self._launch = None
            return True

    def holding(self) -> AbstractContextManager[None]:
        """Keep readers from reviews that are not yet on disk."""
        return self.reviews.holding()

    def close(self) -> None:
        """Write what waits, end the worker and close the database."""
        self.writer.close()
        self.worker.stop()
        self.database.close()
