"""The finished rows of a long prediction, so that the same command goes on after a kill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import polars as pl

from blastscope.io.tables import read_parquet, write_parquet
from blastscope.io.workfolder import FolderKind, WorkFolder

ROWS = 512
"""Rows in each part."""
_KIND = FolderKind("identity.json", scratch=True)


class Journal:
    """Finished rows of one prediction, in parts of ``ROWS``, in a folder beside its table."""

    def __init__(self, path: Path, identity: Mapping[str, str]) -> None:
        """Open the folder, or begin it again if it is of another prediction.

        ``identity`` is what the rows follow from: images, model and settings.

        Raises:
            BlastscopeError: if it cannot be written.
        """
        self._work = WorkFolder(path, _KIND, identity)
        self._work.open_or_resume()
        self._parts = 0

    def done(self) -> list[pl.DataFrame]:
        """Return the parts of an earlier process, in order, up to the first that is missing."""
        parts: list[pl.DataFrame] = []
        while self.has(len(parts)):
            parts.append(self.part(len(parts)))
        self._parts = len(parts)
        return parts

    def has(self, number: int) -> bool:
        """Whether a part is there; parts need not be finished in their order."""
        return self._work.has(_part(number))

    def part(self, number: int) -> pl.DataFrame:
        """Return a part that is there."""
        return read_parquet(self._work.path / _part(number))

    def write(self, number: int, rows: pl.DataFrame) -> None:
        """Keep a part."""
        with self._work.add(_part(number)) as beside:
            write_parquet(rows, beside)

    def keep(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Keep rows as they come, a part at a time, and yield the parts."""
        waiting: list[pl.DataFrame] = []
        for frame in frames:
            waiting.append(frame)
            if sum(map(len, waiting)) >= ROWS:
                yield self._add(waiting)
                waiting = []
        if waiting:
            yield self._add(waiting)

    def _add(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        rows = pl.concat(frames)
        self.write(self._parts, rows)
        self._parts += 1
        return rows

    def remove(self) -> None:
        """Remove the folder: the table is written, or there is nothing to go on from."""
        self._work.remove()


def _part(number: int) -> str:
    return f"{number:06}.parquet"
