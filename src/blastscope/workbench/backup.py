"""Back up a workbench: SQLite's own backup of the database, and the images beside it.

Images never change, so a backup links them where it can instead of copying. PostgreSQL has tools
of its own (``pg_dump``); there a backup holds the images only, and says so.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from blastscope import __version__
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, replacing_folder, write_json
from blastscope.workbench.image_store import ImageStore
from blastscope.workbench.jobs import JobCancelledError
from blastscope.workbench.preparation import Advance
from blastscope.workbench.settings import Settings
from blastscope.workbench.store.database import FILE, Database, sqlite_url

FORMAT = "blastscope-workbench-backup/1"


def back_up(database: Database, images: ImageStore, folder: Path, advance: Advance) -> Path:
    """Write a backup into the folder ``backups``, whole or not at all, and return it.

    The database is copied first: the images that it names are all there then.

    Raises:
        JobCancelledError: if the job was cancelled; nothing is left of the backup then.
    """
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = folder / "backups" / name
    with replacing_folder(out) as beside:
        if database.is_sqlite:
            _copy_database(Path(str(database.engine.url.database)), beside / FILE)
        files = sorted(path for path in images.folder.rglob("*") if path.is_file())
        for done, path in enumerate(files):
            if done % 500 == 0:
                _go_on(advance, done, len(files))
            place = beside / "images" / path.relative_to(images.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(path, place)
        _go_on(advance, len(files), len(files))
        write_json(
            beside / "backup.json",
            {
                "format": FORMAT, "made_by": f"blastscope {__version__}", "at": name,
                "database": FILE if database.is_sqlite else None, "images": len(files),
            },
        )  # fmt: skip
    return out


def _go_on(advance: Advance, done: int, total: int) -> None:
    if not advance(done, total):
        raise JobCancelledError


def check_restored(settings: Settings) -> None:
    """Refuse a folder that holds only half of a backup, which would look like lost cases.

    Raises:
        BlastscopeError: if the database or the images of a restored backup are missing, or the
            folder cannot be read.
    """
    told = settings.folder / "backup.json"
    try:
        if not told.is_file():
            return
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BlastscopeError(
            f"{settings.folder} cannot be read ({reason}): choose another folder."
        ) from error
    content = read_json(told)
    if content.get("format") != FORMAT:
        raise BlastscopeError(
            f"{told} is not of a backup that this version knows: update blastscope."
        )
    named = content.get("database")
    if named is None and settings.database == sqlite_url(settings.folder):
        raise BlastscopeError(
            f"{settings.folder} holds the images of a workbench on PostgreSQL: restore its "
            "database with pg_restore or psql, and give it with --database."
        )
    if named is not None and not (settings.folder / named).is_file():
        raise BlastscopeError(
            f"{settings.folder} lacks {named}: copy the whole backup into a new folder."
        )
    if content.get("images") and not any(settings.images.glob("*/*")):
        raise BlastscopeError(
            f"{settings.images} lacks the images: copy the whole backup into a new folder."
        )


def _copy_database(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)
        # Else whoever restores it would have this backup made once more.
        there.execute("UPDATE job SET state = 'done' WHERE kind = 'backup' AND state = 'running'")
    there.close()
    here.close()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
