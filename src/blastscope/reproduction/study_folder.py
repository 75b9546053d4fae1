"""The folder of a study: known by its mark, and of the cells that it was begun with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from blastscope.data.layouts import list_cells
from blastscope.data.preparation import inputs_digest
from blastscope.data.split_table import read_split
from blastscope.data.store import INFO, Store, open_store
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, write_json

MARK, FORMAT = "study.json", "blastscope-study/1"
_PARTS = ("stores", "splits", "runs")


def mark(out: Path) -> None:
    """Mark ``out`` as a study's folder.

    Raises:
        BlastscopeError: where it cannot be written.
    """
    if not (out / MARK).is_file():
        write_json(out / MARK, {"format": FORMAT})


def refuse_other_folder(out: Path) -> None:
    """Refuse a folder with other things than a study: its report could replace one of them.

    Raises:
        BlastscopeError: where ``out`` is no folder, or holds something and is no study.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise BlastscopeError(f"{out} is no folder: choose another --out.")
    if _is_marked(out) or any((out / part).is_dir() for part in _PARTS):
        return
    others = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    if others:
        raise BlastscopeError(
            f"{out} holds {others[0]} and is no study: choose another --out, or an empty folder."
        )


def refuse_other_cells(data: Path, out: Path) -> None:
    """Refuse a study whose stores or splits were made of other cells than those of ``data``.

    Raises:
        BlastscopeError: where they were, a split is damaged, or the data cannot be listed.
    """
    found = list_cells([data])
    for store in whole_stores(out):
        made_of = read_json(store.path / INFO).get("inputs")
        if made_of != inputs_digest(found, store.settings):
            raise other_cells(data, out)
    labelled = {item.cell for item in found.cells if item.label is not None}
    for path in sorted((out / "splits").glob("*-seed*.parquet")):
        if set(read_split(path).table["cell"]) != labelled:
            raise other_cells(data, out)


def other_cells(data: Path, out: Path) -> BlastscopeError:
    """Say that a study is of other cells."""
    return BlastscopeError(
        f"{out} is a study of other cells than {data} holds now: choose another --out."
    )


def whole_stores(out: Path) -> Iterator[Store]:
    """Open the stores of a study, leaving out what an interrupted preparation left."""
    for path in sorted((out / "stores").glob("*")):
        if path.name.startswith(".") or path.suffix == ".partial":
            continue
        try:
            yield open_store(path)
        except BlastscopeError:  # not whole: whoever wants this very store says so
            continue


def _is_marked(out: Path) -> bool:
    try:
        return read_json(out / MARK).get("format") == FORMAT
    except BlastscopeError:
        return False
