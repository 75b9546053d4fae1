"""Prepare the cells of a study: one store per preparation, one split per protocol and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from blastscope.data.preparation import prepare
from blastscope.data.split_table import describe, read_split
from blastscope.data.splits import make_split, refuse_overlap
from blastscope.data.store import INFO, StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.reproduction.plan import StudyJob
from blastscope.reproduction.study_folder import study_folder


def prepare_cells(
    data: Path, out: Path, jobs: Sequence[StudyJob], on_progress: Callable[[int, int], None] | None
) -> None:
    """Make the stores and splits that ``jobs`` need, if they are not there.

    Raises:
        BlastscopeError: if the data cannot be used or split, or ``out`` is another kind of folder
            or a study of other cells.
    """
    study_folder(data, out).open_or_resume()
    for path, settings in {job.store(out): job.settings for job in jobs}.items():
        _prepare_store(data, path, settings, on_progress)
    for job in jobs:
        # The split follows from the names of the cells, which are the same in every store.
        if not job.split(out).is_file():
            make_split(job.store(out), job.protocol, job.seed, out=job.split(out))
    for split, store in {job.split(out): job.store(out) for job in jobs}.items():
        refuse_overlap(describe(read_split(split), open_store(store).cells))


def _prepare_store(
    data: Path,
    path: Path,
    settings: StoreSettings,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    if (path / INFO).is_file():
        try:
            open_store(path)
        except BlastscopeError as error:
            raise BlastscopeError(
                f"{path} is damaged: remove it, and give the same command again."
            ) from error
    prepare([data], path, settings, on_progress=on_progress)
