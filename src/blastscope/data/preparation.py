"""Prepare a store: on all cores, in memory that does not grow with the cells, resumable.

Work goes on in a folder beside the store, ``.<name>.partial``, in chunks whose rows are written
after their pixels; after a kill the same command goes on with the chunks that are not done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl
import xxhash

from blastscope.data.cell_table import CELLS
from blastscope.data.contradictions import label_conflicts
from blastscope.data.crop import BEYOND, Pixels, is_beyond_field, prepared
from blastscope.data.images import UnusableImageError, large_in_turn
from blastscope.data.inspection import Inspection, inspect_cell
from blastscope.data.layouts import Believe, CellFile, Listing, Problem, list_cells
from blastscope.data.partial_store import PartialStore
from blastscope.data.store import (
    INFO,
    PIXELS,
    TABLE,
    StoreSettings,
    open_store,
    settings_from,
    store_info,
)
from blastscope.errors import BlastscopeError
from blastscope.io.files import only_one, read_json, write_json
from blastscope.io.remote import url_of
from blastscope.parallel import cores, in_order

CHUNK = 128
_REMEDY = "Replace or remove them, or leave them out (--skip-bad)"


@dataclass(frozen=True)
class Prepared:
    """The result of preparing a store."""

    path: Path
    cells: int
    skipped: tuple[Problem, ...]
    already: bool
    """True if the store was there, made of the same files with the same settings."""
    synthetic: bool
    flags: dict[str, int] = field(default_factory=dict)
    """How many cells have each flag."""
    labels: dict[str, int] = field(default_factory=dict)
    """How many cells have each label."""
    resumed: int = 0
    """How many cells an earlier, interrupted run had done."""
    notes: tuple[str, ...] = ()
    """Which tables gave labels, what was assumed, and what was not read."""


def prepare(
    folders: Sequence[Path],
    out: Path,
    settings: StoreSettings | None = None,
    *,
    labels: Path | None = None,
    believe: Believe | None = None,
    skip_bad: bool = False,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    names: Sequence[str] = (),
) -> Prepared:
    """Make the store ``out`` from folders of cell images.

    The same files and settings again are a no-op; a store of other files or settings is left alone
    unless ``--force``.

    Args:
        believe: what to believe if a name, a folder and a table contradict each other.
        skip_bad: leave out files that cannot be used; otherwise they are an error.
        force: replace a store made of other files or with other settings.
        names: what the store records as its folders, if these are copies.

    Raises:
        BlastscopeError: if files cannot be used (all are named at once), ``out`` is another kind of
            folder, or it cannot be written.
    """
    found = list_cells(folders, labels, believe)
    wanted = settings or StoreSettings()
    return prepare_listed(
        found, names or folders, out, wanted, skip_bad=skip_bad, force=force,
        on_progress=on_progress,
    )  # fmt: skip


def prepare_listed(
    found: Listing,
    folders: Sequence[Path | str],
    out: Path,
    settings: StoreSettings,
    *,
    skip_bad: bool = False,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    remedy: str = _REMEDY,
) -> Prepared:
    """Make a store of cells that are listed already, as :func:`prepare` does.

    Args:
        found: the cells; the store has them in this order.
        folders: the folders that they come from, for the store's record.
        remedy: what to do if files cannot be used.
    """
    inputs = inputs_digest(found, settings)
    with only_one(out.absolute()):
        skipped = _skipped(out, settings, inputs, force)
        if skipped is not None:
            if skipped and not skip_bad:
                raise BlastscopeError(_refusal(skipped, remedy))
            _record_sources(out, _sources(folders))
            store = open_store(out)
            notes = tuple(found.notes)
            return Prepared(out, len(store), tuple(skipped), True, store.synthetic, notes=notes)
        partial = PartialStore.begin(out, inputs, len(found.cells), settings.size, CHUNK)
        resumed = partial.done_cells
        bad = [*found.problems, *_fill(partial, found.cells, settings, on_progress)]
        conflicts = label_conflicts(partial.cells)
        bad += conflicts
        if bad and not skip_bad:
            partial.work.remove()
            raise BlastscopeError(_refusal(bad, remedy))
        cells = partial.finish_table({problem.file for problem in conflicts})
        if cells.height == 0:
            partial.work.remove()
            why = f": {bad[0].file} {bad[0].message}" if bad else ""
            where = ", ".join(str(folder) for folder in folders)
            raise BlastscopeError(f"No image in {where} can be used{why}.")
        lost = {item.label for item in found.cells if item.label} - set(cells["label"].drop_nulls())
        if lost:
            partial.work.remove()
            raise BlastscopeError(
                f"Every cell of the class {' and '.join(sorted(lost))} would be left out: "
                f"{_refusal(bad, 'Replace them')}"
            )
        if found.synthetic:
            cells = cells.with_columns(pl.col("flags").list.concat(pl.lit(["synthetic"])))
        info = store_info(cells, settings, _sources(folders), inputs, found.synthetic)
        partial.publish(cells, {**info, "skipped": [asdict(problem) for problem in bad]})
    counts = cells["flags"].explode().drop_nulls().value_counts().sort("flags")
    flags = {str(flag): int(count) for flag, count in counts.iter_rows() if flag != "synthetic"}
    labels = dict(cells["label"].drop_nulls().value_counts().sort("label").iter_rows())
    return Prepared(
        out,
        cells.height,
        tuple(bad),
        False,
        found.synthetic,
        flags,
        labels,
        resumed,
        tuple(dict.fromkeys(found.notes)),
    )


def _sources(folders: Sequence[Path | str]) -> list[str]:
    """Return where the images are, so that the store finds them from any working folder."""
    return [url_of(folder) or _absolute(Path(folder)) for folder in folders]


def _absolute(folder: Path) -> str:
    """Return a path without ``..``, unless that leads elsewhere because of a link."""
    plain = Path(os.path.normpath(folder.absolute()))
    return str(plain if plain.resolve() == folder.resolve() else folder.absolute())


def _record_sources(out: Path, sources: list[str]) -> None:
    """Record where the images of a store are now, if they have been moved."""
    info = read_json(out / INFO)
    if info.get("sources") != sources:
        write_json(out / INFO, info | {"sources": sources})


def inputs_digest(found: Listing, settings: StoreSettings) -> str:
    """Return a digest of the files (name, size, time, label, subject, fold) and the settings."""
    digest = xxhash.xxh3_128(repr((settings, found.problems)).encode())
    if settings.stain is not None:
        digest.update(repr(settings.stain).encode())
    for item in found.cells:
        try:
            state = item.path.stat()
        except OSError as error:
            raise BlastscopeError(f"{item.path} cannot be read: {error.strerror}.") from error
        known = (item.cell, item.file, item.label, item.subject, item.fold)
        digest.update(repr((known, state.st_size, state.st_mtime_ns)).encode())
    return f"xxh3_128:{digest.hexdigest()}"


def _skipped(out: Path, settings: StoreSettings, inputs: str, force: bool) -> list[Problem] | None:
    """Return what was left out of the store that is asked for; None if it is to be made."""
    if not out.exists():
        return None
    if not (out / INFO).is_file():
        ours = {TABLE, PIXELS, "splits"}  # a store whose replacing was interrupted
        if out.is_dir() and {path.name for path in out.iterdir()} <= ours:
            return None
        raise BlastscopeError(f"{out} exists and is not a store: choose another folder.")
    try:
        open_store(out)
        info = read_json(out / INFO)
    except BlastscopeError as error:
        if force:
            return None
        raise BlastscopeError(f"{error} Or replace it with `prepare --force`.") from error
    if info.get("inputs") == inputs:
        return [Problem(*problem.values()) for problem in info.get("skipped", ())]
    if force:
        return None
    made_with = settings_from(info, out).differences(settings)
    raise BlastscopeError(
        f"{out} is a store made {f'with {made_with}' if made_with else 'of other files'}: choose "
        "another folder, or replace it with `prepare --force`."
    )


def _fill(
    partial: PartialStore,
    cells: Sequence[CellFile],
    settings: StoreSettings,
    on_progress: Callable[[int, int], None] | None,
) -> list[Problem]:
    """Prepare every chunk that is not done; return the files that could not be used."""

    def work(chunk: int) -> int:
        first = chunk * CHUNK
        files = cells[first : first + CHUNK]
        rows = []
        with partial.writer() as write:
            for index, item in enumerate(files, first):
                cell = _one(item, settings)
                if not isinstance(cell, Problem):
                    write(index, cell[1])
                    rows.append((index, cell[0]))
        partial.save_chunk(chunk, rows)
        return len(files)

    done = partial.done_cells
    for count in in_order(work, partial.todo(), cores() + 1):  # one of them waits for the disk
        done += count
        if on_progress:
            on_progress(done, len(cells))
    # They are inspected again, which is cheap, so that a resumed call names all of them as well.
    seen = [(chunk, _one(item, settings)) for chunk, item in partial.missing(cells)]
    # The disk may have failed for a while, or a file may be readable only now.
    usable_now = {chunk for chunk, outcome in seen if not isinstance(outcome, Problem)}
    if usable_now:
        partial.forget(usable_now)
        return _fill(partial, cells, settings, on_progress)
    return [outcome for _, outcome in seen if isinstance(outcome, Problem)]


@large_in_turn()
def _one(item: CellFile, settings: StoreSettings) -> tuple[dict[str, object], Pixels] | Problem:
    """Return a cell's row and pixels, or why it cannot be used."""
    seen = inspect_cell(item, settings.contour)
    if not isinstance(seen, Inspection):
        return seen
    box = seen.located.box
    try:
        pixels = prepared(
            seen.pixels, box, settings.size, settings.scale, settings.clahe, settings.stain
        )
    except UnusableImageError as error:
        return Problem(item.file, error.kind, str(error))
    flags = list(seen.flags)
    if is_beyond_field(box, settings.scale):
        flags.append(BEYOND)
    row = (item.cell, item.file, item.label, item.subject, item.fold)
    values = (*row, box.x, box.y, box.w, box.h, seen.pixel_hash, flags)
    return dict(zip(CELLS.columns, values, strict=True)), pixels


def _refusal(bad: Sequence[Problem], remedy: str) -> str:
    files = "; ".join(f"{problem.file} {problem.message}" for problem in bad)
    count = "1 file" if len(bad) == 1 else f"{len(bad)} files"
    if any(problem.kind in ("label", "subject") for problem in bad):
        remedy = f"{remedy}, or say with --believe what to trust if two contradict each other"
    return f"{count} cannot be used: {files}. {remedy}."
