"""Give predictions the labels of a table of their own, so that they can be judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from blastscope.data.labels import LabelTable, read_label_table
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.sources import InMemoryTable, RunNotes, Source, open_source
from blastscope.io.predictions import select_model
from blastscope.io.submission import is_submission, numeric_order, read_submission


def open_labelled(
    source: Path | InMemoryTable, labels: Path | None, part: str = "test", model: str | None = None
) -> Source:
    """Open what is to be judged and give the cells of ``part`` the labels of a table.

    Args:
        source: a run, a prediction table, a submission (zip), or the ``.predict`` file out of one.
            The calls of a submission become probabilities of 0 and 1.
        labels: the labels table (see ``data.labels``), of just the cells of ``part``; subjects that
            it names are filled in as well. None if ``source`` has its labels.
        part: the part that the table is of; a submission is all ``test``.
        model: which model, if the prediction table holds several.

    Raises:
        BlastscopeError: if a file is none of these, the table is not of the same cells, or it
            contradicts labels or subjects that are there.
    """
    submission = not isinstance(source, InMemoryTable) and is_submission(source)
    if labels is None:
        if submission:
            raise BlastscopeError(
                f"{source} is a submission, which has no labels: give a table of labels."
            )
        return open_source(source)
    table = read_label_table(labels)
    if submission and not isinstance(source, InMemoryTable):
        return _submission(source, table)
    opened = open_source(source)
    rows, _ = select_model(opened.predictions, opened.where, model)
    return replace(opened, predictions=_labelled(rows, opened.where, table, part))


def _submission(path: Path, table: LabelTable) -> Source:
    """Put calls and labels side by side, line N beside ``N.bmp``."""
    calls = read_submission(path)
    names = list(table.rows)
    if len(calls) != len(names):
        raise BlastscopeError(
            f"{path} has {len(calls)} lines and {table.path} {len(names)} labels: give the labels "
            "of the same images."
        )
    ordered = [names[place] for place in numeric_order(names, str(table.path))]
    predictions = pl.DataFrame(
        {
            "cell": ordered,
            "subject": pl.Series([table.rows[name].subject for name in ordered], dtype=pl.String),
            "label": [table.rows[name].label for name in ordered],
            "part": "test",
            "model": f"{path.name} (0/1 calls)",
            "p_all": calls.astype(float),
        }
    )
    out = path.with_name(f"{path.stem}-evaluation")
    return Source(path, str(path), predictions, {}, out, RunNotes())


def _labelled(rows: pl.DataFrame, path: str, table: LabelTable, part: str) -> pl.DataFrame:
    """Fill in label and subject of one model's rows of ``part``."""
    here = pl.col("part") == part
    names = rows.filter(here)["cell"].str.to_lowercase().to_list()
    _refuse_other_cells(names, path, table, part)
    known = pl.DataFrame(
        [(name, row.label, row.subject) for name, row in table.rows.items()],
        schema={"_name": pl.String, "_label": pl.String, "_subject": pl.String},
        orient="row",
    )
    joined = rows.with_columns(_name=pl.when(here).then(pl.col("cell").str.to_lowercase())).join(
        known, on="_name", how="left", maintain_order="left"
    )
    for name in ("label", "subject"):
        _refuse_contradiction(joined, name, path, table)
    return joined.with_columns(
        pl.coalesce("label", "_label").alias("label"),
        pl.coalesce("subject", "_subject").alias("subject"),
    ).drop("_name", "_label", "_subject")


def _refuse_other_cells(names: list[str], path: str, table: LabelTable, part: str) -> None:
    without = sorted(set(names) - table.rows.keys())
    unasked = sorted(table.rows.keys() - set(names))
    if not without and not unasked:
        return
    stray = f"no label for {listing(without, 3)}" if without else f"{listing(unasked, 3)} besides"
    raise BlastscopeError(
        f"{path} has {len(names)} {part} cells and {table.path} {len(table.rows)} labels, with "
        f"{stray}: give the labels of just these cells."
    )


def _refuse_contradiction(joined: pl.DataFrame, name: str, path: str, table: LabelTable) -> None:
    odd = joined.filter(pl.col(name) != pl.col(f"_{name}"))
    if odd.is_empty():
        return
    first = odd.row(0, named=True)
    raise BlastscopeError(
        f"{path} and {table.path} contradict each other in the {name} of {odd.height} cells, "
        f"first of {first['cell']} ({first[name]} and {first[f'_{name}']}): correct one of them."
    )
