"""The cells to be explained: found in folders, stores or files, and prepared for each model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from blastscope.data.contradictions import refuse_contradictions
from blastscope.data.crop import locate
from blastscope.data.images import SUFFIXES, UnusableImageError
from blastscope.data.layouts import CellFile, Listing, Problem, base_of, list_cells
from blastscope.data.names import parse_name
from blastscope.data.preparation import prepare_listed
from blastscope.data.store import INFO, Store, StoreSettings, open_store
from blastscope.data.synthetic import MARKER
from blastscope.data.tars import is_tar
from blastscope.errors import BlastscopeError, listing
from blastscope.explanation.cell_image import CellImage, Map, make_picture, moved
from blastscope.explanation.models import ExplainedModel

Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]
_REMEDY = "Repair them, or replace them"


@dataclass(frozen=True)
class ExplainedCells:
    """Cells, each prepared for every model."""

    files: tuple[CellFile, ...]  # a cell each, in the order of the rows
    stores: dict[StoreSettings, Store]  # the prepared cells by settings, rows in the same order
    synthetic: bool  # whether they are synthetic

    def __len__(self) -> int:
        return len(self.files)

    def images(self, settings: StoreSettings, rows: Sequence[int] | Rows) -> Tensor:
        """Return prepared cells, uint8, (rows, 3, S, S), RGB."""
        pixels: Any = self.stores[settings].pixels[np.asarray(rows)]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)

    def cell_image(self, row: int, settings: StoreSettings) -> CellImage:
        """Read a cell's file again, to be shown and measured at its native size.

        The contour of ``settings`` finds the cell.

        Raises:
            BlastscopeError: if the file is gone or cannot be read any more.
        """
        item = self.files[row]
        try:
            pixels = item.decode().pixels
            return make_picture(pixels, locate(pixels, settings.contour).box)
        except UnusableImageError as error:
            raise BlastscopeError(f"{item.path} {error}.") from error


@dataclass(frozen=True)
class CellBatch:
    """A few cells and their source images by contour: each file is read once for each contour."""

    models: Sequence[ExplainedModel]
    dataset: ExplainedCells
    rows: Sequence[int]
    _cell_images: dict[str, list[CellImage]] = field(default_factory=dict)

    def cell_images(self, model: ExplainedModel) -> list[CellImage]:
        """Return the cells as a model's contour finds them."""
        contour = model.settings.contour
        if contour not in self._cell_images:
            self._cell_images[contour] = [
                self.dataset.cell_image(row, model.settings) for row in self.rows
            ]
        return self._cell_images[contour]

    @cached_property
    def shown(self) -> list[CellImage]:
        """The images that all heatmaps are shown over: the first model's."""
        return self.cell_images(self.models[0])

    def aligned(self, seen: Map, model: ExplainedModel, k: int) -> Map:
        """Align a model's map of the batch's ``k``-th cell with the shown crop."""
        own = self.cell_images(model)[k]
        return moved(own.on_crop(seen, model.settings), own, self.shown[k])


@dataclass(frozen=True, kw_only=True)
class StoredCell(CellFile):
    """A cell of a store, with the hash of its image when the store was made."""

    store: Path  # the store's folder
    pixel_hash: str  # of the image, as ``data.inspection`` makes it


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
    if packed := [str(source) for source in sources if is_tar(source)]:
        raise BlastscopeError(
            f"{path} was made of {listing(packed)}, and its cells are explained by image files: "
            "unpack it, and give the folder."
        )
    gone = [str(source) for source in sources if not source.is_dir()]
    if gone or not sources:
        raise BlastscopeError(
            f"{path} was made of the images in {listing(gone) or 'no folder'}, which do not "
            "exist: put them back, or prepare the store again."
        )
    roots = [base_of(source, sources) for source in sources]
    *others, last = dict.fromkeys(roots)
    cells: list[CellFile] = []
    columns = ("cell", "file", "label", "subject", "fold", "pixel_hash")
    for cell, file, label, subject, fold, pixels in store.cells.select(columns).iter_rows():
        image = next((root / file for root in others if (root / file).is_file()), last / file)
        cells.append(
            StoredCell(image, file, cell, label, subject, fold, store=path, pixel_hash=pixels)
        )
    return Listing(cells, synthetic=store.synthetic)


def find_cells(names: Sequence[str], data: Sequence[Path]) -> Listing:
    """Find cells by their names in ``data``, or as image files of their own, in the order given.

    Names are those of cells, or of their files in ``data`` (folders of cell images, or stores,
    whose images are looked for where they were), or paths of images. A file has no label if its
    folder does not name one, or contradicts its name.

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


def refuse_other_labels(models: Sequence[ExplainedModel], cells: Sequence[CellFile]) -> None:
    """Refuse cells whose label or subject is another one than in a run's own predictions.

    Raises:
        BlastscopeError: if they contradict each other.
    """
    schema = dict.fromkeys(("cell", "label", "subject"), pl.String)
    rows = [(item.cell, item.label, item.subject) for item in cells]
    here = pl.DataFrame(rows, schema=schema, orient="row")
    for model in models:
        recorded = model.run.own_predictions
        if recorded is not None:
            refuse_contradictions(
                here, "The cells", recorded, str(model.run.path),
                "give the data that it was trained on",
            )  # fmt: skip


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
    named = listing([f"{name}{_near(name, known)}" for name in lost], most=5)
    if not data:
        return (
            f"No cell and no file is called {named}, and no --data was given: name the data, or "
            "give the paths of image files."
        )
    return (
        f"No cell and no file is called {named}: give the names of cells in "
        f"{listing([str(path) for path in data])}, or the paths of image files."
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
    """Prepare cells once for each of the models' ``settings``, in stores under ``work``.

    Stores of an earlier call with the same files are used again. ``on_progress`` is called with how
    many cells are prepared and their total; each counts once per settings.

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
        if wanted.stain is not None:  # two may have references of their own
            name += f"-{wanted.stain.method}-{kinds.index(wanted)}"
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
