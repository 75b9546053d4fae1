"""Connections to the database: SQLite in the workbench's folder, or PostgreSQL by its URL.

SQLite runs in WAL mode with ``synchronous=FULL``: what a commit acknowledged survives a power cut
(with NORMAL it may not). One lock in the process orders the writers, because writers that wait for
one another inside SQLite sleep and wake by chance. With either database only one of all processes
writes at a time, so what a writer has read, such as a case's version, stays so until it is done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from blastscope.errors import BlastscopeError
from blastscope.io import files

FILE = "workbench.sqlite"
_BUSY_SECONDS = 30
_WRITES = "blastscope_writes"
_WRITERS_LOCK = 0x626C_6173_7473
"""The key of PostgreSQL's lock for which writers wait."""


class Database:
    """The database of a workbench; several threads may use it at once."""

    def __init__(self, url: str) -> None:
        """Open it; tables are made by :meth:`migrate`.

        Raises:
            BlastscopeError: if the URL is not one, or names a kind of database that is not
                supported.
        """
        try:
            dialect = make_url(url).get_backend_name()
            if dialect not in ("sqlite", "postgresql"):
                raise ArgumentError(f"{dialect} is not supported")
            self.engine = _engine(url)
        except ModuleNotFoundError as error:
            raise BlastscopeError(
                f"The database {_hidden(url)} needs {error.name}: write its address as "
                "postgresql+psycopg://..., and pip install 'blastscope[postgresql]'."
            ) from error
        except ArgumentError as error:
            raise BlastscopeError(
                f"The database {_hidden(url)} cannot be opened ({_first_line(error)}): give a URL "
                "such as postgresql+psycopg://name@host/database."
            ) from error
        self._lock = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of SQLite."""
        return self.engine.dialect.name == "sqlite"

    @property
    def told(self) -> str:
        """Its address without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that only reads; it sees one state of the database."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are on disk when the block ends without an error."""
        with self._lock, Session(self._writer(), expire_on_commit=False) as session:
            yield session
            session.commit()

    def _writer(self) -> Engine:
        return self.engine.execution_options(**{_WRITES: True})

    def migrate(self) -> None:
        """Bring the tables to the newest schema.

        Raises:
            BlastscopeError: if the database cannot be reached, or was written by a newer version.
        """
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", "blastscope.workbench.store:migrations")
        config.attributes["engine"] = self.engine
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise BlastscopeError(
                f"{self.told} was written by a newer blastscope ({error}): update this one."
            ) from error
        except DBAPIError as error:
            raise BlastscopeError(
                f"{self.told} cannot be opened ({_first_line(error.orig)}): check that it is "
                "there and yours."
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def sqlite_url(folder: Path) -> str:
    """Return the URL of the SQLite file in a workbench's folder."""
    return files.sqlite_url(folder / FILE)


def _first_line(error: object) -> str:
    """Return what an error says, in one line."""
    return str(error).strip().partition("\n")[0]


def _hidden(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "that was given"


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return _postgresql(url)
    engine = create_engine(
        url,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_size=10,
        max_overflow=40,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours, so that writers can ask for the lock
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "reset")
    def _end(connection: Any, _: Any, __: Any) -> None:
        if connection.in_transaction:  # a commit failed (a full disk): it would lock all others out
            connection.rollback()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")

    return engine
