"""An unfinished store: pixels on reserved disk space, and a file of rows for each done chunk."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from blastscope.data.cell_table import CELLS, HASH
from blastscope.data.crop import Pixels
from blastscope.data.store import INFO, PIXELS, TABLE, pixels_digest
from blastscope.errors import writing
from blastscope.io.files import remove_folder, write_json
from blastscope.io.tables import read_parquet, write_table
from blastscope.io.workfolder import FolderKind, WorkFolder

Item = TypeVar("Item")
_KIND = FolderKind("plan.json", scratch=True)
_PACKED = "packed.npy"
_ROW = "_row"


@dataclass(frozen=True)
class PartialStore:
    """The folder ``.<store>.partial`` and what is done in it.

    Attributes:
        size: the side of their images, pixels.
        chunk: how many cells are one part.
    """

    work: WorkFolder
    out: Path
    total: int
    size: int
    chunk: int

    @classmethod
    def begin(cls, out: Path, inputs: str, total: int, size: int, chunk: int) -> PartialStore:
        """Begin, or go on with, a store of ``total`` cells; ``inputs`` is the digest of its files.

        The room for the pixels is taken at once, so that a disk that is too full says so now.
        """
        out = out.absolute()
        identity = {"inputs": inputs, "total": total, "size": size, "chunk": chunk}
        work = WorkFolder(out.with_name(f".{out.name}.partial"), _KIND, identity)
        try:
            work.open_or_resume()
            if not work.has(PIXELS):
                with writing(out), work.add(PIXELS) as beside:
                    _new_pixels(beside, total, size)
        except BaseException:
            work.remove()
            raise
        return cls(work, out, total, size, chunk)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.work.path

    @cached_property
    def _pixels(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """The pixels, uint8, total × size × size × 3."""
        return np.lib.format.open_memmap(self.path / PIXELS, mode="r")

    @contextmanager
    def writer(self) -> Iterator[Callable[[int, Pixels], None]]:
        """Yield a function that writes a cell's pixels at its index.

        They are written, not copied into a memory map, in which every new page costs a page fault.
        They are on the disk when the block ends; otherwise, after a power cut, the chunk would
        count as done without its pixels.
        """
        with writing(self.out), (self.path / PIXELS).open("r+b") as file:

            def write(index: int, pixels: Pixels) -> None:
                file.seek(self._pixels.offset + index * pixels.nbytes)
                file.write(pixels.data)

            yield write
            file.flush()
            os.fsync(file.fileno())

    def todo(self) -> list[int]:
        """Return the numbers of the chunks that are not done."""
        chunks = range(-(-self.total // self.chunk))
        return [k for k in chunks if not self._rows(k).is_file()]

    @property
    def done_cells(self) -> int:
        """How many cells lie in chunks that are done, usable or not."""
        todo = sum(min(self.chunk, self.total - k * self.chunk) for k in self.todo())
        return self.total - todo

    def save_chunk(self, chunk: int, rows: Sequence[tuple[int, dict[str, object]]]) -> None:
        """Write the rows of a chunk whose pixels are written; each with its index among them."""
        records = [{_ROW: index, **row} for index, row in rows]
        frame = pl.DataFrame(records, schema={_ROW: pl.Int64(), **CELLS.columns})
        write_table(frame, self._rows(chunk), CELLS)

    def _rows(self, chunk: int) -> Path:
        return self.path / "rows" / f"{chunk:07d}.parquet"

    @cached_property
    def _done(self) -> pl.DataFrame:
        files = sorted((self.path / "rows").glob("[0-9]*.parquet"))
        empty = pl.DataFrame(schema={**CELLS.columns, _ROW: pl.Int64()})
        return pl.concat([empty, *(read_parquet(file) for file in files)]).sort(_ROW)

    def missing(self, items: Sequence[Item]) -> list[tuple[int, Item]]:
        """Return those of ``items`` (one for each cell, in order) that could not be used.

        Each comes with the number of its chunk.
        """
        have = set(self._done[_ROW].to_list())
        return [(k // self.chunk, item) for k, item in enumerate(items) if k not in have]

    def forget(self, chunks: Iterable[int]) -> None:
        """Make chunks undone."""
        with writing(self.out):
            for chunk in chunks:
                self._rows(chunk).unlink()
        self.__dict__.pop("_done", None)

    @property
    def cells(self) -> pl.DataFrame:
        """The rows of the cell table that are done."""
        return self._done.drop(_ROW)

    def finish_table(self, leave_out: Collection[str] = ()) -> pl.DataFrame:
        """Close the gaps that unusable cells left in the pixels and return the cell table.

        The files ``leave_out`` are left out of both.
        """
        done = self._done.filter(~pl.col("file").is_in(list(leave_out)))
        kept = done[_ROW].to_numpy()
        if len(kept) < self.total:
            self._close_gaps(kept)
        return done.drop(_ROW)

    def _close_gaps(self, kept: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        with writing(self.out):
            packed = _new_pixels(self.path / _PACKED, len(kept), self.size)
            for first in range(0, len(kept), self.chunk):
                packed[first : first + self.chunk] = self._pixels[kept[first : first + self.chunk]]
            packed.flush()

    def publish(self, cells: pl.DataFrame, info: dict[str, Any]) -> None:
        """Write the table and ``store.json``, and publish the folder under the store's name.

        A store that is there already (the caller decided that it goes) is replaced; other files in
        its folder, such as splits, stay.
        """
        note = {"synthetic": info["synthetic"], "pixel_hash": HASH}
        write_table(cells, self.path / TABLE, CELLS, note)
        self.work.seal()
        with writing(self.out):
            if (self.path / _PACKED).is_file():
                (self.path / _PACKED).replace(self.path / PIXELS)
            remove_folder(self.path / "rows")
            digest = pixels_digest(self.path / PIXELS)
        write_json(self.path / INFO, {**info, "pixels": digest})
        self.work.publish(self.out, INFO)


def _new_pixels(path: Path, cells: int, size: int) -> np.memmap[Any, np.dtype[np.uint8]]:
    """Map a new file of pixels, its disk space reserved: a map on a full disk kills its writer."""
    shape = (cells, size, size, 3)
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    return mapped
