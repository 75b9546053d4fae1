"""Which cells are named because their attribution lies off the cell."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from blastscope.explanation.audit.regions import MOST, find_off_cell
from blastscope.report.audit_text import off_cell_text
from tests.explanation.audit.made import cells_of

N = 40
LABELS = ["all", "hem"] * (N // 2)


def with_shares(background, debris=None, area_debris=None, model="m", **columns):
    debris = np.zeros(N) if debris is None else np.asarray(debris)
    area_debris = np.zeros(N) if area_debris is None else np.asarray(area_debris)
    return cells_of(
        LABELS, model, grad_cam_background=background, area_background=np.full(N, 0.2),
        grad_cam_debris=debris, area_debris=area_debris, **columns,
    )  # fmt: skip


def test_a_model_that_looks_at_the_background_is_named_and_another_is_not():
    rng = np.random.default_rng(0)
    off = np.where(np.arange(N) < 30, 0.3 + 0.01 * rng.permutation(N), 0.1)
    other = np.where(np.arange(N) < 7, 0.26, 0.24)  # 7 of them clearly beyond a fifth
    cells = pl.concat(
        [
            with_shares(off, model="off", other_background=other),
            with_shares(np.full(N, 0.24), model="hair", other_background=None),
        ]
    )
    found = find_off_cell(cells)
    assert list(found) == ["off", "hair"]
    (background,) = found["off"]  # no cell has debris
    assert (background.total, background.of) == (30, N)
    assert (background.expected, background.expected_of) == (7, N)
    worst = np.argsort(-np.where(np.arange(N) < 30, off, 0))[:MOST]
    assert [one.cell for one in background.worst] == [f"c{k:04}" for k in worst]
    for k, one in zip(worst, background.worst, strict=True):
        assert one.ratio == pytest.approx(off[k] / 0.2)
        assert one.label == LABELS[k]
    assert not background.not_above_expected
    (background,) = found["hair"]  # a hair's breadth beyond its share: nothing to name
    assert (background.total, background.worst, background.expected) == (0, (), None)


def test_the_worst_has_the_most_beyond_its_share_not_the_highest_ratio():
    heat, area = [0.5, 0.06], [0.2, 0.002]
    cells = cells_of(["all", "hem"], grad_cam_background=heat, area_background=area)
    background = find_off_cell(cells)["m"][0]
    assert [one.cell for one in background.worst] == ["c0000", "c0001"]
    assert background.worst[1].ratio == pytest.approx(30)


def test_of_debris_only_cells_that_have_some_and_evidence():
    debris, area = [0.0] * N, [0.0] * N
    debris[3], area[3] = 0.3, 0.1
    debris[5], area[5] = 0.05, 0.1
    area[7] = 0.1
    other = [0.3] * N
    other[5] = None  # the other cell has no evidence for its call
    cells = with_shares(np.full(N, 0.1), debris, area, other_debris=other)
    flat = (pl.col("cell") == "c0007") & pl.lit(True)
    cells = cells.with_columns(
        pl.when(~flat).then(f"grad_cam_{region}").alias(f"grad_cam_{region}")
        for region in ("cell", "debris", "background")
    )
    background, found = find_off_cell(cells)["m"]
    assert (background.of, background.place) == (N - 1, "background")
    assert (found.place, found.total, found.of) == ("debris", 1, 2)
    assert (found.expected, found.expected_of) == (1, 1)
    assert found.worst[0].cell == "c0003"
    assert found.worst[0].ratio == pytest.approx(3)
    assert found.not_above_expected
    text = off_cell_text(found)
    assert "1 of 2 cells with debris has more attribution on debris" in text
    assert "it would be 1 of 1. That is no more than expected" in text


@pytest.mark.parametrize(("expected", "no_more"), [(9, False), (10, True), (30, True)])
def test_no_more_cells_than_other_cells_maps_give_is_marked(expected, no_more):
    heat = np.where(np.arange(N) < 10, 0.5, 0.1)
    other = np.where(np.arange(N) >= N - expected, 0.5, 0.1)
    (found,) = find_off_cell(with_shares(heat, other_background=other))["m"]
    assert (found.total, found.expected) == (10, expected)
    assert found.not_above_expected == no_more
    (none,) = find_off_cell(with_shares(np.full(N, 0.1), other_background=other))["m"]
    assert not none.not_above_expected  # no cell is named


def test_the_order_of_the_rows_does_not_matter():
    cells = with_shares(np.full(N, 0.3))  # all alike: by name
    first = find_off_cell(cells)["m"]
    assert find_off_cell(cells.reverse())["m"] == first
    assert [one.cell for one in first[0].worst] == [f"c{k:04}" for k in range(MOST)]
