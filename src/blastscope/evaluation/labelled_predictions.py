"""Give predictions the labels of a table of their own, so that they can be judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PureWindowsPath

import polars as pl

from blastscope.data.contradictions import (
    BelieveTable,
    check_names,
    refuse_contradictions,
)
from blastscope.data.labels import LabelTable, read_label_table
from blastscope.data.names import parse_name
from blastscope.errors import BlastscopeError, listing
from blastscope.evaluation.sources import InMemoryTable, RunNotes, Source, open_source
from blastscope.io.predictions import select_model
from blastscope.io.submission import is_submission, numeric_order, read_submission


def open_labelled(
    source: Path | InMemoryTable,
    labels: Path | None,
    part: str = "test",
    model: str | None = None,
    believe: BelieveTable | None = None,
) -> Source:
    """Open what is to be judged and give the cells of ``part`` the labels of a table.

    Args:
        source: a run, a prediction table, a submission (zip), or the ``.predict`` file out of one.
            The calls of a submission become probabilities of 0 and 1.
        labels: the labels table (see ``data.labels``), of just the cells of ``part``; subjects that
            it names are filled in as well. None if ``source`` has its labels.
        part: the part that the table is of; a submission is all ``test``.
        model: which model, if the prediction table holds several.
        believe: as :func:`open_source` takes it, for the table of labels too.

    Raises:
        BlastscopeError: if a file is none of these, the table is not of the same cells, or it
            contradicts labels or subjects that are there or the names of the cells.
    """
    submission = not isinstance(source, InMemoryTable) and is_submission(source)
    if labels is None:
        if submission:
            raise BlastscopeError(
                f"{source} is a submission, which has no labels: give a table of labels."
            )
        return open_source(source, believe)
    table = read_label_table(labels)
    known = _known(table, believe)
    if submission and not isinstance(source, InMemoryTable):
        opened = _submission(source, table, known)
    else:
        opened = open_source(source, believe)
        rows, _ = select_model(opened.predictions, opened.where, model)
        opened = replace(opened, predictions=_labelled(rows, opened.where, table, known, part))
    assumed = {str(table.path): list(table.assumed)} if table.assumed else {}
    return replace(opened, metadata={**opened.metadata, "labels_assumed": assumed})


def _known(table: LabelTable, believe: BelieveTable | None) -> pl.DataFrame:
    """Return what the labels table says, by the key of a file: ``cell``, ``label``, ``subject``.

    A name of C-NMC's form, of the file or in a column beside it, must not say something else.
    """
    schema = dict.fromkeys(("cell", "label", "subject"), pl.String)
    rows = [(key, row.label, row.subject) for key, row in table.rows.items()]
    known = pl.DataFrame(rows, schema=schema, orient="row")
    written = {each.key: PureWindowsPath(each.subject or each.file).stem for each in table.named}
    keys = known["cell"].to_list()
    names = pl.Series("cell", [_of_form(key, written[key]) for key in keys], dtype=pl.String)
    return check_names(known.with_columns(names), str(table.path), believe).with_columns(
        cell=pl.Series(keys, dtype=pl.String)
    )


def _of_form(key: str, beside: str) -> str:
    """Return the name that says most of a cell: the file's, or the one in the column beside it."""
    return beside if parse_name(beside).label else key


def _submission(path: Path, table: LabelTable, known: pl.DataFrame) -> Source:
    """Put calls and labels side by side, line N beside ``N.bmp``."""
    calls = read_submission(path)
    names = list(table.rows)
    if len(calls) != len(names):
        raise BlastscopeError(
            f"{path} has {len(calls)} lines and {table.path} {len(names)} labels: give the labels "
            "of the same images."
        )
    predictions = known[numeric_order(names, str(table.path))].with_columns(
        part=pl.lit("test"),
        model=pl.lit(f"{path.name} (0/1 calls)"),
        p_all=pl.Series(calls.astype(float)),
    )
    out = path.with_name(f"{path.stem}-evaluation")
    return Source(path, str(path), predictions, {}, out, RunNotes())


def _labelled(
    rows: pl.DataFrame, path: str, table: LabelTable, known: pl.DataFrame, part: str
) -> pl.DataFrame:
    """Fill in label and subject of one model's rows of ``part``."""
    here = pl.col("part") == part
    names = rows.filter(here)["cell"].str.to_lowercase().to_list()
    _refuse_other_cells(names, path, table, part)
    keyed = rows.with_columns(_name=pl.when(here).then(pl.col("cell").str.to_lowercase()))
    mine = keyed.drop_nulls("_name").select("label", "subject", cell="_name")
    refuse_contradictions(mine, path, known, str(table.path))
    known = known.rename({"cell": "_name", "label": "_label", "subject": "_subject"})
    joined = keyed.join(known, on="_name", how="left", maintain_order="left")
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
