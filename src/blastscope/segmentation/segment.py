"""Segment fields into a folder: cell images, tables, masks and overlays; a killed run goes on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from blastscope.cluster import LOCAL, RAY, on_ray
from blastscope.data.crop import Pixels
from blastscope.data.images import UnusableImageError
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, replacing, without_nan, write_json
from blastscope.io.remote import refuse_remote
from blastscope.io.tables import write_csv
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.parallel import cores, in_order
from blastscope.segmentation.cells import FoundCell
from blastscope.segmentation.cutouts import FRAME, cut_out
from blastscope.segmentation.fields import cells_of_field, decode_field, read_field
from blastscope.segmentation.mask_files import (
    find_mask_file,
    read_masks,
    write_geojson,
    write_labels,
)
from blastscope.segmentation.overlay import overlay, write_overlay
from blastscope.segmentation.scale import (
    C_NMC,
    RED_CELL,
    Scale,
    measured_scale,
    red_cell_diameters,
    told_scale,
)

FORMAT = "blastscope-segmentation/1"
MARKER = "segmentation.json"
CELLS, FIELDS = "cells.csv", "fields.csv"
_PARTS, _SCALE = "fields", "scale.json"
_WRITTEN = (_PARTS, _SCALE, "cells", "masks", "overlays", CELLS, FIELDS)
_KIND = FolderKind(MARKER, FORMAT, contents=_WRITTEN)
METHOD = 2
"""The version of the method: a folder of another one is not gone on with."""
MOST_MEASURED = 24
"""Fields, evenly from all, whose red cells are measured."""
_FEW_CORES = 4

CELL_COLUMNS = {
    "file": pl.String(), "field": pl.String(), "cell": pl.String(), "subject": pl.String(),
    "image": pl.String(), "x": pl.Int64(), "y": pl.Int64(), "w": pl.Int64(), "h": pl.Int64(),
    "area": pl.Int64(), "area_um2": pl.Float64(), "nucleus_um2": pl.Float64(),
    "quality": pl.Float64(), "flags": pl.String(), "refused": pl.String(),
}  # fmt: skip
"""The columns of the cell table (docs/segmentation.md)."""
FIELD_COLUMNS = {
    "file": pl.String(), "field": pl.String(), "subject": pl.String(), "width": pl.Int64(),
    "height": pl.Int64(), "cells": pl.Int64(), "refused": pl.Int64(), "flags": pl.String(),
    "problem": pl.String(),
}  # fmt: skip
"""The columns of the table of fields."""


@dataclass(frozen=True)
class FieldFile:
    """A field to segment.

    Attributes:
        file: the user's name for it.
        name: unique among the fields.
        path: of the file.
        subject: whose it is; None if unknown.
        problem: why it cannot be used, if that is known beforehand.
    """

    file: str
    name: str
    path: Path
    subject: str | None = None
    problem: str | None = None

    @property
    def stem(self) -> str:
        """Its name as that of files: no separators, nothing that leaves a folder."""
        safe = re.sub(r"[^\w.-]+", "_", self.name).strip("._") or "field"
        if safe == self.name:
            return safe
        return f"{safe[:80]}-{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Segmented:
    """What was found in fields.

    Attributes:
        path: the folder.
        cells: one row for each cell, ``CELL_COLUMNS``.
        fields: one row for each field, ``FIELD_COLUMNS``.
        scale: of all fields.
        resumed: how many fields an earlier run had done.
        paths, stems: of each field by its name, the file and the name of its files in the folder.
    """

    path: Path
    cells: pl.DataFrame
    fields: pl.DataFrame
    scale: Scale
    resumed: int = 0
    paths: Mapping[str, Path] = field(default_factory=dict, repr=False)
    stems: Mapping[str, str] = field(default_factory=dict, repr=False)


def segment_fields(
    fields: Sequence[FieldFile],
    out: Path,
    *,
    um_per_pixel: float | None = None,
    masks: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    engine: str = LOCAL,
) -> Segmented:
    """Find, outline and cut out the white cells of fields.

    Args:
        fields: of one microscope and objective.
        out: the folder to write; one of the same fields and settings is gone on with.
        um_per_pixel: their scale; measured by the red cells without it, and with it compared with
            what they show.
        masks: a folder with masks of another tool, one file for each field; without it the
            cells are found by ``cells.find_cells``.
        on_progress: called with the fields done and their total.
        engine: ``local``, or ``ray``: each field is a task of a Ray cluster.

    Raises:
        BlastscopeError: if no field can be used, the scale is not known, masks are missing, or
            ``out`` is another folder or cannot be written.
    """
    told = None if um_per_pixel is None else told_scale(um_per_pixel)
    refuse_remote(masks)
    if masks is not None and not masks.is_dir():
        raise BlastscopeError(
            f"{masks} is not a folder: give one that holds a file of masks for each field."
        )
    files = _mask_files(fields, masks) if masks else {}
    work = WorkFolder(out, _KIND, _identity(fields, um_per_pixel, files))
    with work.locked():
        there = work.open_or_resume()
        scale = _scale(fields, work, told)
        done = [one for one in fields if work.has(_part(one))]
        rest = [one for one in fields if not work.has(_part(one))]

        do = partial(_segment, work=work, scale=scale, masks=files)
        workers = min(cores(), _FEW_CORES)
        if engine == RAY and rest:
            finished: Iterator[object] = on_ray(do, rest, len(rest))
        else:
            finished = in_order(do, rest, workers, workers)
        try:
            for k, _ in enumerate(finished, 1):
                if on_progress:
                    on_progress(len(done) + k, len(fields))
        except BlastscopeError:
            if files and not there:  # masks do not fit: they must change, and the folder with them
                work.remove()
            raise
        return _collected(fields, work, scale, len(done))


def _mask_files(fields: Sequence[FieldFile], folder: Path) -> dict[str, Path]:
    """Return the file of masks of each field by its name.

    Raises:
        BlastscopeError: if a field has none or several, or two fields have the same one.
    """
    files: dict[str, Path] = {}
    owners: dict[Path, FieldFile] = {}
    for one in fields:
        path = find_mask_file(folder, one.path)
        owner = owners.setdefault(path.resolve(), one)
        if owner is not one:
            raise BlastscopeError(
                f"{owner.file} and {one.file} both find their masks in {path}: rename them, or "
                "segment each folder of fields with its own folder of masks."
            )
        files[one.name] = path
    return files


def _part(one: FieldFile) -> str:
    return f"{_PARTS}/{one.stem}.json"


def _identity(
    fields: Sequence[FieldFile], um_per_pixel: float | None, masks: dict[str, Path]
) -> dict[str, Any]:
    digest = hashlib.sha256()
    for one in fields:
        digest.update(repr((one.file, one.name, one.subject, _state(one.path))).encode())
        digest.update(repr(_state(masks.get(one.name))).encode())
    return {
        "fields": digest.hexdigest(),
        "um_per_pixel": um_per_pixel,
        "masks": bool(masks),
        "method": METHOD,
    }


def _state(path: Path | None) -> tuple[str, int, int] | None:
    if path is None or not path.exists():
        return None
    state = path.stat()
    return path.name, state.st_size, state.st_mtime_ns


def _scale(fields: Sequence[FieldFile], work: WorkFolder, told: Scale | None) -> Scale:
    """Measure the scale by red cells, or compare with them what was told.

    What an earlier run measured is read again.
    """
    if work.has(_SCALE):
        return Scale(**read_json(work.path / _SCALE))
    try:
        scale = _measured(fields)
    except BlastscopeError:
        if told is None:
            work.remove()  # nothing was done in it
            raise
        scale = told
    else:
        if told is not None:
            scale = replace(told, by_red_cells=scale.um_per_pixel)
    write_json(work.path / _SCALE, asdict(scale))
    return scale


def _measured(fields: Sequence[FieldFile]) -> Scale:
    """Measure the scale by the red cells of some fields."""
    usable = [one for one in fields if one.problem is None]
    some = usable[:: max(1, -(-len(usable) // MOST_MEASURED))]

    def measure(one: FieldFile) -> np.ndarray | UnusableImageError:
        try:
            return red_cell_diameters(read_field(one.path))
        except UnusableImageError as error:
            return error

    workers = min(cores(), _FEW_CORES)
    found = list(in_order(measure, some, workers, workers))
    known = [one for one in found if not isinstance(one, UnusableImageError)]
    if not known:
        raise _unusable(fields, some, [str(one) for one in found])
    return measured_scale(known)


def _unusable(
    fields: Sequence[FieldFile], some: Sequence[FieldFile], why: Sequence[str]
) -> BlastscopeError:
    told = [(one.file, reason) for one, reason in zip(some, why, strict=True)]
    told += [(one.file, one.problem) for one in fields if one.problem]
    name, reason = told[0]
    return BlastscopeError(f"None of {len(fields):,} fields can be used: {name} {reason}.")


def _segment(one: FieldFile, *, work: WorkFolder, scale: Scale, masks: Mapping[str, Path]) -> None:
    """Segment one field and write all that belongs to it; its part is written last."""
    fact: dict[str, Any] = {"file": one.file, "field": one.name, "subject": one.subject}
    try:
        if one.problem is not None:
            raise UnusableImageError("unreadable", one.problem)
        read = decode_field(one.path, with_masks=one.name in masks)
    except UnusableImageError as error:
        write_json(work.path / _part(one), {"field": {**fact, "problem": str(error)}, "cells": []})
        return
    rgb = read.pixels
    if one.name in masks:
        cells = read_masks(masks[one.name], rgb.shape)
    else:
        cells = cells_of_field(rgb, scale.um_per_pixel)
    names = [f"{one.stem}_{number}" for number in range(1, len(cells) + 1)]
    rows = [
        _row(one, rgb, cell, name, work, scale.um_per_pixel)
        for cell, name in zip(cells, names, strict=True)
    ]
    write_labels(work.path / "masks" / f"{one.stem}.tif", rgb.shape, cells)
    write_geojson(work.path / "masks" / f"{one.stem}.geojson", cells, names)
    kinds = ["refused" if row["refused"] else "cell" for row in rows]
    numbers = [str(number) for number in range(1, len(cells) + 1)]
    picture = overlay(rgb, cells, kinds, numbers)
    write_overlay(work.path / "overlays" / f"{one.stem}.jpg", picture)
    fact |= {
        "height": rgb.shape[0],
        "width": rgb.shape[1],
        "cells": len(cells),
        "refused": kinds.count("refused"),
        "flags": ",".join(read.flags) or None,
    }
    write_json(work.path / _part(one), without_nan({"field": fact, "cells": rows}))


def _row(
    one: FieldFile, rgb: Pixels, cell: FoundCell, name: str, work: WorkFolder, um: float
) -> dict[str, Any]:
    """Cut a cell out, write its image, and return its row."""
    refused, image = cell.refused, None
    if refused is None:
        picture = cut_out(rgb, cell.box, cell.mask, um)
        if picture is None:
            refused = _why_not_cut(cell, um)
        else:
            image = f"cells/{one.stem}/{name}.png"
            with replacing(work.path / image) as beside:
                Image.fromarray(picture).save(beside, "PNG", compress_level=1)
    nucleus = None if cell.nucleus is None else float(cell.nucleus.sum()) * um**2
    area = int(cell.mask.sum())
    return {
        "file": one.file, "field": one.name, "cell": name, "subject": one.subject, "image": image,
        **asdict(cell.box), "area": area, "area_um2": area * um**2, "nucleus_um2": nucleus,
        "quality": cell.quality, "flags": ",".join(cell.flags) or None, "refused": refused,
    }  # fmt: skip


def _why_not_cut(cell: FoundCell, um: float) -> str:
    """Return why a cell has no image, as a phrase."""
    if max(cell.box.w, cell.box.h) * um > FRAME * C_NMC / 2:
        return f"is larger than {FRAME * C_NMC:.0f} µm, more than a single cell"
    return f"is thinner than one pixel of {C_NMC} µm, less than a cell"


def _collected(
    fields: Sequence[FieldFile], work: WorkFolder, scale: Scale, resumed: int
) -> Segmented:
    """Gather the parts into tables and write them."""
    parts = [read_json(work.path / _part(one), 2**28) for one in fields]
    cells = pl.DataFrame([row for part in parts for row in part["cells"]], CELL_COLUMNS)
    table = pl.DataFrame([part["field"] for part in parts], FIELD_COLUMNS)
    if table["problem"].null_count() == 0:
        problems = table["problem"].to_list()
        work.remove()
        raise _unusable(fields, fields, problems)
    write_csv(cells, work.path / CELLS)
    write_csv(table, work.path / FIELDS)
    work.record(
        {
            "scale": asdict(scale),
            "assumed": {"red_cell_um": RED_CELL, "c_nmc_um_per_pixel": C_NMC},
            "cells": len(cells),
            "refused": int(cells["refused"].is_not_null().sum()),
            "fields": len(fields),
            "unusable_fields": int(table["problem"].is_not_null().sum()),
        },
        [CELLS, FIELDS],
    )
    paths, stems = {one.name: one.path for one in fields}, {one.name: one.stem for one in fields}
    return Segmented(work.path, cells, table, scale, resumed, paths, stems)
