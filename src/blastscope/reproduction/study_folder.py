"""The folder of a study: its marker, the cells that it was begun with, their stores and splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from blastscope.data.layouts import list_cells
from blastscope.data.preparation import inputs_digest, prepare
from blastscope.data.split_table import describe, read_split
from blastscope.data.splits import make_split, refuse_overlap
from blastscope.data.store import INFO, Store, StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.reproduction.plan import StudyJob

MARKER = "study.json"
_KIND = FolderKind(MARKER, "blastscope-study/2")


def study_folder(data: Path, out: Path) -> WorkFolder:
    """Return the work folder of a study of the cells in ``data``."""
    # One digest for all stores: the study's identity does not depend on how cells are prepared.
    return WorkFolder(out, _KIND, {"cells": inputs_digest(list_cells([data]), StoreSettings())})


def whole_stores(out: Path) -> Iterator[Store]:
    """Open the stores of a study, without what an interrupted preparation left."""
    for path in sorted((out / "stores").glob("[!.]*")):
        try:
            yield open_store(path)
        except BlastscopeError:  # not whole: what needs this very store says so
            continue


def prepare_cells(
    data: Path, out: Path, jobs: Sequence[StudyJob], on_progress: Callable[[int, int], None] | None
) -> None:
    """Make the stores and splits that ``jobs`` need, if they are not there.

    Raises:
        BlastscopeError: if the data cannot be used or split, or ``out`` is another kind of folder
            or a study of other cells.
    """
    folder, there = study_folder(data, out), out.is_dir()
    folder.open_or_resume()
    try:
        _prepare(data, out, jobs, on_progress)
    except BlastscopeError:
        _forget_if_empty(folder, there)
        raise


def _forget_if_empty(folder: WorkFolder, there: bool) -> None:
    """Remove the marker if nothing was made: corrected cells are others, which it would refuse.

    The folder goes as well, unless it was ``there`` before.
    """
    for name in ("stores", "splits"):
        with suppress(OSError):  # it holds something, or was not made
            (folder.path / name).rmdir()
    if set(folder.path.iterdir()) == {folder.marker}:
        folder.seal()
        if not there:
            folder.remove()


def _prepare(
    data: Path, out: Path, jobs: Sequence[StudyJob], on_progress: Callable[[int, int], None] | None
) -> None:
    """Make stores and splits in a folder that is begun."""
    for path, settings in {job.store(out): job.settings for job in jobs}.items():
        if (path / INFO).is_file():
            try:
                open_store(path)
            except BlastscopeError as error:
                raise BlastscopeError(
                    f"{path} is damaged: remove it, and give the same command again."
                ) from error
        prepare([data], path, settings, on_progress=on_progress)
    for job in jobs:
        # The split follows from the names and source pixels of the cells, the same in every store.
        if not job.split(out).is_file():
            make_split(job.store(out), job.protocol, job.seed, out=job.split(out))
    for split, store in {job.split(out): job.store(out) for job in jobs}.items():
        refuse_overlap(describe(read_split(split), open_store(store).cells))
