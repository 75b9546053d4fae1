"""The folder of a study: known by its marker, and of the cells that it was begun with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blastscope.data.layouts import list_cells
from blastscope.data.preparation import inputs_digest
from blastscope.data.store import Store, StoreSettings, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.workfolder import FolderKind, WorkFolder

MARKER = "study.json"
_KIND = FolderKind(MARKER, "blastscope-study/2")


def study_folder(data: Path, out: Path) -> WorkFolder:
    """Return the work folder of a study of the cells in ``data``.

    Raises:
        BlastscopeError: if the data cannot be listed.
    """
    # One digest for all stores: how cells are prepared is no part of the study's identity.
    return WorkFolder(out, _KIND, {"cells": inputs_digest(list_cells([data]), StoreSettings())})


def whole_stores(out: Path) -> Iterator[Store]:
    """Open the stores of a study, without what an interrupted preparation left."""
    for path in sorted((out / "stores").glob("[!.]*")):
        try:
            yield open_store(path)
        except BlastscopeError:  # not whole: what needs this very store says so
            continue
