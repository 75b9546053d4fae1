"""The settings and limits of a workbench."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blastscope.data.images import MAX_BYTES, MAX_PIXELS

MOST_FILES = 20_000
"""Files that a case takes."""
MOST_ZIP_BYTES = 2 * 2**30
"""The largest zip that is taken."""
MOST_JSON_BYTES = 4 * 2**20
"""The largest body of a request that is not a file."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """Where a workbench keeps its data, what it scores with, and how it is reached."""

    folder: Path  # of the images, and of the database if it is SQLite
    database: str  # its URL
    models: tuple[Path, ...]  # of the default model, absolute, as ``open_model`` takes them
    host: str = "127.0.0.1"
    port: int = 8400
    names: tuple[str, ...] = LOOPBACK  # the names under which browsers may ask for it
    reference: Path | None = None  # a store of labelled cells to compare with, absolute
    secure: bool = False  # whether browsers reach it by HTTPS, by its own certificate or a proxy's
    behind_proxy: bool = False  # whether requests come from a proxy

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.folder / "images"

    @property
    def incoming(self) -> Path:
        """The folder of files that are still being sent."""
        return self.folder / "incoming"

    @property
    def backups(self) -> Path:
        """The folder of backups."""
        return self.folder / "backups"


def limits() -> dict[str, int]:
    """Return what a page should know before it sends files."""
    return {
        "file_bytes": MAX_BYTES,
        "files": MOST_FILES,
        "pixels": MAX_PIXELS,
        "zip_bytes": MOST_ZIP_BYTES,
    }
