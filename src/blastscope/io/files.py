"""Read and write files; each is written beside its place and renamed, so that it is whole."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError, writing
from blastscope.io.remote import refuse_url


def refuse_store(path: Path) -> None:
    """Refuse a path in an object store, from which a local folder ``s3:`` would be made.

    Raises:
        BlastscopeError: if it is one.
    """
    refuse_url(path, "is in an object store, where this cannot be written: give a local path.")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; rename it to ``path`` if the block raised nothing.

    Yields:
        A path in the same folder and with the same suffix (libraries choose a format by it).

    Raises:
        BlastscopeError: if it cannot be written, or is in an object store.
    """
    refuse_store(path)
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Keep a second process from writing ``path`` while the block runs.

    The folder of ``path`` is made; if nothing came into it, it goes again.

    Raises:
        BlastscopeError: if another process writes it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = path.with_name(f".{path.name}.lock")
    made = not path.parent.exists()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()  # its error names the reason
        try:
            held = FileLock(lock, timeout=0).acquire()
        except Timeout:
            raise BlastscopeError(
                f"{path} is being written by another process: wait, or choose another folder."
            ) from None
    try:
        with held:
            yield
    finally:
        lock.unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # it holds something
                path.parent.rmdir()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path`` to fill; it becomes ``path`` if the block raised nothing.

    An older folder of that name goes only when the new one is whole.

    Raises:
        BlastscopeError: if another process writes ``path``, it cannot be written, or is in an
            object store.
    """
    refuse_store(path)
    beside, before = (path.with_name(f".{path.name}.{word}") for word in ("part", "before"))
    with only_one(path.absolute()), writing(path):
        if before.exists() and not path.exists():  # a process was killed between two renames
            before.rename(path)
        remove_folder(beside)
        beside.mkdir(parents=True)
        try:
            yield beside
            remove_folder(before)
            if path.exists():
                path.rename(before)
            try:
                beside.rename(path)
            except OSError:
                if before.exists():
                    before.rename(path)
                raise
            remove_folder(before)
        finally:
            remove_folder(beside)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def without_nan(content: Any) -> Any:
    """Return nested dicts and lists with None in place of NaN and infinity, as JSON needs them."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read_json(path: Path, limit: int = 16 * 2**20) -> dict[str, Any]:
    """Read a JSON object from a file of at most ``limit`` bytes.

    Raises:
        BlastscopeError: if the file is missing, too large or not a JSON object.
    """
    try:
        if path.stat().st_size > limit:
            raise BlastscopeError(
                f"{path} is larger than {limit} bytes: give a file that blastscope wrote."
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise BlastscopeError(f"{path} is not valid JSON ({error}): make it again.") from error
    if not isinstance(content, dict):
        raise BlastscopeError(f"{path} is not a JSON object: make it again.")
    return content


def refuse_other_version(content: Any, known: str, path: Path | str, again: str) -> None:
    """Refuse JSON of another kind or version than ``known``, ``<kind>/<version>``.

    ``again`` is the command that writes the file.

    Raises:
        BlastscopeError: naming ``path``, if ``content`` has another format.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found == known:
        return
    kind, _, version = known.rpartition("/")
    theirs, _, number = str(found).rpartition("/")
    if theirs != kind or not number.isdigit():
        raise BlastscopeError(f"{path} is not a {kind} file: give one that `{again}` wrote.")
    if int(number) < int(version):
        raise BlastscopeError(f"{path} was written by an older blastscope: run `{again}` again.")
    raise BlastscopeError(f"{path} was written by a newer blastscope: update this one.")


def sha256_of(path: Path) -> str:
    """Return ``sha256:<hex digest>`` of a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(content: Any) -> str:
    """Return ``sha256:<hex digest>`` of ``content`` as JSON, in one spelling."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def sqlite_url(path: Path) -> str:
    """Return the URL by which SQLAlchemy opens an SQLite file, whatever signs its path has."""
    from sqlalchemy import URL, make_url

    whole = str(path.resolve())
    plain = f"sqlite:///{whole}"
    if make_url(plain).database == whole:
        return plain
    return URL.create("sqlite", database=whole).render_as_string()  # it has ? or %, for example


def remove_folder(path: Path) -> None:
    """Remove a folder that blastscope made, if it is there."""
    with writing(path):
        if path.exists():
            shutil.rmtree(path)


def remove_path(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
