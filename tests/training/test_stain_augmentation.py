"""Stain augmentation: colours come from the training cells, and from other subjects."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blastscope.errors import BlastscopeError
from blastscope.recipes.library import load_recipe
from blastscope.registry import BUILT_IN
from blastscope.stain.reinhard import to_lab
from blastscope.training.stain_augmentation import (
    NAMES,
    StainsOfCells,
    recoloured,
    stain_augmentation,
)
from tests.conftest import draw_cell

SUBJECTS = ["A", "A", "A", "B", "B", "C", None, None]


@pytest.fixture
def pixels():
    return np.stack([draw_cell(k, 64, 14 + k % 6) for k in range(8)])


@pytest.fixture
def stains(pixels):
    return StainsOfCells.measured(pixels, np.arange(8), SUBJECTS)


def batch(pixels, rows):
    return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2)


def colours(cell):
    """Mean and deviation of L*, a*, b* of one cell (3, S, S)."""
    values = np.asarray(cell.permute(1, 2, 0))
    lab = to_lab(values[values.max(axis=-1) > 8])
    return lab.mean(axis=0), lab.std(axis=0)


def test_cells_are_measured_on_their_own_pixels(pixels, stains):
    for row in range(8):
        mean, deviation = colours(torch.from_numpy(pixels[row]).permute(2, 0, 1))
        assert stains.mean[row] == pytest.approx(mean, abs=1e-3)
        assert stains.deviation[row] == pytest.approx(deviation, abs=1e-3)
    assert stains.count.sum() == 8
    some = StainsOfCells.measured(pixels, np.array([1, 3, 3]), SUBJECTS)  # a copy counts once
    assert (some.subject >= 0).nonzero()[0].tolist() == [1, 3]
    assert some.count.tolist() == [1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_cell_changes_and_the_same_seed_gives_the_same(pixels, stains, name):
    rows = np.array([0, 3, 5, 7, 0])
    augment = stain_augmentation(name, stains)
    first, again = (augment(batch(pixels, rows), np.random.default_rng(1), rows) for _ in "ab")
    assert first.dtype == torch.uint8
    assert first.shape == (5, 3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[4])  # the same cell, drawn anew
    corner = first[:, :, :6, :6]
    assert int(corner.max()) == 0
    if not name.endswith("rescaled"):  # turned, but no pixel of the cell is lost
        inside = (batch(pixels, rows).amax(1) > 0).sum((1, 2))
        assert torch.equal((first.amax(1) > 0).sum((1, 2)), inside)
    assert torch.equal(batch(pixels, rows), torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2))


def test_recoloured_cells_have_the_colours_that_were_asked_for(pixels, stains):
    rows = np.arange(8)
    to_mean = np.tile(np.float32([45, 30, -25]), (8, 1))
    to_deviation = np.tile(np.float32([5, 3, 4]), (8, 1))
    changed = recoloured(batch(pixels, rows), stains.mean, stains.deviation, to_mean, to_deviation)
    for cell in changed:
        mean, deviation = colours(cell)
        assert mean == pytest.approx(to_mean[0], abs=0.5)
        assert deviation == pytest.approx(to_deviation[0], abs=0.5)
    same = recoloured(
        batch(pixels, rows), stains.mean, stains.deviation, stains.mean, stains.deviation
    )
    assert int((same.int() - batch(pixels, rows).int()).abs().max()) <= 1


@given(st.integers(0, 2**32 - 1))
def test_stain_comes_from_another_subject(seed):
    names = ["A"] * 5 + ["B"] * 2 + ["C"]
    cells = np.stack([draw_cell(k, 32, 8) for k in range(8)])
    found = StainsOfCells.measured(cells, np.arange(8), names)
    rows = np.arange(8).repeat(4)
    others = found.other_subjects_rows(rows, np.random.default_rng(seed))
    assert all(names[one] != names[other] for one, other in zip(rows, others, strict=True))


def test_subjects_are_drawn_alike_and_then_their_cells():
    names = ["A"] * 6 + ["B"] + ["C"]
    cells = np.stack([draw_cell(k, 32, 8) for k in range(8)])
    found = StainsOfCells.measured(cells, np.arange(8), names)
    drawn = found.other_subjects_rows(np.full(30_000, 7), np.random.default_rng(0))
    share = np.bincount(drawn, minlength=8) / len(drawn)
    # Of C's two other subjects each is drawn half of the time; each of A's cells a sixth of that.
    assert share == pytest.approx([1 / 12] * 6 + [1 / 2, 0], abs=0.01)


def test_rand_stain_draws_from_the_distribution_over_subjects(pixels):
    names = ["A"] * 7 + ["B"]
    found = StainsOfCells.measured(pixels, np.arange(8), names)
    centre = (found.mean[:7].mean(axis=0) + found.mean[7]) / 2  # each subject counts a half
    rows = np.zeros(400, int)
    augment = stain_augmentation("rand-stain", found)
    changed = augment(batch(pixels, rows), np.random.default_rng(3), rows)
    means = np.array([colours(cell)[0] for cell in changed])
    weights = np.array([1 / 14] * 7 + [1 / 2])
    spread = np.sqrt(weights @ np.square(found.mean - centre))
    # Colours that RGB lacks are clipped, so that the mean lightness moves a little.
    assert means.mean(axis=0) == pytest.approx(centre, abs=0.25 * spread.max() + 0.5)
    assert means.std(axis=0) == pytest.approx(spread, rel=0.25)


def test_exchange_needs_two_subjects(pixels):
    for names in (["A"] * 8, [None] * 8):
        found = StainsOfCells.measured(pixels, np.arange(8), names)
        with pytest.raises(BlastscopeError, match="subjects"):
            stain_augmentation("stain-exchange", found)
        stain_augmentation("rand-stain-rescaled", found)


def test_recipes_name_them_and_leave_colours_to_them():
    assert set(NAMES) < set(BUILT_IN["augmentation"])
    for kind in ("rand-stain", "stain-exchange"):
        recipe = load_recipe(f"beyond/efficientnet-lite0-{kind}")
        assert recipe.training.augmentation == f"{kind}-rescaled"
        assert recipe.input.colour_normalization == "none"
        assert recipe.input.scale == load_recipe("beyond/efficientnet-lite0-rescaled").input.scale


def test_training_with_it_is_fitted_to_the_training_cells(dataset, tmp_path):
    from blastscope.data.preparation import prepare
    from blastscope.data.splits import make_split
    from blastscope.data.store import StoreSettings
    from blastscope.training.batches import TrainingBatches
    from blastscope.training.dataset import read_inputs
    from blastscope.training.network_input import PixelViews
    from blastscope.training.stain_augmentation import augmentation_for
    from tests.training.conftest import RECIPE

    (tmp_path / "tiny.yaml").write_text(RECIPE)
    recipe = load_recipe(str(tmp_path / "tiny.yaml"), ["training.augmentation=stain-exchange"])
    store = prepare([dataset(4, 3)], tmp_path / "store", StoreSettings(size=32)).path
    inputs = read_inputs(recipe, store, make_split(store, "subject", 3)[0])
    augment = augmentation_for("stain-exchange", inputs)
    targets = inputs.is_all.astype(np.float32)
    source = (PixelViews(inputs.store.pixels), targets, inputs.training, 8, False, augment, 24, 1)
    some = [cells.clone() for cells, _ in TrainingBatches(*source)]
    again = [cells for cells, _ in TrainingBatches(*source)]
    assert len(some) == len(TrainingBatches(*source))
    assert all(torch.equal(a, b) for a, b in zip(some, again, strict=True))
    assert augmentation_for("none", inputs) is None


def test_it_keeps_up_with_training(pixels):
    """A floor far below what was measured (docs/stain.md), so that a busy machine passes."""
    cells = np.stack([draw_cell(k, 128, 45) for k in range(32)])
    found = StainsOfCells.measured(cells, np.arange(32), ["A", "B"] * 16)
    augment, rng = stain_augmentation("stain-exchange", found), np.random.default_rng(0)
    rows, best = np.arange(32), np.inf
    for _ in range(5):
        began = time.perf_counter()
        augment(batch(cells, rows), rng, rows)
        best = min(best, time.perf_counter() - began)
    assert 32 / best > 60
