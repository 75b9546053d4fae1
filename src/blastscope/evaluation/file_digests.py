"""Digests of the files that an evaluation wrote, for `blastscope verify`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from blastscope.errors import writing
from blastscope.io.files import read_json, sha256_of, write_json

NAME = "evaluation-digests.json"
FORMAT = "blastscope-evaluation-digests/1"
_FILES = ("metrics.json", "decision.json", "card.md", "report.html")


def forget_digests(folder: Path) -> None:
    """Remove older digests, before files are replaced: a stop in between must not accuse them."""
    with writing(folder):
        (folder / NAME).unlink(missing_ok=True)


def record_digests(folder: Path, plots: Iterable[Path]) -> None:
    """Write the SHA-256 of an evaluation's files, and of its ``plots``, beside them.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    files = [*(folder / name for name in _FILES), *plots]
    digests = {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path.is_file()
    }
    write_json(folder / NAME, {"format": FORMAT, "digests": digests})


def recorded_digests(folder: Path) -> Mapping[str, str | None]:
    """Return the digest of each file of a folder's evaluation; None if nothing records it.

    Raises:
        BlastscopeError: if the file with the digests cannot be read.
    """
    path = folder / NAME
    found = read_json(path).get("digests") if path.is_file() else None
    recorded = found if isinstance(found, dict) else {}
    unknown = [name for name in _FILES if (folder / name).is_file() and name not in recorded]
    return {**recorded, **dict.fromkeys(unknown)}
