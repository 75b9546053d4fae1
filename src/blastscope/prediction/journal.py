"""What a long prediction has done so far, so that a killed one goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from blastscope.io.files import read_json, remove_folder, replacing, write_json

ROWS = 512
"""Rows in each part."""


class Journal:
    """Finished rows of one prediction, in parts of ``ROWS``, in a folder beside its table.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        """Open the folder, or begin it anew where it is of another prediction.

        Args:
            path: the folder.
            identity: what decides the rows: images, model and settings.

        Raises:
            BlastscopeError: where it cannot be written.
        """
        self.path = path
        if self._identity() != identity:
            remove_folder(path)
            write_json(path / "identity.json", identity)
        self._parts = 0

    def _identity(self) -> object:
        place = self.path / "identity.json"
        return read_json(place) if place.is_file() else None

    def done(self) -> list[pl.DataFrame]:
        """Return the parts of an earlier process, in order."""
        parts: list[pl.DataFrame] = []
        while (place := self._place(len(parts))).is_file():
            parts.append(pl.read_parquet(place))
        self._parts = len(parts)
        return parts

    def keep(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Keep rows as they come, a part at a time, and yield the parts."""
        waiting: list[pl.DataFrame] = []
        for frame in frames:
            waiting.append(frame)
            if sum(map(len, waiting)) >= ROWS:
                yield self._kept(waiting)
                waiting = []
        if waiting:
            yield self._kept(waiting)

    def _kept(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        part = pl.concat(frames)
        with replacing(self._place(self._parts)) as beside:
            part.write_parquet(beside)
        self._parts += 1
        return part

    def _place(self, number: int) -> Path:
        return self.path / f"{number:06}.parquet"
