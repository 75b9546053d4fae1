"""The cells where a model looks elsewhere than at the cell: at the background, or at debris."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from blastscope.explanation.audit.words import counted

WHERE = {"background": "the background", "debris": "debris"}
"""The places to look at other than the cell, as they are called in a sentence."""
MOST = 12
"""How many cells of a kind are named."""
BEYOND = 0.05
"""By how much the place's share of the heat must exceed its share of the picture for a cell to
count: a hair's breadth is nothing to look at."""


@dataclass(frozen=True)
class OffCellHeat:
    """One cell, and how much of the heat is where it should not be.

    Attributes:
        cell: its name.
        label: its true class, if known.
        called: what the model called it.
        p_all: the model's probability.
        heat: share of the Grad-CAM evidence for the call on the place.
        area: the place's share of the picture.
        ratio: of the two.
    """

    cell: str
    label: str | None
    called: str
    p_all: float
    heat: float
    area: float
    ratio: float


@dataclass(frozen=True)
class Elsewhere:
    """The cells with clearly more of the heat on a place than its share of the picture.

    Attributes:
        place: ``background`` or ``debris``.
        total: how many such cells there are.
        of: cells that have the place, and evidence for their call.
        expected: how many there would be with another cell's map laid on each of these: a map
            that ignores the picture, but knows where cells lie in pictures. None where unknown.
        expected_of: cells that have such another map.
        worst: at most ``MOST``, the most heat beyond the place's share first.
        sentence: the counts in words.
    """

    place: str
    total: int
    of: int
    expected: int | None
    expected_of: int
    worst: tuple[OffCellHeat, ...]
    sentence: str


def looks(cells: pl.DataFrame) -> dict[str, tuple[Elsewhere, ...]]:
    """Name the cells where each model looks at the background, and at debris.

    The worst are those with the most heat beyond the area's share, not those of the highest ratio:
    on next to no background any heat is many times its share.

    Args:
        cells: ``study.parquet``.

    Returns:
        By model, in the order of the table: background, then debris. A place that no cell has, or
        where no cell has evidence, is left out.
    """
    found = {}
    for model in cells["model"].unique(maintain_order=True):
        mine = cells.filter(pl.col("model") == model)
        places = (_elsewhere(mine, place) for place in WHERE)
        found[str(model)] = tuple(place for place in places if place is not None)
    return found


def _elsewhere(cells: pl.DataFrame, place: str) -> Elsewhere | None:
    heat, area = pl.col(f"heat_{place}"), pl.col(f"area_{place}")
    have = cells.filter(heat.is_not_null() & (area > 0))
    if not have.height:
        return None
    more = have.filter(heat - area > BEYOND)
    other = pl.col(f"other_{place}")
    laid = have.filter(other.is_not_null())
    expected = laid.filter(other - area > BEYOND).height if laid.height else None
    no_more = expected is not None and 0 < laid.filter(heat - area > BEYOND).height <= expected
    # sorted by name within a tie, so that a table in another order names the same cells
    worst = more.sort(heat - area, pl.col("cell"), descending=[True, False]).head(MOST)
    shown = tuple(
        OffCellHeat(**row)
        for row in worst.select(
            "cell", "label", "called", "p_all", heat.alias("heat"), area.alias("area"),
            (heat / area).alias("ratio"),
        ).iter_rows(named=True)
    )  # fmt: skip
    sentence = _sentence(place, more.height, have.height, expected, laid.height)
    if no_more:
        sentence += (
            " They are no more than that: to be named here may come of where a cell lies, and not "
            f"of anything found in {WHERE[place]}."
        )
    return Elsewhere(place, more.height, have.height, expected, laid.height, shown, sentence)


def _sentence(place: str, total: int, of: int, expected: int | None, expected_of: int) -> str:
    which = "" if place == "background" else " with debris"
    have = "has" if total == 1 else "have"
    said = (
        f"{total:,} of {counted(of)}{which} {have} more heat on {WHERE[place]} than its "
        f"share of the picture, by over {100 * BEYOND:g} points"
    )
    if expected is None:
        return f"{said}."
    those = "" if expected_of == of else f" of {expected_of:,}"
    return f"{said}; with other cells' maps laid on these cells it would be {expected:,}{those}."
