"""The randomisation test, judged."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from blastscope.explanation.audit.sanity_checks import FOLLOWS, IN_PART, STAYS, UNTOLD
from tests.explanation.audit.studies import LABELS, cells_of, only, randomised_of


@pytest.mark.parametrize(
    ("last", "between", "cells", "verdict"),
    [
        (0.2, 0.2, 24, FOLLOWS),
        (0.4, 0.2, 24, IN_PART),
        (0.9, 0.2, 24, STAYS),
        (0.9, 0.9, 24, UNTOLD),  # two cells' maps are as alike
        (0.1, 0.86, 24, FOLLOWS),  # two cells' maps are alike, but it did change
        (0.7, 0.72, 24, UNTOLD),  # no more alike than they are, and hardly changed
        (0.7, 0.95, 24, UNTOLD),  # likewise, and clearly less alike
        (0.2, 0.2, 4, UNTOLD),
    ],
)
def test_randomisation_is_judged_against_the_level_between_cells(last, between, cells, verdict):
    rows = randomised_of(last=last, between=between, cells=cells)
    found = only(cells_of(LABELS), rows).randomised
    assert found.verdict == verdict
    mine = rows.filter(pl.col("stage") == 3)["correlation"].abs()
    assert found.stages[3].correlation == pytest.approx(mine.mean())
    assert [stage.layer for stage in found.stages] == ["as trained", "head", "block 2", "block 1"]
    assert ("not from what was learned" in found.sentence) == (verdict in (IN_PART, STAYS))


@pytest.mark.parametrize(
    ("last", "between", "said", "easy"),
    [
        (0.27, 0.7, "it is clearly less alike than two cells' maps are", True),
        (0.2, 0.2, "it is not clearly more alike than two cells' maps are", False),
        (0.1, 0.4, "it is clearly less alike than two cells' maps are", False),
        (0.7, 0.95, "it is clearly less alike than two cells' maps are, but those", True),
    ],
)
def test_less_alike_is_said_and_so_is_an_easy_pass(last, between, said, easy):
    rows = randomised_of(last=last, between=between, cells=24, spread=0.02)
    found = only(cells_of(LABELS), rows).randomised
    assert said in found.sentence
    assert found.easy == easy
    passed = found.verdict == FOLLOWS
    assert ("this test is easy to pass" in found.sentence) == (easy and passed)


def test_scrambles_are_averaged_cell_by_cell_and_their_range_is_told():
    rows = randomised_of(last=0.2, between=0.2, cells=20, draws=3)
    luck = pl.col("draw").replace_strict({0: 0.5, 1: 1.0, 2: 1.5}, return_dtype=pl.Float64)
    known = (pl.col("stage") < 3) | (pl.col("draw") > 0) | (pl.col("cell") > "c0004")
    rows = rows.with_columns(pl.when(known).then(pl.col("correlation") * luck))
    found = only(cells_of(LABELS), rows).randomised
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
    assert f"between {min(found.drawn):.2f} and {max(found.drawn):.2f}" in found.sentence
    assert "over subjects, not over scrambles" in found.sentence
    assert "scrambles" not in only(cells_of(LABELS), randomised_of()).randomised.sentence


def test_a_map_turned_around_is_still_the_map_and_a_flat_one_is_none():
    rows = randomised_of(last=0.9, between=0.1, cells=20)
    turned = rows.with_columns(
        correlation=pl.when(pl.col("stage") == 3)
        .then(-pl.col("correlation"))
        .otherwise("correlation")
    )
    cells = cells_of(LABELS)
    assert only(cells, turned).randomised == only(cells, rows).randomised
    assert only(cells, turned).randomised.verdict == STAYS
    flat = rows.with_columns(correlation=pl.when(pl.col("stage") < 3).then(pl.col("correlation")))
    found = only(cells, flat).randomised
    assert found.stages[3].cells == 0
    assert math.isnan(found.stages[3].correlation)
    assert found.verdict == UNTOLD


def test_noise_around_zero_from_a_few_cells_does_not_pass_for_following():
    rows = randomised_of(last=0.5, between=0.1, cells=6, spread=0)
    noisy = rows["correlation"].to_numpy().copy()
    noisy[(rows["stage"] == 3).to_numpy()] = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    found = only(cells_of(LABELS), rows.with_columns(correlation=noisy)).randomised
    assert found.excess.low < 0 < found.excess.high
    assert found.verdict == UNTOLD
