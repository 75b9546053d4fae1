"""Segment whole fields of a smear into single cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from blastscope.api.result import (
    AnyPath,
    FolderResult,
    Progress,
    TextTable,
    as_inputs,
    as_path,
    out_or_temporary,
    showing,
)
from blastscope.cluster import LOCAL, check_engine, refuse_urls
from blastscope.data.synthetic_fields import is_truth
from blastscope.errors import BlastscopeError
from blastscope.io.remote import uploaded, url_of
from blastscope.prediction.images import InputImage, InputImages, unique_cells
from blastscope.prediction.inputs import list_inputs
from blastscope.report.fields_text import (
    cell_scale_text,
    converted_text,
    scale_text,
    what_was_found,
)
from blastscope.segmentation.segment import MARKER, FieldFile, Segmented, segment_fields

MOST_FIELDS = 40
"""Fields that a screen shows."""


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationResult(FolderResult):
    """White cells of fields, one an image, in a folder.

    Attributes:
        found: the cells, the fields and the scale.
        listed: what the user should know of how the fields were found.
    """

    found: Segmented
    listed: tuple[str, ...] = ()

    def to_frame(self) -> pl.DataFrame:
        """Return one row for each cell, also of the refused ones (docs/segmentation.md)."""
        return self.found.cells

    @property
    def fields(self) -> pl.DataFrame:
        """One row for each field."""
        return self.found.fields

    @property
    def failed(self) -> int:
        """How many fields could not be used."""
        return int(self.found.fields["problem"].is_not_null().sum())

    def as_json(self) -> dict[str, Any]:
        """Return the scale, fields and cells."""
        return {
            "path": self.written_to,
            "scale": asdict(self.found.scale),
            "fields": self.found.fields.to_dicts(),
            "cells": self.found.cells.to_dicts(),
        }

    def tables(self) -> list[TextTable]:
        """Return the fields with their numbers of cells."""
        shown = self.found.fields.select("field", "width", "height", "cells", "refused")
        return [TextTable.of(shown.columns, shown.head(MOST_FIELDS).iter_rows())]

    def answers(self) -> list[str]:
        """Say how many cells were found, cut out and refused."""
        return [what_was_found(self.found)]

    def notes(self) -> list[str]:
        """Say what could not be used, and what the scale rests on."""
        found = self.found
        said = [f"{text}." for text in self.listed]
        if found.resumed:
            said.append(f"Went on after {found.resumed:,} fields of an earlier run.")
        bad = found.fields.filter(pl.col("problem").is_not_null())
        said += [f"not used: {file} {why}" for file, why in bad.select("file", "problem").rows()]
        said += converted_text(found)
        more = found.fields.height - MOST_FIELDS
        if more > 0:
            said.append(f"And {more:,} more fields: fields.csv has them all.")
        return [*said, scale_text(found.scale), cell_scale_text()]


def segment(
    fields: AnyPath | Iterable[AnyPath],
    *,
    out: AnyPath | None = None,
    um_per_pixel: float | None = None,
    masks: AnyPath | None = None,
    subject_from: str | None = None,
    engine: str = LOCAL,
    progress: Progress = False,
) -> SegmentationResult:
    """Find, outline and cut out the white cells of whole fields of a smear.

    A cell that cannot be outlined surely is a row with its box and the reason, and has no image. If
    a run is killed, the same call goes on where it stopped.

    Args:
        fields: files, folders or globs of fields (JPEG, PNG, TIFF, BMP, WebP; up to 100
            megapixels), all of one microscope and objective.
        out: the folder to write; a temporary one without it.
        um_per_pixel: micrometres per pixel of the fields, which is 7.5 divided by the diameter of
            a red cell in pixels; without it the red cells are measured.
        masks: a folder with masks of Cellpose, StarDist, InstanSeg or QuPath, one label
            image or GeoJSON file for each field; cells are then not searched for.
        subject_from: a regular expression that finds the subject in a field's path.
        engine: ``local``, or ``ray``: each field is a task of a Ray cluster (docs/scale.md).
        progress: show a progress bar; or a function to call with how much is done and of how much.

    Returns:
        The cells. ``OUT/cells`` can be given to every verb that takes cell images.

    Raises:
        BlastscopeError: if no field can be used, the scale cannot be measured, masks are missing or
            do not fit, or ``out`` is another folder or cannot be written.
    """
    check_engine(engine)
    inputs, url = as_inputs(fields), url_of(out)
    refuse_urls(engine, inputs)
    if url is not None:
        with uploaded(url, MARKER) as place:
            made = segment(
                inputs, out=place, um_per_pixel=um_per_pixel, masks=masks,
                subject_from=subject_from, engine=engine, progress=progress,
            )  # fmt: skip
        return replace(made, path=None, url=url)
    listed = list_fields(inputs, subject_from)
    folder, keeper = out_or_temporary(out)
    with showing("Segmenting", progress) as advance:
        found = segment_listed(
            listed, folder, um_per_pixel=um_per_pixel, masks=as_path(masks), on_progress=advance,
            engine=engine,
        )  # fmt: skip
    path = None if out is None else folder
    return SegmentationResult(found, listed.notes, path=path, keeper=keeper)


def list_fields(fields: Sequence[str | Path], subject_from: str | None) -> InputImages:
    """List fields; what is among them of an earlier segmentation or a known truth is left out.

    Raises:
        BlastscopeError: as ``list_inputs`` does, or if nothing else is there.
    """
    listed = _without_truth(list_inputs(fields, subject_from), fields)
    kept = tuple(one for one in listed if not _is_cut_out(one.path))
    cut = len(listed) - len(kept)
    if not cut:
        return listed
    if not kept:
        raise BlastscopeError(
            f"{fields[0]} holds cells that were cut out of fields: give the fields, or predict the "
            "cells without --fields."
        )
    note = f"{cut:,} cells that an earlier segmentation cut out are left out: they are not fields"
    return replace(listed, images=kept, notes=(*listed.notes, note))


def _without_truth(listed: InputImages, fields: Sequence[str | Path]) -> InputImages:
    """Leave out the label images of synthetic fields, for which no name needs a longer one."""
    kept = [one for one in listed if one.path is None or not is_truth(one.path)]
    left_out = len(listed) - len(kept)
    if not left_out:
        return listed
    if not kept:
        raise BlastscopeError(
            f"{fields[0]} holds label images of synthetic fields: give the folder fields beside it."
        )
    named = [replace(one, cell=_own_name(one)) for one in kept]
    unique = (replace(one, cell=name) for one, name in zip(named, unique_cells(named), strict=True))
    note = f"{left_out:,} label images of synthetic fields are left out: they are not fields"
    return replace(listed, images=tuple(unique), notes=(*listed.notes, note))


def _own_name(one: InputImage) -> str:
    """Return the name of an image without the folders that tell it from another."""
    file = PurePosixPath(one.file)
    return file.stem if one.cell == str(file.with_suffix("")) else one.cell


def _is_cut_out(path: Path | None) -> bool:
    """Whether a file is ``OUT/cells/FIELD/CELL.png`` of a segmentation ``OUT``."""
    return path is not None and any((up / MARKER).is_file() for up in path.absolute().parents[1:3])


def segment_listed(
    listed: InputImages,
    out: Path,
    *,
    um_per_pixel: float | None = None,
    masks: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    engine: str = LOCAL,
) -> Segmented:
    """Segment listed fields into a folder.

    Raises:
        BlastscopeError: as :func:`segment` does, and if a field lies in a zip.
    """
    fields = []
    for one in listed:
        problem = None if one.problem is None else one.problem.message
        if one.path is None and problem is None:
            raise BlastscopeError(f"{one.file} lies in a zip: unpack it, and give the folder.")
        path = one.path or Path(one.file)  # of one with a problem, which is not read
        fields.append(FieldFile(one.file, one.cell, path, one.subject, problem))
    return segment_fields(
        fields, out, um_per_pixel=um_per_pixel, masks=masks, on_progress=on_progress, engine=engine
    )
