"""Keep a list of the pages of cells in a folder, so that those of an earlier report can go."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import read_json, write_json

LIST = ".pages.json"
"""It names the pages before the first is written, so that the next report removes what a stopped
one left."""


def note_pages(folder: Path, names: Collection[str]) -> None:
    """Note that pages are about to be written, beside those that were noted before.

    Args:
        folder: of the pages.
        names: of ``explain_pages.page_names``.

    Raises:
        BlastscopeError: if the folder cannot be written.
    """
    if names:
        write_json(folder / LIST, {"pages": sorted(_noted(folder).union(names))})


def remove_other_pages(folder: Path, names: Collection[str], figures: Path | None = None) -> None:
    """Remove the pages that were noted and are not among ``names``, and nothing else.

    Args:
        folder: of the pages.
        names: of the pages that stay.
        figures: the folder that has a folder of figures for each page; None if there is none.

    Raises:
        BlastscopeError: if a file cannot be removed.
    """
    noted = _noted(folder)
    with writing(folder):
        for name in sorted(noted.difference(names)):
            (folder / f"{name}.html").unlink(missing_ok=True)
            if figures is not None:
                remove_figures(figures / name)
        if names:
            write_json(folder / LIST, {"pages": sorted(names)})
        elif noted:
            (folder / LIST).unlink()
            _remove_empty(folder)


def remove_figures(folder: Path, drawn: Collection[str] = ()) -> None:
    """Remove a page's figures but for those in ``drawn``, and the folder if nothing is left.

    Raises:
        BlastscopeError: if a file cannot be removed.
    """
    with writing(folder):
        for pattern in ("heatmaps.png", "classes.png", "maps-*.png"):
            for path in folder.glob(pattern):
                if path.stem not in drawn:
                    path.unlink(missing_ok=True)
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _noted(folder: Path) -> set[str]:
    if not (folder / LIST).is_file():
        return set()
    try:
        pages = read_json(folder / LIST).get("pages")
    except BlastscopeError:  # not ours, or damaged: then nothing is known to be ours
        return set()
    names = [str(name) for name in pages] if isinstance(pages, list) else []
    return {name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name)}
