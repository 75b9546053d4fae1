"""Write a folder of synthetic cells in the layout and format of C-NMC 2019.

They let the whole system be tried, tested and timed without patient data. They are drawn by rules
(:mod:`blastscope.data.synthetic_drawing`), so a result on them says nothing about real cells. A
marker file at the top of their folder says that they are synthetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from blastscope.data.synthetic_drawing import SIDE, Subject, draw_cell, draw_subject
from blastscope.errors import BlastscopeError
from blastscope.io.files import refuse_store, replacing_folder

MARKER = "SYNTHETIC.txt"
FIELD_TABLES = "fields.csv", "objects.csv"
"""The tables of a folder of synthetic fields, which have no row for a file."""
FOLDS = 3
FIRST_SUBJECT = 901
"""Lowest subject number: none of the real subjects has so high a one."""

_ALL_CELLS = 2 / 3  # of the cells are ALL; 7,272 of 10,661 in C-NMC
_ALL_SUBJECTS = 0.6  # of the subjects have ALL; 47 of 73 in C-NMC
_CELLS_PER_IMAGE = 3
_SUBJECT_STREAM, _CELL_STREAM, _COUNT_STREAM = 1, 2, 3


def is_marked(folder: Path) -> bool:
    """Return whether a folder is one of synthetic cells, or is at most two folders below one."""
    whole = folder.resolve()  # "." has neither a name nor parents
    return any((up / MARKER).is_file() for up in (whole, *whole.parents[:2]))


@dataclass(frozen=True)
class _Cell:
    name: Path
    label: str
    subject: Subject


def write_synthetic(
    folder: Path,
    cells: int,
    subjects: int,
    seed: int,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Write synthetic cells to ``folder``, whole or not at all.

    The layout is C-NMC's: ``fold_0`` to ``fold_2``, in each ``all`` and ``hem``, in these
    ``UID_<subject>_<image>_<cell>_<label>.bmp`` of 450 x 450 pixels and 24 bits (0.6 MB each). A
    subject lies whole in one fold; about 2/3 of the cells and 60 % of the subjects are ALL, and
    subjects differ in their number of cells. A file ``SYNTHETIC.txt`` says what the folder holds.

    The same arguments and library versions give the same bytes, however many threads draw.

    Args:
        folder: where to write; it must not exist or be empty.
        cells: how many cells, at least one for each subject.
        subjects: how many subjects, at least 2; from 6 on, every fold has both classes.

    Raises:
        BlastscopeError: if an argument is out of its range, the folder is in use or it cannot be
            written.
    """
    _check(folder, cells, subjects, seed)
    with replacing_folder(folder) as beside:
        _write_cells(beside, _plan(cells, subjects, seed), seed, on_progress)
        (beside / MARKER).write_text(_notice(cells, subjects, seed), encoding="utf-8")


def _check(folder: Path, cells: int, subjects: int, seed: int) -> None:
    if subjects < 2:
        raise BlastscopeError(
            f"{subjects} synthetic subjects are too few: give at least 2, one of each class."
        )
    if cells < subjects:
        raise BlastscopeError(
            f"{cells} synthetic cells are too few for {subjects} subjects: give at least one each."
        )
    if seed < 0:
        raise BlastscopeError(f"The seed {seed} is negative: give 0 or more.")
    refuse_taken_folder(folder)


def refuse_taken_folder(folder: Path) -> None:
    """Refuse to draw into a folder that has content, or no name of its own.

    Raises:
        BlastscopeError: if it is so.
    """
    if not folder.name:
        raise BlastscopeError(f"{folder} has no name of its own: give the name of a new folder.")
    refuse_store(folder)
    if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
        raise BlastscopeError(f"{folder} is there and not empty: choose a new folder.")


def _plan(cells: int, subjects: int, seed: int) -> list[_Cell]:
    """Return every cell to be drawn: its path below the folder, its class and its subject."""
    least = min(FOLDS, subjects // 2)
    with_all = int(np.clip(round(_ALL_SUBJECTS * subjects), least, subjects - least))
    counts = {"all": with_all, "hem": subjects - with_all}
    cells_all = int(np.clip(round(_ALL_CELLS * cells), with_all, cells - counts["hem"]))
    totals = {"all": cells_all, "hem": cells - cells_all}
    plan = []
    for stream, (label, prefix) in enumerate([("all", ""), ("hem", "H")]):
        rng = np.random.default_rng([seed, _COUNT_STREAM, stream])
        shares = rng.dirichlet(np.full(counts[label], 3.0))
        sizes = 1 + rng.multinomial(totals[label] - counts[label], shares)
        for k, size in enumerate(sizes):
            effects = draw_subject(np.random.default_rng([seed, _SUBJECT_STREAM, stream, k]))
            stem = f"UID_{prefix}{FIRST_SUBJECT + k}"
            place = Path(f"fold_{k % FOLDS}") / label
            for cell in range(int(size)):
                image, number = divmod(cell, _CELLS_PER_IMAGE)
                name = place / f"{stem}_{image + 1}_{number + 1}_{label}.bmp"
                plan.append(_Cell(name, label, effects))
    return plan


def _write_cells(
    folder: Path, plan: list[_Cell], seed: int, on_progress: Callable[[int], None] | None
) -> None:
    for place in sorted({cell.name.parent for cell in plan}):
        (folder / place).mkdir(parents=True)

    def write(index: int) -> None:
        cell = plan[index]
        # A generator of its own makes a cell independent of which thread draws it and when.
        rng = np.random.default_rng([seed, _CELL_STREAM, index])
        # Encoded here and not by imwrite, which only warns when the disk is full.
        _, encoded = cv2.imencode(".bmp", draw_cell(cell.label, cell.subject, rng))
        (folder / cell.name).write_bytes(encoded.tobytes())

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for index, _ in enumerate(pool.map(write, range(len(plan)))):
            if on_progress is not None:
                on_progress(index + 1)


def _notice(cells: int, subjects: int, seed: int) -> str:
    return (
        "These cells are synthetic: blastscope drew them by rules and no patient's cell is among "
        "them.\n"
        "They have the layout, the names and the format of the C-NMC 2019 training data, so that "
        "the software can be tried and tested without it.\n"
        "A result on them says nothing about real cells and must be called synthetic wherever it "
        "is shown.\n\n"
        f"seed: {seed}\ncells: {cells}\nsubjects: {subjects}\n"
        f"image: {SIDE} x {SIDE} pixels, 24-bit BMP\n"
    )
