"""The figures of decisions: whom they show, and that they say so."""

from __future__ import annotations

import polars as pl

from blastscope.report.evaluation_plots import MOST_SUBJECTS, shares_plot


def shares_of(count: int) -> pl.DataFrame:
    """So many subjects, the one with the most wrong calls first; the normal ones do worst."""
    return pl.DataFrame(
        {
            "subject": [f"P{k}" for k in range(count)],
            "label": ["hem" if k < 10 else "all" for k in range(count)],
            "cells": [20] * count,
            "called": [0.2 if k < 10 else 0.95 for k in range(count)],
            "share": [0.0 if k < 10 else 1.0 for k in range(count)],
            "low": [0.0 if k < 10 else 0.8 for k in range(count)],
            "high": [0.3 if k < 10 else 1.0 for k in range(count)],
            "line": ["open" if k < 10 else "above" for k in range(count)],
        }
    )


def test_of_many_subjects_the_worst_are_drawn_and_the_title_says_so():
    (axes,) = shares_plot(shares_of(MOST_SUBJECTS + 10)).axes
    names = {label.get_text().split()[0] for label in axes.get_yticklabels()}
    assert names == {f"P{k}" for k in range(MOST_SUBJECTS)}
    assert f"the worst {MOST_SUBJECTS} of {MOST_SUBJECTS + 10}" in axes.get_title(loc="left")
    (few,) = shares_plot(shares_of(12)).axes
    assert "worst" not in few.get_title(loc="left")


def test_the_title_counts_the_shares_that_are_not_drawn_by_their_reason():
    first = pl.int_range(pl.len())
    lines = pl.when(first > 2).then("line").when(first > 0).then(pl.lit("not estimable"))
    shares = shares_of(12).with_columns(share=pl.when(first > 2).then("share"), line=lines)
    (axes,) = shares_plot(shares).axes
    assert len(axes.get_yticklabels()) == 9
    assert "2 not estimable, 1 not corrected" in axes.get_title(loc="left")
