"""The cells to be explained: found by name or by file, prepared for each model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.data.crop import locate
from blastscope.data.images import SUFFIXES, UnusableImageError, read_image
from blastscope.data.layouts import CellFile, Listing, list_cells
from blastscope.data.names import parse_name
from blastscope.data.preparation import prepare_listed
from blastscope.data.store import Store, StoreSettings, open_store
from blastscope.data.synthetic import MARKER
from blastscope.errors import BlastscopeError, listing
from blastscope.explanation.cell_image import CellImage, make_picture
from blastscope.explanation.cell_sources import StoredCell, list_data

Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]
_REMEDY = "Repair them, or replace them"


@dataclass(frozen=True)
class ExplainedCells:
    """Cells, each prepared for every model.

    Attributes:
        files: a cell each, in the order of the rows.
        stores: the prepared cells by settings, rows in the same order.
        synthetic: whether they are synthetic.
    """

    files: tuple[CellFile, ...]
    stores: dict[StoreSettings, Store]
    synthetic: bool

    def __len__(self) -> int:
        return len(self.files)

    def images(self, settings: StoreSettings, rows: Sequence[int] | Rows) -> Tensor:
        """Return prepared cells, uint8, (rows, 3, S, S), RGB."""
        pixels: Any = self.stores[settings].pixels[np.asarray(rows)]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def cell_image(self, row: int, settings: StoreSettings) -> CellImage:
        """Read a cell's own file again, to be shown and measured at its native size.

        Args:
            row: the cell's row.
            settings: whose contour finds the cell.

        Raises:
            BlastscopeError: if the file is gone or cannot be read any more.
        """
        item = self.files[row]
        try:
            pixels = read_image(item.path).pixels
            return make_picture(pixels, locate(pixels, settings.contour).box)
        except UnusableImageError as error:
            raise BlastscopeError(f"{item.path} {error}.") from error


def find_cells(names: Sequence[str], data: Sequence[Path]) -> Listing:
    """Find cells by their names in ``data``, or as image files of their own, in the order given.

    A file has no label if its folder does not name one, or contradicts its name.

    Args:
        names: the name of a cell, or the path of an image, each. The name of a file in ``data``
            will do for its cell's.
        data: folders of cell images, or stores, whose images are looked for where they were.

    Raises:
        BlastscopeError: if a name is not in ``data``, or a file is not an image.
    """
    known = list_data(data) if data else Listing()
    by_name = {item.cell: item for item in known.cells}
    files = {name: Path(name) for name in names if _is_file(name)}
    named = {name: by_name.get(_cell_called(name, by_name)) for name in names if name not in files}
    lost = [name for name, item in named.items() if item is None]
    if lost:
        raise BlastscopeError(_unknown(lost, by_name, data))
    folders = {folder: _beside(folder) for folder in {path.parent for path in files.values()}}
    chosen: dict[str, CellFile] = {}
    for name in names:
        item = named.get(name) or _file(files[name], folders[files[name].parent])
        other = chosen.setdefault(item.cell, item)
        if other.path.resolve() != item.path.resolve():
            raise BlastscopeError(
                f"{other.path} and {item.path} are both called '{item.cell}': explain them apart."
            )
    synthetic = any(beside.synthetic for beside in folders.values())
    return Listing(list(chosen.values()), synthetic=synthetic or (known.synthetic and bool(named)))


def _is_file(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and Path(name).is_file()


def _cell_called(name: str, known: Collection[str]) -> str:
    """Return the cell that is meant, which may be called as its file is."""
    whole = Path(name)  # with folders before it, a path that leads nowhere: no cell's name
    is_bare_file = whole.name == name and whole.suffix.lower() in SUFFIXES
    return name if name in known else parse_name(whole.stem if is_bare_file else name).cell


def _unknown(lost: Sequence[str], known: Collection[str], data: Sequence[Path]) -> str:
    """Return why names lead to no cell."""
    for name in lost:
        if Path(name).is_dir():
            return (
                f"{name} is a folder instead of a cell: give the names or the images of its cells."
            )
        if Path(name).is_file():
            return f"{name} is not an image ({', '.join(sorted(SUFFIXES))}): give one of these."
    where = listing([str(path) for path in data]) if data else "no --data was given"
    named = listing([f"{name}{_near(name, known)}" for name in lost], most=5)
    return (
        f"No cell and no file is called {named} ({where}): give the names of cells in the "
        "data, or the paths of image files."
    )


def _near(name: str, known: Collection[str]) -> str:
    folded = {cell.casefold(): cell for cell in known}
    near = get_close_matches(_cell_called(name, ()).casefold(), folded, n=3)
    return f" (near it are {', '.join(folded[cell] for cell in near)})" if near else ""


def _beside(folder: Path) -> Listing:
    """List the folder of a file, for the label and subject of the file."""
    try:
        return list_cells([folder])
    except BlastscopeError:  # a wrong labels table is not the image's fault
        whole = folder.resolve()
        drawn = any((up / MARKER).is_file() for up in (whole, *whole.parents[:2]))
        return Listing(synthetic=drawn)


def _file(path: Path, beside: Listing) -> CellFile:
    """Return a file as a cell, with the label and subject that its folder gives, if any."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise BlastscopeError(
            f"{str(path)!a} has a name that cannot be printed: rename it."
        ) from None
    named = parse_name(path.stem)
    bare = CellFile(path, path.name, named.cell, None, named.subject, None)
    return next((item for item in beside.cells if item.path == path), bare)


def prepare_cells(
    found: Listing,
    settings: Sequence[StoreSettings],
    work: Path,
    on_progress: Progress | None = None,
) -> ExplainedCells:
    """Prepare cells once for each of ``settings``, in stores under ``work``.

    Stores of an earlier call with the same files are used again.

    Args:
        found: the cells.
        settings: by which each model's cells are prepared.
        work: the folder for the stores.
        on_progress: called with how many cells are prepared and their total; each counts once for
            each way to prepare it.

    Raises:
        BlastscopeError: if cells cannot be used, all of which are named, or an image is not the
            one that its store was made of.
    """
    stores: dict[StoreSettings, Store] = {}
    if not found.cells:  # a store of none would be refused
        return ExplainedCells((), stores, found.synthetic)
    kinds = list(dict.fromkeys(settings))
    cells = len(found.cells)
    for before, wanted in enumerate(kinds):
        name = f"store-{wanted.size}-{wanted.scale}-{wanted.contour}{'-clahe' * wanted.clahe}"
        sources = sorted({item.path.parent for item in found.cells})
        tell = _from(before * cells, len(kinds) * cells, on_progress)
        made = prepare_listed(
            found, sources, work / name, wanted, force=True, on_progress=tell, remedy=_REMEDY
        )
        stores[wanted] = open_store(made.path)
        _refuse_other_images(found.cells, stores[wanted])
    return ExplainedCells(tuple(found.cells), stores, found.synthetic)


def _from(before: int, total: int, on_progress: Progress | None) -> Progress | None:
    """Count one pass over the cells as a part of several."""
    return on_progress and (lambda done, _: on_progress(before + done, total))


def _refuse_other_images(cells: Sequence[CellFile], prepared: Store) -> None:
    """Refuse images under a cell's name that are not those its own store was made of."""
    hashes = prepared.cells["pixel_hash"]
    wrong = [
        item
        for item, pixels in zip(cells, hashes, strict=True)
        if isinstance(item, StoredCell) and item.pixel_hash != pixels
    ]
    if wrong:
        first, others = wrong[0], f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise BlastscopeError(
            f"{first.path}{others} is not the image that {first.store} was made of: put that one "
            "back, or prepare the store again and predict anew."
        )
