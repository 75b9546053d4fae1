"""Predict whole fields of a smear: find the cells, cut them out, ask the model, show each field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from blastscope.api.prediction_result import PredictionResult
from blastscope.api.result import Progress, TextTable, out_or_temporary, showing
from blastscope.api.segment import list_fields, segment_listed
from blastscope.cluster import LOCAL, RAY
from blastscope.data.images import read_image
from blastscope.data.layouts import Problem
from blastscope.io.subject_names import subject_name
from blastscope.prediction.images import InputImage, InputImages
from blastscope.prediction.predict import predict as predict_images
from blastscope.prediction.table import fields_folder
from blastscope.report.fields_text import (
    cell_scale_text,
    converted_text,
    mostly_unlike,
    refused_text,
    scale_text,
    what_was_found,
)
from blastscope.segmentation.segment import Segmented

POSITIONS = ("field", "x", "y", "w", "h", "area_um2", "quality")
"""The columns that the table gets beside those of single cells (docs/segmentation.md)."""


@dataclass(frozen=True, eq=False, repr=False)
class FieldPredictionResult(PredictionResult):
    """The predictions of a model for the cells of fields.

    Attributes:
        segmented: the cells and fields.
        keeper: the temporary folder of the cells, if they were not written beside the table.
    """

    segmented: Segmented | None = None
    keeper: TemporaryDirectory[str] | None = None

    @property
    def _cells(self) -> Segmented:
        assert self.segmented is not None
        return self.segmented

    @property
    def failed(self) -> int:
        """How many fields could not be used; a refused cell is not a failure."""
        return int(self._cells.fields["problem"].is_not_null().sum())

    @property
    def _used(self) -> int:
        return len(self.found.frame) - len(self.found.problems)

    def as_json(self) -> dict[str, Any]:
        """Return counts, cells, subjects, fields and the scale."""
        refused = int(self._cells.cells["refused"].is_not_null().sum())
        return {
            **super().as_json(),
            "refused": refused,
            "mostly_out_of_distribution": bool(self._warning()),
            "fields": self._cells.fields.to_dicts(),
            "scale": asdict(self._cells.scale),
        }

    def _warning(self) -> str:
        return mostly_unlike(self.found.tally.out_of_distribution or 0, self._used)

    def tables(self) -> list[TextTable]:
        """Return the cells and, unless most are out of distribution, the shares of subjects."""
        if not self._used:
            return []
        tables = super().tables()
        if not self._warning():
            return tables
        return tables[:1] if self.path is None else []

    def answers(self) -> list[str]:
        """Say first if most cells are out of distribution, then what was found and called."""
        warning = self._warning()
        said = [warning] if warning else []
        said.append(what_was_found(self._cells))
        return [*said, *super().answers()] if self._used else said

    def notes(self) -> list[str]:
        """Say what was refused, what the scale rests on, and what holds of every prediction."""
        found = self._cells
        bad = found.fields.filter(pl.col("problem").is_not_null())
        said = [f"not used: {file} {why}" for file, why in bad.select("file", "problem").rows()]
        said += converted_text(found)
        if len(found.cells):
            refused = int(found.cells["refused"].is_not_null().sum())
            said.append(refused_text(refused, len(found.cells)))
        said += [scale_text(found.scale), cell_scale_text()]
        if self.keeper is None:
            said.append(f"Cells, masks and overlays: {found.path}")
        return [*said, *super().notes()]

    def _problem_notes(self) -> list[str]:
        """Name none: refused cells are told of by their count, and the table has the reasons."""
        return []

    def _unlike(self) -> list[str]:
        """Say how many cells are out of distribution, if that was not said first."""
        return [] if self._warning() else super()._unlike()

    @property
    def _next_step(self) -> str:
        return ""  # the cells were cut out here

    def to_html(self) -> str:
        """Return one page: each field with its cells outlined by call, subjects, and limits."""
        from blastscope.report.fields_page import fields_page

        return fields_page(self.found, self._cells)


def predict_fields(
    fields: Sequence[str | Path],
    models: Sequence[Path],
    out: Path | None,
    *,
    um_per_pixel: float | None,
    masks: Path | None,
    subject_from: str | None,
    force: bool,
    progress: Progress,
    **how: Any,
) -> FieldPredictionResult:
    """Find the cells of fields and predict them; the options are those of ``predict``."""
    listed = _with_subject(list_fields(fields, subject_from), subject_from)
    folder = None if out is None else fields_folder(out)
    place, keeper = out_or_temporary(folder)
    with showing("Segmenting", progress) as advance:
        cells = segment_listed(
            listed, place, um_per_pixel=um_per_pixel, masks=masks, on_progress=advance,
            engine=RAY if how["engine"] == RAY else LOCAL,
        )  # fmt: skip
    images = [_image(row, cells.path) for row in cells.cells.iter_rows(named=True)]
    inputs = InputImages(tuple(images), listed.notes, listed.synthetic)
    with showing("Predicting", progress) as advance:
        found = predict_images(
            inputs,
            models,
            out,
            force=force,
            on_progress=advance,
            beside=cells.cells.select(POSITIONS),
            **how,
        )
    return FieldPredictionResult(found, path=found.path, segmented=cells, keeper=keeper)


def _with_subject(listed: InputImages, subject_from: str | None) -> InputImages:
    """Take fields of one folder for those of one subject, unless it is known whose they are."""
    folders = {one.path.absolute().parent for one in listed if one.path is not None}
    if subject_from is not None or len(folders) != 1 or any(one.subject for one in listed):
        return listed
    subject = subject_name(folders.pop().name)
    if subject is None:
        return listed
    note = (
        f"The fields lie in one folder and count as one subject, {subject}: give `--subject-from` "
        "if they are of several"
    )
    images = tuple(replace(one, subject=subject) for one in listed)
    return replace(listed, images=images, notes=(*listed.notes, note))


def _image(row: dict[str, Any], folder: Path) -> InputImage:
    """Return a cell as an image to predict on; a refused one with its reason."""
    names = (row["file"], row["cell"])
    if row["refused"] is not None:
        source = Problem(row["file"], "refused", row["refused"])
        return InputImage(*names, source, row["subject"])
    path = folder / row["image"]
    flags = tuple((row["flags"] or "").split(",")) if row["flags"] else ()
    return InputImage(*names, partial(read_image, path), row["subject"], None, flags, path)
