"""Accuracy by subject: subjects differ more than cells do, and a mean hides it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.evaluation.metrics import THRESHOLD

_Z95 = 1.959963984540054  # the normal distribution's 97.5 % point


def wilson_interval(
    successes: NDArray[np.int_], trials: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bounds of the 95 % score interval of shares, within [0, 1], shape (n,) each.

    E. B. Wilson, JASA 22:209-212, 1927. ``trials`` are above zero.
    """
    share = successes / trials
    scale = 1 + _Z95**2 / trials
    centre = (share + _Z95**2 / (2 * trials)) / scale
    half = _Z95 / scale * np.sqrt(share * (1 - share) / trials + (_Z95 / (2 * trials)) ** 2)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def subject_table(cells: pl.DataFrame) -> pl.DataFrame:
    """Sum up the labelled cells of each known subject, the worst subject first.

    Returns:
        ``subject``, ``label`` ("mixed" if a subject has both), ``cells``, ``correct``, ``accuracy``
        with its 95 % Wilson interval ``low`` to ``high``, and ``mean_p_all``. The interval treats a
        subject's cells as independent draws; the true uncertainty is larger.
    """
    called = pl.when(pl.col("p_all") > THRESHOLD).then(pl.lit("all")).otherwise(pl.lit("hem"))
    table = (
        cells.filter(pl.col("subject").is_not_null() & pl.col("label").is_not_null())
        .group_by("subject")
        .agg(
            label=pl.when(pl.col("label").n_unique() > 1)
            .then(pl.lit("mixed"))
            .otherwise(pl.col("label").first()),
            cells=pl.len().cast(pl.Int64),
            correct=(called == pl.col("label")).sum().cast(pl.Int64),
            mean_p_all=pl.col("p_all").mean(),
        )
        .with_columns(accuracy=pl.col("correct") / pl.col("cells"))
    )
    low, high = wilson_interval(table["correct"].to_numpy(), table["cells"].to_numpy())
    return (
        table.with_columns(low=pl.Series(low), high=pl.Series(high))
        .sort("accuracy", "cells", "subject", descending=[False, True, False])
        .select("subject", "label", "cells", "correct", "accuracy", "low", "high", "mean_p_all")
    )
