"""The schema: migrations make the tables that the code knows, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from blastscope.errors import BlastscopeError
from blastscope.workbench import context
from blastscope.workbench.app import create_app
from blastscope.workbench.cases import bump, create_case
from blastscope.workbench.people import local_person, who
from blastscope.workbench.store.database import Database, sqlite_url
from blastscope.workbench.store.tables import (
    APPEND_ONLY,
    AuditEntry,
    Base,
    Case,
    Cell,
    SmearField,
    Upload,
)
from tests.workbench.conftest import Served, settings_of
from tests.workbench.filling import fake_model


def difference(database: Database) -> list:
    with database.engine.connect() as connection:
        known = MigrationContext.configure(connection, opts={"compare_type": False})
        return compare_metadata(known, Base.metadata)


def test_migrations_make_the_tables_of_the_code(tmp_path):
    database = Database(sqlite_url(tmp_path))
    database.migrate()
    database.migrate()  # again changes nothing
    assert difference(database) == []
    with database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA synchronous")) == 2  # FULL
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        triggers = session.scalars(text("SELECT name FROM sqlite_master WHERE type='trigger'"))
        assert len(list(triggers)) == 2 * len(APPEND_ONLY)
    database.close()


AT = "'2026-01-02 03:04:05'"


def of_before(folder: Path, revision: str, *rows: str) -> Database:
    """Return a database of an earlier schema, with a model, a person and more rows, migrated."""
    database = Database(sqlite_url(folder))
    config = Config()
    config.set_main_option("script_location", "blastscope.workbench.store:migrations")
    config.attributes["engine"] = database.engine
    command.upgrade(config, revision)
    known = (
        f"model VALUES (1, 'sha256:0', 'm', '[]', 1, '{{}}', {AT})",
        f"person VALUES (1, 'ann', 'reader', NULL, 1, {AT})",
        "review_case (id, identifier, material, sampling, blind_first, synthetic, note, state, "
        "seed, model_id, version, created_at, created_by) "
        f"VALUES (7, 'Old', 'blood', 'all', 0, 0, '', 'review', 5, 1, 3, {AT}, 1)",
    )
    with database.write() as session:
        for row in (*known, *rows):
            session.connection().exec_driver_sql(f"INSERT INTO {row}")
    database.migrate()
    assert difference(database) == []
    return database


def test_a_case_of_the_first_schema_holds_single_cells(tmp_path):
    database = of_before(
        tmp_path, "0001",
        "cell (id, case_id, n, sha, file, name, subject, prepared, about) "
        "VALUES (1, 7, 1, '00', 'a.png', 'a', 'OLD', 1, '{}')",
    )  # fmt: skip
    with database.read() as session:
        case = session.get_one(Case, 7)
        assert (case.content, case.um_per_pixel, case.version) == ("cells", None, 3)
        cell = session.query(Cell).one()
        assert (cell.file, cell.field, cell.place) == ("a.png", None, None)
    database.close()


def test_a_file_of_the_third_schema_stays_and_has_no_sender(tmp_path):
    database = of_before(
        tmp_path, "0003",
        "upload (id, case_id, name, kind, sha, bytes, state, created_at) "
        f"VALUES (3, 7, 'a.png', 'image', '00', 1, 'taken', {AT})",
        "smear_field (case_id, number, upload_id, file, width, height, um_per_pixel, image, "
        "refused) VALUES (7, 1, 3, 'a.png', 9, 9, 0.1, '00', '[]')",
    )  # fmt: skip
    with database.read() as session:
        upload = session.query(Upload).one()
        assert (upload.id, upload.name, upload.sent_by) == (3, "a.png", None)
        field = session.query(SmearField).one()
        assert (field.upload_id, field.by_red_cells) == (3, None)
    database.close()


def test_a_newer_database_is_refused(tmp_path):
    database = Database(sqlite_url(tmp_path))
    database.migrate()
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BlastscopeError, match="newer blastscope"):
        database.migrate()
    with pytest.raises(BlastscopeError, match="cannot be opened"):
        Database("nonsense://x")


def test_a_block_that_fails_writes_nothing(tmp_path):
    database = Database(sqlite_url(tmp_path))
    database.migrate()
    with pytest.raises(ZeroDivisionError):
        _write_half(database)
    with database.read() as session:
        assert session.query(AuditEntry).count() == 0


def _write_half(database: Database) -> None:
    with database.write() as session:
        session.add(AuditEntry(what="half", about={}))
        session.flush()
        raise ZeroDivisionError


def _change(database: Database, statement: str) -> None:
    with database.write() as session:
        session.add(AuditEntry(what="one", about={}))
        session.flush()
        session.execute(text(statement))


def test_many_write_at_once(tmp_path):
    database = Database(sqlite_url(tmp_path))
    database.migrate()

    def write() -> None:
        for _ in range(5):
            with database.write() as session:
                session.add(AuditEntry(what="one", about={}))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.query(AuditEntry).count() == 40


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, which refuse to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    return None if other is None else Path(other).parent


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    """The URL of a PostgreSQL server of our own; skipped where there is none."""
    pytest.importorskip("psycopg")
    url = os.environ.get("BLASTSCOPE_TEST_POSTGRESQL")
    if url:
        yield url
        return
    bins = programs()
    if bins is None or (hasattr(os, "geteuid") and os.geteuid() == 0 and not _nobody()):
        pytest.skip("PostgreSQL is not installed, or can't be started as root")
    place = tmp_path_factory.mktemp("postgresql")
    as_nobody = _as_nobody(place)
    data, port = place / "data", 54_000 + os.getpid() % 1000
    arguments = [str(bins / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust"]
    made = subprocess.run([*as_nobody, *arguments], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"initdb fails: {made.stderr.decode()[-200:]}")
    options = f"-p {port} -k {place} -c listen_addresses=127.0.0.1"
    control = [*as_nobody, str(bins / "pg_ctl"), "-D", str(data)]
    started = subprocess.run(
        [*control, "-w", "-l", str(place / "log"), "-o", options, "start"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if started.returncode:
        pytest.skip("PostgreSQL does not start")
    yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, check=False)


def _nobody() -> bool:
    return shutil.which("runuser") is not None


def _as_nobody(place: Path) -> list[str]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return []
    for folder in (place, *place.parents):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    shutil.chown(place, "nobody")
    return ["runuser", "-u", "nobody", "--"]


def raise_versions(url: str, case: int, times: int) -> None:
    """Do as one process of several: read a case, think, and note that it has changed."""
    database = Database(url)
    for _ in range(times):
        with database.write() as session:
            row = session.get_one(Case, case)
            time.sleep(0.005)
            bump(row)
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_processes_that_change_a_case_no_change_is_lost(request, kind, tmp_path):
    url = sqlite_url(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgresql")
    database = Database(url)
    database.migrate()
    with database.write() as session:
        who_asks = who(local_person(session))
        case = create_case(
            session, who_asks, fake_model(session), identifier=uuid4().hex, material="blood",
            sampling="all",
        ).id  # fmt: skip
    arguments = (url, case, 10)
    threads = [threading.Thread(target=raise_versions, args=arguments) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with database.read() as session:
        assert session.get_one(Case, case).version == 40
    database.close()


def test_postgresql_holds_the_same(postgresql, tmp_path, monkeypatch):
    monkeypatch.setattr(context, "register", lambda session, _: fake_model(session))
    bench = context.Workbench(settings_of(tmp_path, postgresql))
    try:
        assert difference(bench.database) == []
        served = Served(bench, create_app(bench))
        local = served.person("local")
        case = served.case(30, identifier=f"Case {uuid4().hex[:8]}")
        local.label(case, [1, 2], "A")
        local.label(case, [2], "N")
        told = local.events(case, {"kind": "undo"}).json()
        assert told["changed"]["2"]["label"] == "A"
        assert local.cells(case)["columns"]["label"][:3] == ["A", "A", None]
        for table in ("review_event", "audit"):
            for change in (
                f"DELETE FROM {table}",
                f"UPDATE {table} SET id = id",
                f"TRUNCATE {table}",
            ):
                with pytest.raises(DatabaseError):
                    _change(bench.database, change)
        assert len(local.cells(case)["columns"]["n"]) == 30
    finally:
        bench.close()
