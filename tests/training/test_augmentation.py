"""Strong augmentation against torch's own turns, Beer and Lambert by hand, and themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training import augmentation as module
from blastscope.training.augmentation import RESCALE, rescaled, strong
from blastscope.training.train import train
from tests.conftest import draw_cell


@pytest.fixture
def cells():
    pictures = np.stack([draw_cell(k, 64, 14 + k % 6) for k in range(8)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


@pytest.fixture
def still(monkeypatch):
    """Nothing is changed but by what a test changes."""
    for name in ("SCALE", "STAIN", "SHADE", "LIGHT", "BLURRED"):
        monkeypatch.setattr(module, name, 0.0)


class Drawn:
    """A generator that draws the same angle, and no mirror or the mirror, each time."""

    def __init__(self, angle: float, mirror: float = 1.0) -> None:
        self.angle, self.mirror = angle, mirror

    def uniform(self, low, high, size=None):
        return np.full(
            size if size is not None else (), self.angle if high > 6 else (low + high) / 2
        )

    def choice(self, values, size):
        return np.full(size, self.mirror)

    def integers(self, low, high, size):
        return np.full(size, low)

    def random(self, size):
        return np.ones(size)


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_are_torchs(cells, quarters):
    turned = strong(cells, Drawn(quarters * np.pi / 2))
    assert turned.dtype == torch.uint8
    wanted = [torch.rot90(cells, way * quarters, dims=(2, 3)) for way in (1, -1)]
    off = [(turned.int() - one.int()).abs().max() for one in wanted]
    assert min(off) <= 1


@pytest.mark.usefixtures("still")
def test_a_mirror_is_torchs(cells):
    assert (strong(cells, Drawn(0, -1)).int() - cells.flip(3).int()).abs().max() <= 1


def test_half_of_the_pictures_keep_their_very_pixels(cells, still, monkeypatch):
    monkeypatch.setattr(module, "SCALE", 0.1)
    many = cells.repeat(25, 1, 1, 1)
    found = strong(many, np.random.default_rng(3))
    laid = [torch.rot90(many, k, dims=(2, 3)) for k in range(4)]
    laid += [one.flip(3) for one in laid]
    same = torch.stack([(one.int() - found.int()).abs().amax((1, 2, 3)) <= 1 for one in laid])
    assert same.any(0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_rescaled_changes_every_area_by_the_square_of_a_log_uniform_size(cells):
    many = cells.repeat(50, 1, 1, 1)
    found = rescaled(many, np.random.default_rng(4))
    assert found.dtype == torch.uint8
    assert found.shape == many.shape
    area, was = ((one.amax(dim=1) > 128).sum((1, 2)).double().clamp(min=1) for one in (found, many))
    size = (area / was).sqrt().log().numpy()
    assert np.abs(size).max() < RESCALE + 0.06  # a pixel more or less at the outline
    assert size.std() == pytest.approx(RESCALE / np.sqrt(3), rel=0.15)
    assert abs(size.mean()) < 0.04


def test_rescaled_leaves_black_black_and_repeats_itself(cells):
    one, again = (rescaled(cells, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(one, again)
    assert (rescaled(torch.zeros_like(cells), np.random.default_rng(5)) == 0).all()


@pytest.mark.usefixtures("still")
def test_stain_and_light_follow_beer_and_lambert(cells, monkeypatch):
    class Stained(Drawn):
        def uniform(self, low, high, size=None):
            top = {0.4: 0.4, 0.1: 0.1}.get(round(high, 6))
            return super().uniform(low, high, size) if top is None else np.full(size, top)

    monkeypatch.setattr(module, "STAIN", 0.4)
    monkeypatch.setattr(module, "LIGHT", 0.1)
    found = strong(cells, Stained(0)).double()
    by_hand = 255 * np.exp(0.1) * (cells.double() / 255) ** np.exp(0.4)
    cell = cells.amax(dim=1, keepdim=True).expand_as(cells) > 8
    assert (found - by_hand)[cell].abs().max() <= 1
    assert (found[~cell] == 0).all()


def test_black_stays_black_but_for_what_is_out_of_focus(cells, monkeypatch):
    monkeypatch.setattr(module, "BLURRED", 0.0)
    found = strong(cells, np.random.default_rng(0))
    assert (found[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] == 0).all()
    share = (found.amax(dim=1) == 0).double().mean()
    assert abs(share - (cells.amax(dim=1) == 0).double().mean()) < 0.1
    assert strong(torch.zeros(3, 3, 64, 64, dtype=torch.uint8), np.random.default_rng(0)).sum() == 0


def test_every_draw_differs_and_a_seed_repeats_them(cells):
    rng = np.random.default_rng(5)
    first, second = strong(cells, rng), strong(cells, rng)
    assert all((a != b).any() for a, b in zip(first, second, strict=True))
    assert torch.equal(first, strong(cells, np.random.default_rng(5)))
    assert torch.equal(cells, torch.from_numpy(np.stack([draw_cell(k, 64, 14 + k % 6)
        for k in range(8)])).permute(0, 3, 1, 2))  # fmt: skip


def test_a_training_with_strong_augmentation_is_repeatable_without_cached_features(
    material, tmp_path
):
    changes = ["training.augmentation=strong", "training.epochs=2", "model.trainable=head"]
    recipe = load_recipe(str(material.recipe), changes)
    tables = []
    for name in ("a", "b"):
        train(recipe, material.store, material.split, tmp_path / name, device="cpu")
        tables.append(read_predictions(tmp_path / name / "predictions.parquet")[0]["p_all"])
    assert tables[0].to_list() == pytest.approx(tables[1].to_list(), abs=1e-6)
    assert not (material.store / "features").exists()
