"""The randomization test, judged."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from blastscope.explanation.audit.sanity_checks import Undecided, WeightsVerdict
from blastscope.report.audit_text import model_text
from tests.explanation.audit.made import LABELS, cells_of, only, randomized_of

FOLLOWS, IN_PART, STAYS, UNDECIDED = WeightsVerdict


@pytest.mark.parametrize(
    ("last", "between", "cells", "verdict", "why"),
    [
        (0.2, 0.2, 24, FOLLOWS, None),
        (0.4, 0.2, 24, IN_PART, None),
        (0.9, 0.2, 24, STAYS, None),
        (0.9, 0.9, 24, UNDECIDED, Undecided.MAPS_ALIKE),  # two cells' maps are as alike
        (0.1, 0.86, 24, FOLLOWS, None),  # two cells' maps are alike, but it did change
        (
            0.7,
            0.72,
            24,
            UNDECIDED,
            Undecided.LITTLE_CHANGE,
        ),  # no more alike than they are, and hardly changed
        (0.7, 0.95, 24, UNDECIDED, Undecided.LITTLE_CHANGE),  # likewise, and clearly less alike
        (0.2, 0.2, 4, UNDECIDED, Undecided.TOO_FEW_CELLS),
    ],
)
def test_randomization_is_judged_by_the_level_between_cells(last, between, cells, verdict, why):
    rows = randomized_of(last=last, between=between, cells=cells)
    found = only(cells_of(LABELS), rows).randomized
    assert (found.verdict, found.undecided) == (verdict, why)
    mine = rows.filter(pl.col("stage") == 3)["correlation"].abs()
    assert found.stages[3].correlation == pytest.approx(mine.mean())
    assert [stage.layer for stage in found.stages] == ["as trained", "head", "block 2", "block 1"]


@pytest.mark.parametrize(
    ("last", "between", "less", "easy"),
    [
        (0.27, 0.7, True, True),
        (0.2, 0.2, False, False),
        (0.1, 0.4, True, False),
        (0.7, 0.95, True, True),
    ],
)
def test_a_test_that_is_easy_to_pass_is_marked(last, between, less, easy):
    rows = randomized_of(last=last, between=between, cells=24, spread=0.02)
    model = only(cells_of(LABELS), rows)
    found = model.randomized
    assert found.excess.negated().above_zero == less
    assert found.easy == easy
    passed = found.verdict == FOLLOWS
    text = next(text for text in model_text(model, "keep") if "absolute correlation" in text)
    assert ("this test is easy to pass" in text) == (easy and passed)


def test_draws_are_averaged_cell_by_cell_and_their_range_is_kept():
    rows = randomized_of(last=0.2, between=0.2, cells=20, draws=3)
    luck = pl.col("draw").replace_strict({0: 0.5, 1: 1.0, 2: 1.5}, return_dtype=pl.Float64)
    known = (pl.col("stage") < 3) | (pl.col("draw") > 0) | (pl.col("cell") > "c0004")
    rows = rows.with_columns(pl.when(known).then(pl.col("correlation") * luck))
    found = only(cells_of(LABELS), rows).randomized
    last = rows.filter(pl.col("stage") == 3)
    table = last.pivot("draw", index="cell", values="correlation").sort("cell")
    values = np.abs(table.select("0", "1", "2").to_numpy())
    of_cells = np.nanmean(values, axis=1)
    assert found.stages[3].cells == 20
    assert found.stages[3].correlation == pytest.approx(of_cells.mean())
    between = rows.filter(pl.col("stage") == -1).sort("cell")["correlation"].abs().to_numpy()
    # a row of draw 0 alone is not halved for that
    assert found.excess.value == pytest.approx((of_cells - between).mean())
    assert found.drawn == pytest.approx(np.nanmean(values, axis=0))
    assert found.unit == "subject"
    assert len(only(cells_of(LABELS), randomized_of()).randomized.drawn) == 1


def test_a_map_turned_around_is_still_the_map_and_a_flat_one_is_none():
    rows = randomized_of(last=0.9, between=0.1, cells=20)
    turned = rows.with_columns(
        correlation=pl.when(pl.col("stage") == 3)
        .then(-pl.col("correlation"))
        .otherwise("correlation")
    )
    cells = cells_of(LABELS)
    assert only(cells, turned).randomized == only(cells, rows).randomized
    assert only(cells, turned).randomized.verdict == STAYS
    flat = rows.with_columns(correlation=pl.when(pl.col("stage") < 3).then(pl.col("correlation")))
    found = only(cells, flat).randomized
    assert found.stages[3].cells == 0
    assert math.isnan(found.stages[3].correlation)
    assert found.verdict == UNDECIDED


def test_noise_around_zero_from_a_few_cells_does_not_pass_for_following():
    rows = randomized_of(last=0.5, between=0.1, cells=6, spread=0)
    noisy = rows["correlation"].to_numpy().copy()
    noisy[(rows["stage"] == 3).to_numpy()] = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    found = only(cells_of(LABELS), rows.with_columns(correlation=noisy)).randomized
    assert found.excess.low < 0 < found.excess.high
    assert found.undecided is Undecided.WIDE_INTERVAL
