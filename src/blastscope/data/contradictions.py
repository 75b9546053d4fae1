"""What two sources say about the same cells: where they contradict each other, work stops.

A cell's label and subject may be in a table of predictions, in a table of labels, in a store and
in a name of C-NMC's form. A metric by the wrong one of two would look like any other.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import polars as pl

from blastscope.data.layouts import Problem
from blastscope.data.names import parse_name
from blastscope.errors import BlastscopeError
from blastscope.io.subject_names import LOST_ZEROS, differ_in_zeros, with_subject_names

BelieveTable: TypeAlias = Literal["name", "table"]
"""What to believe if a table and the names of its cells contradict each other."""
_EXAMPLES = 3
_FIX = "correct one of them"


def refuse_contradictions(
    table: pl.DataFrame, where: str, other: pl.DataFrame, other_where: str, remedy: str = _FIX
) -> None:
    """Refuse two tables that say different things of a cell's label or subject.

    Args:
        table: ``cell``, ``label`` and ``subject``; what is null says nothing.
        where: what messages call it.
        other: the same columns, a row a cell.
        other_where: what messages call it.
        remedy: what to do, an imperative.

    Raises:
        BlastscopeError: if they do; it counts the cells and shows the first.
    """
    columns = ("label", "subject")
    other = with_subject_names(other.select("cell", *columns))
    joined = with_subject_names(table.select("cell", *columns)).join(
        other, on="cell", how="inner", suffix="_other", maintain_order="left"
    )
    for name in columns:
        odd = joined.filter(pl.col(name) != pl.col(f"{name}_other"))
        if not odd.is_empty():
            if name == "subject" and differ_in_zeros(odd[name], odd[f"{name}_other"]):
                remedy = LOST_ZEROS
            raise BlastscopeError(
                f"{where} and {other_where} contradict each other in the {name} of {odd.height:,} "
                f"cells, first of {_shown(odd, name)}: {remedy}."
            )


def label_conflicts(cells: pl.DataFrame) -> list[Problem]:
    """Return the cells with the pixels of another cell that has another label, as problems.

    One of the two labels must be wrong, and nothing says which.

    Args:
        cells: ``file``, ``label`` and ``pixel_hash``; without a label a cell contradicts nothing.
    """
    labelled = cells.select("file", "label", "pixel_hash").drop_nulls()
    odd = labelled.filter(pl.col("label").n_unique().over("pixel_hash") > 1).sort("file")
    problems = []
    for file, label, pixel_hash in odd.iter_rows():
        twin = odd.filter((pl.col("pixel_hash") == pixel_hash) & (pl.col("label") != label)).row(0)
        what = f"is labelled {label}, and {twin[0]} has the same pixels and is labelled {twin[1]}"
        problems.append(Problem(file, "same-pixels", what))
    return problems


def _shown(odd: pl.DataFrame, name: str) -> str:
    first = odd.select("cell", name, f"{name}_other").head(_EXAMPLES).iter_rows()
    more = f" and {odd.height - _EXAMPLES:,} more" * (odd.height > _EXAMPLES)
    return ", ".join(f"{cell} ({one} and {other})" for cell, one, other in first) + more


def said_by_names(cells: pl.Series) -> pl.DataFrame:
    """Return ``cell``, ``label`` and ``subject`` as names of C-NMC's form say them."""
    unique = cells.unique(maintain_order=True).to_list()
    named = [(cell, name.label, name.subject) for cell in unique if (name := parse_name(cell))]
    schema = dict.fromkeys(("cell", "label", "subject"), pl.String)
    return pl.DataFrame(named, schema=schema, orient="row")


def check_names(
    table: pl.DataFrame, where: str, believe: BelieveTable | None = None
) -> pl.DataFrame:
    """Refuse a table whose cells have names that say something else of them.

    Subjects that a table calls otherwise throughout, one name for one, are not a contradiction.

    Returns:
        The table; with ``believe="name"`` its labels and subjects are those of the names.

    Raises:
        BlastscopeError: if they contradict each other and nothing says which to believe.
    """
    if believe == "table":
        return table
    named = said_by_names(table["cell"])
    if believe == "name":
        joined = table.join(named, on="cell", how="left", suffix="_name", maintain_order="left")
        believed = [pl.coalesce(f"{name}_name", name).alias(name) for name in ("label", "subject")]
        return joined.with_columns(believed).select(table.columns)
    pairs = table.select("cell", "subject").join(named, on="cell", suffix="_name")
    pairs = pairs.select("subject", "subject_name").drop_nulls().unique()
    if all(pairs[name].n_unique() == pairs.height for name in pairs.columns) and pairs.height > 1:
        named = named.with_columns(subject=pl.lit(None, pl.String))
    remedy = "say with --believe (name or table) which is right, or correct the table"
    refuse_contradictions(table, where, named, "the names of its cells", remedy)
    return table
