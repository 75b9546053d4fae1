"""Normalize the stain of images: files in, files out; or arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import polars as pl

from blastscope.data.images import SEVERAL, UnusableImageError, large_in_turn
from blastscope.data.synthetic import MARKER
from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing, sha256_of_json, write_text
from blastscope.io.tables import write_csv
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.parallel import Item, cores, in_order
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.journal import Journal
from blastscope.stain.normalize import normalize_pixels
from blastscope.stain.optical_density import Pixels
from blastscope.stain.statistics import StainError, StainStatistics

TABLE = "stain.csv"
_WORK = ".stain.work"
_KIND = FolderKind("stain.json", "blastscope-stain/2", contents=(_WORK, MARKER))
_SYNTHETIC = "These images were made of synthetic cells by blastscope normalize-stain.\n"

SCHEMA: dict[str, pl.DataType] = {
    "file": pl.String(),  # the input, as the user named it
    "image": pl.String(),  # what was written, below the folder; null if nothing was
    "cell": pl.String(),
    "subject": pl.String(),
    "label": pl.String(),
    "method": pl.String(),
    "wedge": pl.Float64(),  # the angle between its two stains in degrees; null for reinhard
    "flags": pl.String(),  # what is odd about it, as in a cell table, joined by commas
    "problem": pl.String(),  # why it was refused; null if it was not
}


@dataclass(frozen=True)
class NormalizedImages:
    """What was done.

    Attributes:
        rows: one row for each image, with the columns of ``SCHEMA``.
        images: the normalized images in their order, None for one that was refused; empty if they
            were written.
        already: whether they had all been written before.
        again: how many had been written before, were gone, and were written again.
    """

    rows: pl.DataFrame
    images: tuple[Pixels | None, ...] = ()
    already: bool = False
    again: int = 0


@dataclass(frozen=True)
class _Done:
    image: InputImage
    flags: tuple[str, ...]
    pixels: Pixels | None
    wedge: float | None
    problem: str | None


def normalize_images(
    found: InputImages,
    reference: StainStatistics,
    out: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> NormalizedImages:
    """Give images the stain of a reference; black stays black.

    Images are written as PNG under their own names, in their own folders below ``out``, with a
    table beside them. An image that cannot be normalized is a row that says why. After a kill the
    same call goes on; what was written before and is gone is written again.

    Args:
        found: the images.
        reference: what they are normalized to.
        out: the folder to write to; None to return arrays.
        on_progress: called with the images done and their total.

    Raises:
        BlastscopeError: if no image can be normalized, two would have one name, or the folder is
            not ours or cannot be written.
    """
    if out is None:
        done = list(_told(_normalized(found.images, reference, found), 0, len(found), on_progress))
        rows = pl.concat([_row(one, reference, None) for one in done])
        _refuse_none(rows)
        return NormalizedImages(rows, tuple(one.pixels for one in done))
    names = _names(found)
    work = WorkFolder(out, _KIND, _identity(found, reference))
    with work.locked():
        there = work.open_or_resume()
        if found.synthetic and not work.has(MARKER):
            write_text(work.path / MARKER, _SYNTHETIC)
        if there and work.has(TABLE):
            rows = _table(out / TABLE, names)
            again = _write_gone(found, reference, work, names, rows, on_progress)
            return NormalizedImages(rows, already=again == 0, again=again)
        return _write(found, reference, work, names, on_progress)


def _write(
    found: InputImages,
    reference: StainStatistics,
    work: WorkFolder,
    names: Sequence[str],
    on_progress: Callable[[int, int], None] | None,
) -> NormalizedImages:
    journal = Journal(work.path / _WORK, {"of": str(work.identity["inputs"])})
    frames = journal.done()
    before = sum(map(len, frames))
    rest = zip(_normalized(found.images[before:], reference, found), names[before:], strict=True)
    fresh = (_saved(one, name, reference, work.path) for one, name in rest)
    frames += journal.keep(_told(fresh, before, len(found), on_progress))
    rows = pl.concat(frames)
    again = _write_gone(found, reference, work, names, rows[:before], None)
    try:
        _refuse_none(rows)
    except BlastscopeError:
        work.remove()  # no image is in it
        raise
    write_csv(rows, work.path / TABLE)
    journal.remove()
    return NormalizedImages(rows, again=again)


def _table(path: Path, names: Sequence[str]) -> pl.DataFrame:
    """Read the table of a folder that is finished; one that was changed since is refused."""
    try:
        rows = pl.read_csv(path, schema_overrides=SCHEMA)
    except (OSError, pl.exceptions.PolarsError):
        rows = pl.DataFrame()
    whole = rows.columns == list(SCHEMA) and len(rows) == len(names)
    if not whole or any(
        image not in (None, name) for image, name in zip(rows["image"], names, strict=True)
    ):
        raise BlastscopeError(
            f"{path} was changed since it was written: remove it, and give the same command again."
        )
    return rows


def _write_gone(
    found: InputImages,
    reference: StainStatistics,
    work: WorkFolder,
    names: Sequence[str],
    rows: pl.DataFrame,
    on_progress: Callable[[int, int], None] | None,
) -> int:
    """Write again what ``rows``, the first or all of them, name and is gone; return how many."""
    written = enumerate(rows["image"])
    gone = [k for k, image in written if image is not None and not work.has(image)]
    done = _normalized([found.images[k] for k in gone], reference, found)
    told = _told(done, len(found) - len(gone), len(found), on_progress)
    for one, k in zip(told, gone, strict=True):
        if one.problem is not None:  # such as a disk that fails: the table would be wrong
            raise BlastscopeError(
                f"{names[k]} is gone from {work.path} and cannot be written again: "
                f"{one.image.file or one.image.cell} {one.problem}."
            )
        _saved(one, names[k], reference, work.path)
    return len(gone)


def _normalized(
    images: Sequence[InputImage], reference: StainStatistics, found: InputImages
) -> Iterator[_Done]:
    with closing(found):
        yield from in_order(partial(_one, reference), images, ahead=cores() + 1)


@large_in_turn()
def _one(reference: StainStatistics, image: InputImage) -> _Done:
    flags = image.flags
    try:
        decoded = image.decode()
        flags = (*flags, *decoded.flags)
        if "frames" in flags:
            raise UnusableImageError("frames", SEVERAL)
        changed = normalize_pixels(decoded.pixels, reference)
    except (UnusableImageError, StainError) as error:
        return _Done(image, flags, None, None, str(error))
    return _Done(image, flags, changed.pixels, changed.own.wedge, None)


def _saved(done: _Done, name: str, reference: StainStatistics, out: Path) -> pl.DataFrame:
    if done.pixels is not None:
        _, encoded = cv2.imencode(".png", np.ascontiguousarray(done.pixels[..., ::-1]))
        with replacing(out / name) as beside:
            beside.write_bytes(encoded.tobytes())
    return _row(done, reference, name)


def _row(done: _Done, reference: StainStatistics, name: str | None) -> pl.DataFrame:
    image = done.image
    written = None if done.pixels is None else name
    values = (
        *(image.file, written, image.cell, image.subject, image.label),
        *(reference.method, done.wedge, ",".join(done.flags) or None, done.problem),
    )
    return pl.DataFrame([values], schema=SCHEMA, orient="row")


def _told(
    done: Iterator[Item], before: int, total: int, on_progress: Callable[[int, int], None] | None
) -> Iterator[Item]:
    for count, one in enumerate(done, before + 1):
        yield one
        if on_progress:
            on_progress(count, total)


def _names(found: InputImages) -> list[str]:
    """Return the path of each image below the folder; none leaves it, and no two are the same."""
    seen: dict[str, str] = {}
    names = []
    for image in found:
        path = PurePosixPath(image.file or image.cell)
        outside = path.is_absolute() or ".." in path.parts
        name = str(PurePosixPath(path.name if outside else path).with_suffix(".png"))
        key, said = name.casefold(), image.file or image.cell
        if key in seen:
            raise BlastscopeError(
                f"{seen[key]} and {said} would both be written to {name}: give them one after "
                "the other, with folders of their own."
            )
        seen[key] = said
        names.append(name)
    return names


def _identity(found: InputImages, reference: StainStatistics) -> dict[str, object]:
    inputs = sha256_of_json([found.digest(), *map(str, found.archives)])
    return {"inputs": inputs, "reference": reference.as_json()}


def _refuse_none(rows: pl.DataFrame) -> None:
    if rows["problem"].null_count() == 0:
        first = rows.row(0, named=True)
        raise BlastscopeError(
            f"None of {rows.height:,} images can be normalized: {first['file'] or first['cell']} "
            f"{first['problem']}."
        )
