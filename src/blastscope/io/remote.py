"""Files of object stores: ``s3://``, ``gs://`` and ``abfs://``, through fsspec.

Inputs are copied whole to this machine before they are read; outputs are made here and copied when
they are whole, so that nobody ever sees half of one. Credentials come from the environment, as the
store's own tools read them, and are never printed: messages name the kind of an error alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from blastscope.errors import BlastscopeError, writing
from blastscope.parallel import in_order

AnyPath = str | PathLike[str]
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
"""The schemes that are read, and the fsspec package behind each."""
MOST_BYTES = 64 * 2**30
"""The largest file that is copied."""
_MANY = 8
_BLOCK = 8 * 2**20
_URL = re.compile(rf"({'|'.join(PACKAGES)}):/{{1,2}}([^/].*)")  # Path makes one slash of two
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "created")
_KEPT: list[tempfile.TemporaryDirectory[str]] = []
"""Copies that are needed until this process ends, which removes them."""


def url_of(path: object) -> str | None:
    """Return the URL of a path in an object store; None if it is a local one."""
    if not isinstance(path, str | PathLike):
        return None
    match = _URL.fullmatch(os.fspath(path) if isinstance(path, PathLike) else path)
    return f"{match[1]}://{match[2]}" if match else None


def refuse_url(path: AnyPath | None, why: str) -> None:
    """Refuse a path in an object store.

    Args:
        path: a path; None is not one.
        why: what the message says after the URL: the reason, and what to do.

    Raises:
        BlastscopeError: if it is one.
    """
    url = url_of(path)
    if url is not None:
        raise BlastscopeError(f"{_shown(url)} {why}")


def refuse_remote(path: AnyPath | None) -> None:
    """Refuse a path in an object store as an input that is read from a local disk only.

    Raises:
        BlastscopeError: if it is one.
    """
    refuse_url(
        path,
        "is in an object store, from which only the images and tables of predict, prepare, "
        "segment, build and evaluate are read: copy it to a local disk.",
    )


def local(path: AnyPath) -> Path:
    """Return a local path as it is, or the copy of one in an object store.

    The copy is removed when this process ends.

    Raises:
        BlastscopeError: as :func:`download` does.
    """
    url = url_of(path)
    if url is None:
        return Path(path)
    keeper = tempfile.TemporaryDirectory(prefix="blastscope-")
    _KEPT.append(keeper)
    return download(url, Path(keeper.name))


def expand(url: str) -> list[str]:
    """Return the URLs that a pattern matches, sorted; a URL without one as it is.

    Raises:
        BlastscopeError: if nothing matches, or the store cannot be read.
    """
    if not set("*?[") & set(url):
        return [url]
    fs, path = _open(url)
    with _telling(url, "read"):
        found = sorted(fs.glob(path))
    if not found:
        raise BlastscopeError(f"{_shown(url)} matches nothing: correct the pattern.")
    scheme = url.partition("://")[0]
    return [f"{scheme}://{name}" for name in found]


def download(url: str, into: Path) -> Path:
    """Copy a file or a folder of an object store into a local folder, under its own name.

    Copies have the times of the originals, so that a resumed command knows them again.

    Raises:
        BlastscopeError: if it does not exist, may not be read, is too large, has a name that leads
            elsewhere, or the local disk has no room.
    """
    fs, path = _open(url)
    with _telling(url, "read"):
        if fs.isfile(path):
            found = {path: fs.info(path)}
            root = str(PurePosixPath(path).parent)
        else:
            found = fs.find(path, detail=True)
            root = str(PurePosixPath(path).parent)
            if not found:
                raise FileNotFoundError
    sizes = [int(info.get("size") or 0) for info in found.values()]
    if max(sizes) > MOST_BYTES:
        raise BlastscopeError(f"{_shown(url)} has a file of more than {MOST_BYTES:,} bytes.")
    if sum(sizes) > shutil.disk_usage(into).free * 0.9:
        raise BlastscopeError(
            f"{_shown(url)} has {sum(sizes) / 1e9:.1f} GB, more than {tempfile.gettempdir()} has "
            "room for: set TMPDIR to a larger disk."
        )

    def copy(name: str) -> None:
        inner = PurePosixPath(name).relative_to(root)
        if ".." in inner.parts:
            raise BlastscopeError(f"{_shown(url)} has a name that leads elsewhere: rename it.")
        target = into / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        with _telling(url, "read"), fs.open(name, "rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
        time = _time_of(found[name])
        if time is not None:
            os.utime(target, (time, time))

    for _ in in_order(copy, list(found), _MANY):
        pass
    return into / PurePosixPath(path).name


def exists(url: str) -> bool:
    """Whether there is a file or a folder of this URL.

    Raises:
        BlastscopeError: if the store cannot be read.
    """
    fs, path = _open(url)
    with _telling(url, "read"):
        return bool(fs.exists(path))


def upload(path: Path, url: str, last: str = "") -> None:
    """Copy a whole file or folder to an object store.

    Args:
        path: what to copy.
        url: where to; what is there of the same names is replaced.
        last: the file of a folder that says that it is whole, copied after all others.

    Raises:
        BlastscopeError: if it cannot be written.
    """
    fs, target = _open(url)
    if path.is_file():
        with _telling(url, "written"):
            fs.put_file(str(path), target)
        return
    files = sorted(
        one for one in path.rglob("*") if one.is_file() and not one.name.endswith(".lock")
    )

    def put(file: Path) -> None:
        with _telling(url, "written"):
            fs.put_file(str(file), f"{target}/{file.relative_to(path).as_posix()}")

    final = [file for file in files if file.relative_to(path).as_posix() == last]
    for _ in in_order(put, [file for file in files if file not in final], _MANY):
        pass
    for file in final:
        put(file)


@contextmanager
def uploaded(
    url: str, last: str = "", *, force: bool = False, beside: Sequence[str] = ()
) -> Iterator[Path]:
    """Give a local path to write what becomes the file or folder ``url`` when the block ends.

    The path is the same for every call of the same URL, so that a killed command goes on with what
    it has. It is removed once all is copied.

    Args:
        url: what to write.
        last: as :func:`upload` takes it.
        force: whether to replace files that are there. A folder beside is never replaced: its old
            files would stay among the new ones.
        beside: names of what the block may write beside ``url``.

    Raises:
        BlastscopeError: if it, or what comes beside it, is there and not to be replaced, or it
            cannot be written. What a killed call may have copied beside it is replaced.
    """
    if not force:
        _refuse_there(url)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "blastscope" / "uploads" / hashlib.sha256(url.encode()).hexdigest()[:24]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not any(folder.iterdir()):
        for name in beside:
            _refuse_there(f"{url.rpartition('/')[0]}/{name}", but_files=force)
    place = folder / PurePosixPath(url).name
    yield place
    others = [one for one in folder.iterdir() if one != place and not one.name.startswith(".")]
    for one in others:  # such as the table of subjects
        upload(one, f"{url.rpartition('/')[0]}/{one.name}")
    upload(place, url, last)
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_there(url: str, *, but_files: bool = False) -> None:
    fs, path = _open(url)
    with _telling(url, "read"):
        there = fs.exists(path) and not (but_files and fs.isfile(path))
    if there:
        raise BlastscopeError(f"{_shown(url)} exists already: choose another name.")


def _open(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    scheme, _, rest = url.partition("://")
    package = PACKAGES[scheme]
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise BlastscopeError(
            f"A {scheme}:// URL must not hold credentials: put them into the environment."
        )
    if find_spec("fsspec") is None or find_spec(package) is None:
        install = "'blastscope[cloud]'" if package == "s3fs" else package
        raise BlastscopeError(
            f"{scheme}:// needs {package}: install it with pip install {install}."
        )
    import fsspec

    with _telling(url, "read"):
        fs, path = fsspec.core.url_to_fs(url.rstrip("/"))
        fs.invalidate_cache()
    return fs, str(path)


@contextmanager
def _telling(url: str, what: str) -> Iterator[None]:
    """Turn whatever a store raises into one sentence, without its text, which may hold secrets."""
    try:
        yield
    except BlastscopeError:
        raise
    except FileNotFoundError:
        raise BlastscopeError(f"{_shown(url)} does not exist: correct the URL.") from None
    except PermissionError:
        raise BlastscopeError(
            f"{_shown(url)} cannot be {what} with the credentials of the environment: correct them."
        ) from None
    except Exception as error:
        raise BlastscopeError(
            f"{_shown(url)} cannot be {what} ({type(error).__name__}): check the URL, the "
            "credentials in the environment and the network."
        ) from None


def _shown(url: str) -> str:
    """Return a URL as messages show it: without what may be a secret."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"


def _time_of(info: dict[str, Any]) -> float | None:
    for name in _TIMES:
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
