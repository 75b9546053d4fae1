"""Sources of cells to be explained: folders of images, and stores made of such folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from blastscope.data.layouts import CellFile, Listing, Problem, list_cells
from blastscope.data.store import INFO, open_store
from blastscope.errors import BlastscopeError, listing


@dataclass(frozen=True, kw_only=True)
class StoredCell(CellFile):
    """A cell of a store, with the hash of its image when the store was made.

    Attributes:
        store: the store's folder.
        pixel_hash: of the image, as ``data.inspection`` makes it.
    """

    store: Path
    pixel_hash: str


def list_data(data: Sequence[Path]) -> Listing:
    """List the cells of folders of images, and those of stores.

    A store's cells have the labels, subjects and folds that it was made with; their images are
    looked for in the folders that it was made of. If a cell is in several of ``data``, a store's
    row counts, or else the first.

    Raises:
        BlastscopeError: if one is not a folder, or a store's images have been moved.
    """
    stores = [path for path in dict.fromkeys(data) if (path / INFO).is_file()]
    folders = [path for path in dict.fromkeys(data) if path not in stores]
    parts = [_list_store(path) for path in stores]
    if folders:
        parts.append(list_cells(folders))
    cells: dict[str, CellFile] = {}
    problems = [problem for part in parts for problem in part.problems]
    for item in chain.from_iterable(part.cells for part in parts):
        first = cells.setdefault(item.cell, item)
        if first is not item and first.path.resolve() != item.path.resolve():
            message = f"has the name of another cell, {first.path}"
            problems.append(Problem(str(item.path), "same-name", message))
    ordered = sorted(cells.values(), key=lambda item: (item.cell, item.file))
    return Listing(ordered, problems, synthetic=any(part.synthetic for part in parts))


def _list_store(path: Path) -> Listing:
    store = open_store(path)
    sources = [Path(source) for source in store.sources]
    gone = [str(source) for source in sources if not source.is_dir()]
    if gone or not sources:
        raise BlastscopeError(
            f"{path} was made of the images in {listing(gone) or 'no folder'}, which do not "
            "exist: put them back, or prepare the store again."
        )
    # As ``list_cells`` names files: from the folder, or, of several, from the one that holds it.
    roots = sources if len(sources) == 1 else [source.parent for source in sources]
    *others, last = dict.fromkeys(roots)
    cells: list[CellFile] = []
    columns = ("cell", "file", "label", "subject", "fold", "pixel_hash")
    for cell, file, label, subject, fold, pixels in store.cells.select(columns).iter_rows():
        place = next((root / file for root in others if (root / file).is_file()), last / file)
        cells.append(
            StoredCell(place, file, cell, label, subject, fold, store=path, pixel_hash=pixels)
        )
    return Listing(cells, synthetic=store.synthetic)
