"""Calls by subject, and each subject's share of blasts."""

from __future__ import annotations

import polars as pl

from blastscope.decision.blast_share import Reference, blast_share
from blastscope.decision.decision import Decided


def subject_shares(cells: pl.DataFrame, decided: Decided, known: Reference | None) -> pl.DataFrame:
    """Sum up each known subject, the one with the most wrong calls first.

    Without ``known``, right calls of other subjects, no share is corrected.

    Returns:
        ``subject, label`` ("mixed" if a subject has both, null if unknown), ``cells``,
        ``called`` (share called ALL), ``wrong`` and ``referred`` (shares), ``covered`` (share of
        cells with the true label in their conformal set; null without labels) and, corrected,
        ``share`` with its 95 % interval ``low`` to ``high`` and ``line`` (``below``, ``above``,
        ``open`` or ``not estimable``; the share and its interval are null then).
    """
    is_all = pl.col("label") == "all"
    held = pl.when(is_all).then("set_all").when(~is_all).then("set_hem")  # null without a label
    rows = cells.select("subject", "label").with_columns(
        called=pl.Series(decided.called),
        refer=pl.Series(decided.refer),
        set_hem=pl.Series(decided.sets[:, 0]),
        set_all=pl.Series(decided.sets[:, 1]),
    )
    table = (
        rows.filter(pl.col("subject").is_not_null())
        .with_columns(wrong=pl.col("called") != is_all, held=held)
        .group_by("subject")
        .agg(
            label=pl.when(pl.col("label").drop_nulls().n_unique() > 1)
            .then(pl.lit("mixed"))
            .otherwise(pl.col("label").drop_nulls().first()),
            cells=pl.len().cast(pl.Int64),
            called_all=pl.col("called").sum().cast(pl.Int64),
            wrong=pl.col("wrong").mean(),
            referred=pl.col("refer").mean(),
            covered=pl.col("held").mean(),
        )
        .with_columns(called=pl.col("called_all") / pl.col("cells"))
    )
    columns = ("subject", "label", "cells", "called", "wrong", "referred", "covered")
    shared = ("share", "low", "high", "line")
    return worst_first(table.with_columns(_shares(table, known)).select(*columns, *shared))


def worst_first(table: pl.DataFrame) -> pl.DataFrame:
    """Order subjects by the share of wrong calls, those without labels last."""
    order = ("wrong", "cells", "subject")
    return table.sort(*order, descending=[True, True, False], nulls_last=True)


def _shares(table: pl.DataFrame, known: Reference | None) -> list[pl.Series]:
    shares = [
        None if known is None else blast_share(called, cells, known)
        for called, cells in table.select("called_all", "cells").iter_rows()
    ]
    numbers = [share if share and share.estimable else None for share in shares]
    columns = [
        pl.Series(name, [getattr(share, name, None) for share in numbers], dtype=pl.Float64)
        for name in ("share", "low", "high")
    ]
    return [*columns, pl.Series("line", [share and share.line for share in shares], pl.String)]
