"""Write a folder of synthetic fields of blood smears, with the exact truth about them.

They let finding and cutting out cells be tried and tested without a patient's smear
(docs/formats.md has the layout). A result on them says nothing about real smears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl

from blastscope.data.synthetic import FIELD_TABLES, FIRST_SUBJECT, MARKER, refuse_taken_folder
from blastscope.data.synthetic_drawing import (
    SIDE,
    DrawnCell,
    Point,
    Subject,
    draw_subject,
    draw_whole_cell,
)
from blastscope.data.synthetic_field_drawing import (
    HEIGHT,
    RED_CELL,
    UM_PER_PIXEL,
    WIDTH,
    Canvas,
    Labels,
    draw_illumination,
    platelet,
    red_cell,
)
from blastscope.errors import BlastscopeError
from blastscope.io.files import replacing_folder
from blastscope.io.tables import write_csv
from blastscope.parallel import cores

FIELDS, OBJECTS = FIELD_TABLES
TRUTH = ("cells", "nuclei")
"""The folders of the label images."""
MOST_OVERLAP = 0.3
"""The largest share of the smaller cell of a touching pair that the other covers."""

_SUBJECT_STREAM, _FIELD_STREAM = 11, 12
_EMPTY = 0.06  # of the fields have no white cell
_PAIR = 0.6  # of the others have a touching pair
_EDGE = 0.4  # of the others have a cell that the frame cuts
_ALL_SUBJECTS = 0.6
_TRIES = 200
_GAP = 14  # pixels between white cells that do not touch


@dataclass(frozen=True)
class FieldObject:
    """One thing in a field: a row of ``objects.csv``."""

    field: str  # the name of the field, without suffix
    object: int  # its number in the field; that of a white cell is its value in the label images
    kind: str  # white, red or platelet
    label: str | None  # all or hem, of a white cell
    x: int  # the box of what is seen of it, in pixels: left, top, width, height
    y: int
    w: int
    h: int
    area: int | None  # the pixels of a white cell in its label image
    cut: bool  # whether the frame cuts it
    partner: int | None  # the number of the white cell that it touches or overlaps
    overlap: float | None  # the share of the smaller cell of the pair that both cover


@dataclass(frozen=True)
class FieldRow:
    """One field: a row of ``fields.csv``."""

    field: str
    subject: str
    width: int
    height: int
    um_per_pixel: float
    red_cell_px: float  # the median diameter of a red cell in pixels
    vignette: float
    gradient: float
    white: int
    red: int
    platelets: int


@dataclass
class _White:
    """A white cell and where it lies."""

    label: str
    drawn: DrawnCell
    centre: Point
    radius: float
    partner: int | None = None
    overlap: float | None = None


def write_synthetic_fields(
    folder: Path,
    fields_wanted: int,
    subjects: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write synthetic fields to ``folder``, whole or not at all.

    ``fields/`` has the images (PNG, 1600 × 1200); ``cells/`` and ``nuclei/`` a label image (16-bit
    TIFF) of each, in which a white cell's pixels have its number; ``objects.csv`` a row for each
    white cell, red cell and platelet; ``fields.csv`` a row for each field. The white cells of a
    subject with ALL are lymphoblasts and normal cells, those of the others normal.

    The same arguments and library versions give the same bytes, however many threads draw.

    Args:
        fields_wanted: how many fields, at least 1.
        subjects: how many subjects they are of, at least 1; at most one for each field counts.

    Raises:
        BlastscopeError: if an argument is out of its range, the folder is in use or it cannot be
            written.
    """
    asked = (("fields", fields_wanted, 1), ("subjects", subjects, 1), ("the seed", seed, 0))
    for name, value, least in asked:
        if value < least:
            raise BlastscopeError(f"{value} is too few for {name}: give {least} or more.")
    refuse_taken_folder(folder)
    drawn = _subjects(min(subjects, fields_wanted), seed)
    with replacing_folder(folder) as beside:
        for name in ("fields", *TRUTH):
            (beside / name).mkdir()

        def draw(k: int) -> tuple[FieldRow, list[FieldObject]]:
            name, subject, effects = f"field-{k + 1:04}", *drawn[k % len(drawn)]
            # A generator of its own makes a field independent of which thread draws it and when.
            return _write_field(beside, name, subject, effects, [seed, _FIELD_STREAM, k])

        rows, objects = [], []
        with ThreadPoolExecutor(max_workers=min(4, cores())) as pool:
            for done, (row, found) in enumerate(pool.map(draw, range(fields_wanted)), 1):
                rows.append(row)
                objects += found
                if on_progress is not None:
                    on_progress(done)
        write_csv(_table(FieldRow, rows), beside / FIELDS)
        write_csv(_table(FieldObject, objects), beside / OBJECTS)
        (beside / MARKER).write_text(_notice(fields_wanted, len(drawn), seed), encoding="utf-8")


def is_truth(path: Path) -> bool:
    """Whether a file is a label image of synthetic fields, in the folder that has them too."""
    home = path.absolute().parents[1]
    return path.parent.name in TRUTH and all((home / one).is_file() for one in (MARKER, OBJECTS))


def _table(kind: type, rows: list[Any]) -> pl.DataFrame:
    names = [one.name for one in fields(kind)]
    return pl.DataFrame(
        [astuple(row) for row in rows], schema=names, orient="row", infer_schema_length=None
    )


def _subjects(count: int, seed: int) -> list[tuple[str, Subject]]:
    """Return names and effects of subjects; three of five have ALL, whose names have no H."""
    found = []
    for k in range(count):
        has_all = (k * _ALL_SUBJECTS) % 1 < _ALL_SUBJECTS
        name = f"{'' if has_all else 'H'}{FIRST_SUBJECT + k}"
        found.append((name, draw_subject(np.random.default_rng([seed, _SUBJECT_STREAM, k]))))
    return found


def _write_field(
    folder: Path, name: str, subject: str, effects: Subject, key: list[int]
) -> tuple[FieldRow, list[FieldObject]]:
    rng = np.random.default_rng(key)
    illumination = draw_illumination(rng)
    share = 0.0 if subject.startswith("H") else rng.uniform(0.3, 0.95)
    whites = list(_whites(effects, share, rng))
    canvas = Canvas(effects)
    objects = list(_small_objects(canvas, whites, effects, name, rng))
    for number, white in enumerate(whites, 1):
        canvas.add_white(number, white.drawn, white.centre)
    image = canvas.image(illumination, rng)
    _save(folder / "fields" / f"{name}.png", image)
    _save(folder / "cells" / f"{name}.tif", canvas.cells)
    _save(folder / "nuclei" / f"{name}.tif", canvas.nuclei)
    found = [_row_of(name, k, white, canvas.cells) for k, white in enumerate(whites, 1)]
    counts = [sum(one.kind == kind for one in objects) for kind in ("red", "platelet")]
    row = FieldRow(
        name, subject, WIDTH, HEIGHT, UM_PER_PIXEL, round(RED_CELL * effects.size, 1),
        round(illumination.vignette, 4), round(illumination.gradient, 4), len(whites), *counts,
    )  # fmt: skip
    return row, found + objects


def _save(path: Path, pixels: Any) -> None:
    # Encoded here and not by imwrite, which only warns when the disk is full.
    _, encoded = cv2.imencode(path.suffix, pixels)
    path.write_bytes(encoded.tobytes())


def _whites(effects: Subject, share: float, rng: np.random.Generator) -> Iterator[_White]:
    """Place white cells: perhaps a touching pair, perhaps one cut by the frame, others apart."""
    if rng.random() < _EMPTY:
        return
    placed: list[_White] = []
    if rng.random() < _PAIR:
        placed += _pair(effects, share, rng)
    if rng.random() < _EDGE:
        placed += _apart(_new(effects, share, rng), placed, rng, at_edge=True)
    for _ in range(1 + rng.poisson(3)):
        placed += _apart(_new(effects, share, rng), placed, rng)
    yield from placed


def _new(effects: Subject, share: float, rng: np.random.Generator) -> _White:
    label = "all" if rng.random() < share else "hem"
    drawn = draw_whole_cell(label, effects, rng)
    y, x = np.nonzero(drawn.cell)
    radius = float(np.hypot(x - SIDE / 2, y - SIDE / 2).max())
    return _White(label, drawn, np.full(2, np.nan), radius)


def _apart(
    white: _White, placed: list[_White], rng: np.random.Generator, at_edge: bool = False
) -> list[_White]:
    """Place a cell away from all others; none if there is no room."""
    size = np.array([WIDTH, HEIGHT])
    for _ in range(_TRIES):
        margin = white.radius + 3
        centre = rng.uniform(margin, size - margin)
        if at_edge:
            side, beyond = rng.integers(2), white.radius * rng.uniform(-0.2, 0.7)
            centre[side] = beyond if rng.random() < 0.5 else size[side] - beyond
        if all(
            np.hypot(*(centre - one.centre)) > white.radius + one.radius + _GAP for one in placed
        ):
            white.centre = centre
            return [white]
    return []


def _pair(effects: Subject, share: float, rng: np.random.Generator) -> list[_White]:
    """Place two cells that touch or overlap, by up to ``MOST_OVERLAP`` of the smaller one."""
    first, second = _new(effects, share, rng), _new(effects, share, rng)
    margin = first.radius + 2 * second.radius + 3
    low = np.minimum([margin, margin], np.array([WIDTH, HEIGHT]) / 2 - 1)
    first.centre = np.rint(rng.uniform(low, np.array([WIDTH, HEIGHT]) - low))
    angle, wanted = rng.uniform(0, 2 * np.pi), rng.uniform(0, MOST_OVERLAP)
    direction = np.array([np.cos(angle), np.sin(angle)])
    near, far = 0.0, first.radius + second.radius
    for _ in range(12):  # halve the distance until the masks overlap as wanted
        middle = (near + far) / 2
        if _overlap_at(first, second, middle * direction) > wanted:
            near = middle
        else:
            far = middle
    offset = np.rint(far * direction)
    second.centre = first.centre + offset
    first.overlap = second.overlap = round(_overlap_at(first, second, offset), 4)
    first.partner, second.partner = 2, 1
    return [first, second]


def _overlap_at(first: _White, second: _White, offset: Point) -> float:
    """Return the share of the smaller cell that both cover, the second moved by an offset."""
    across, down = np.rint(offset).astype(int)
    if max(abs(across), abs(down)) >= SIDE:
        return 0.0
    here = first.drawn.cell[max(down, 0) : SIDE + down, max(across, 0) : SIDE + across]
    there = second.drawn.cell[max(-down, 0) : SIDE - down, max(-across, 0) : SIDE - across]
    both = np.count_nonzero(here & there)
    least = min(np.count_nonzero(first.drawn.cell), np.count_nonzero(second.drawn.cell))
    return float(both / least)


def _small_objects(
    canvas: Canvas, whites: list[_White], effects: Subject, name: str, rng: np.random.Generator
) -> Iterator[FieldObject]:
    """Draw red cells and platelets, which leave white cells free but for their rims."""
    number = len(whites)
    for kind, count, radius, draw in (
        ("red", 30 + rng.poisson(25), RED_CELL / 2 * effects.size, red_cell),
        ("platelet", rng.poisson(5), 17.0, platelet),
    ):
        for _ in range(count):
            own = float(radius * np.exp(rng.normal(0, 0.06 if kind == "red" else 0.15)))
            centre = rng.uniform(-own / 2, np.array([WIDTH, HEIGHT]) + own / 2)
            near = any(np.hypot(*(centre - one.centre)) < one.radius + 0.9 * own for one in whites)
            if near:
                continue
            canvas.add(draw(own, effects, rng), centre)
            number += 1
            left, top = np.maximum(np.rint(centre - own), 0).astype(int)
            right, bottom = np.minimum(np.rint(centre + own), [WIDTH, HEIGHT]).astype(int)
            cut = bool((centre < own).any() or (centre > np.array([WIDTH, HEIGHT]) - own).any())
            yield FieldObject(
                name, number, kind, None, int(left), int(top), int(right - left),
                int(bottom - top), None, cut, None, None,
            )  # fmt: skip


def _row_of(name: str, number: int, white: _White, cells: Labels) -> FieldObject:
    own = (cells == number).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(own)
    cut = x == 0 or y == 0 or x + w == WIDTH or y + h == HEIGHT
    return FieldObject(
        name, number, "white", white.label, x, y, w, h, int(own.sum()), cut, white.partner,
        white.overlap,
    )  # fmt: skip


def _notice(count: int, subjects: int, seed: int) -> str:
    return (
        "These fields are synthetic: blastscope drew them by rules and no patient's smear is among "
        "them.\n"
        "They have the truth beside them, so that finding and cutting out cells can be tried and "
        "tested.\n"
        "A result on them says nothing about real smears and must be called synthetic wherever it "
        "is shown.\n\n"
        f"seed: {seed}\nfields: {count}\nsubjects: {subjects}\n"
        f"image: {WIDTH} x {HEIGHT} pixels, {UM_PER_PIXEL} micrometres a pixel\n"
    )
