"""The paper's own split, as far as it can be recovered.

The authors' notebook lists the 6,396 files of its final training set: 3,198 ALL cells, 1,964 normal
ones and 1,234 augmented copies of normal ones. The 1,234 ALL cells that balancing left out of
training, and which of the rest were validation and which test, were not printed. They are drawn
here under a seed, in the published numbers (Section 1.1: 4,432 + 1,964, 1,403 + 729, 1,437 + 696).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import polars as pl

from blastscope.data.cell_sources import read_names
from blastscope.data.names import ALL, HEM, parse_name
from blastscope.data.split_table import USES, Split
from blastscope.errors import BlastscopeError

PUBLISHED = {ALL: (1234, 1403, 1437), HEM: (0, 729, 696)}
"""Cells beyond the listed ones, by class: trained-set cells left out, validation, test."""


def paper_split(cells: pl.DataFrame, membership: Path, seed: int = 24) -> Split:
    """Rebuild the published training membership.

    Args:
        cells: ``cell`` and ``label`` of the C-NMC training set, or of a subset of it.
        membership: a CSV ``file,augmented_copy_of`` of the final training set's files.
        seed: draws what was not published.

    Returns:
        A split with the column ``uses``: how often the balanced training set has each cell. On a
        subset of the data the drawn numbers keep their published proportions.

    Raises:
        BlastscopeError: if the list cannot be read or names none of the cells.
    """
    originals, copied = _read_membership(membership)
    known = cells.filter(pl.col("label").is_not_null()).sort("cell")
    listed = known.filter(pl.col("cell").is_in(list(originals)))
    if not listed.height:
        raise BlastscopeError(f"{membership} names none of these cells: it is for C-NMC 2019.")
    parts = dict.fromkeys(listed["cell"].to_list(), "train")
    uses = {cell: 1 + (cell in copied) for cell in parts}
    rest = known.filter(~pl.col("cell").is_in(list(originals)))
    for label, published in PUBLISHED.items():
        names = rest.filter(pl.col("label") == label)["cell"].to_list()
        random.Random(f"{seed} {label}").shuffle(names)
        left_out, validation, _ = _apportion(len(names), published)
        for place, cell in enumerate(names):
            drawn = "validation" if place < left_out + validation else "test"
            parts[cell] = "train" if place < left_out else drawn
            uses[cell] = int(place >= left_out)
    table = pl.DataFrame({"cell": list(parts), "part": parts.values(), USES: uses.values()})
    notes = [_note(len(originals), listed.height)]
    return Split(table.cast({USES: pl.Int8()}).sort("cell"), "paper", seed, (), tuple(notes))


def _note(published: int, here: int) -> str:
    told = f"{here:,} of the {published:,} published training cells are here"
    return f"{told}; validation, test and the cells that balancing left out are drawn by the seed"


def _read_membership(path: Path) -> tuple[set[str], set[str]]:
    """Return the cells listed as themselves, and those with an augmented copy."""
    table = read_names(path, "file", "augmented_copy_of")
    copied = {_cell(name) for name in table["augmented_copy_of"] if name}
    originals = {
        _cell(file)
        for file, copy in table.select("file", "augmented_copy_of").iter_rows()
        if not copy
    }
    return originals, copied


def _cell(name: str) -> str:
    return parse_name(PureWindowsPath(name).stem).cell


def _apportion(total: int, shares: Sequence[int]) -> list[int]:
    """Divide ``total`` in the proportion of ``shares``, exactly, by largest remainder."""
    exact = [total * share / sum(shares) for share in shares]
    whole = [int(value) for value in exact]
    behind = sorted(range(len(shares)), key=lambda k: whole[k] - exact[k])
    for k in behind[: total - sum(whole)]:
        whole[k] += 1
    return whole
