import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from blastscope.explanation.attribution import blurred
from blastscope.explanation.deletion_insertion import STEPS, curves, rival
from blastscope.explanation.map_measures import area
from tests.explanation.handmade import Base, Network, linear_model, model_of

SIZE = 20
PATCH = (slice(4, 8), slice(10, 15))  # 20 of the 400 pixels


class Patch(nn.Module):
    """A logit that is the mean red of a patch, from -6 at black to 6 at 255; nothing else counts.

    In doubles, so that half a percent of the patch is not lost.
    """

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, images):
        return self.sign * (images[:, 0, *PATCH].double().mean(dim=(1, 2)) / 255 - 0.5) * 12


def drawn(cells: int = 2) -> torch.Tensor:
    """White patches on black; blurred, hardly anything is left of them."""
    images = torch.zeros(cells, 3, SIZE, SIZE, dtype=torch.uint8)
    images[:, :, *PATCH] = 255
    return images


def true_map(cells: int = 2) -> np.ndarray:
    found = np.zeros((cells, SIZE, SIZE), np.float32)
    found[:, *PATCH] = 1
    return found


def rivals(cells: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((cells, SIZE, SIZE), np.float32)


def test_the_true_map_by_hand():
    images = drawn()
    found = curves(model_of(Patch(), SIZE), images, {"m": true_map()}, rivals(), np.ones(2, bool))
    soft = blurred(images)[0, 0, *PATCH].double().mean().item()
    low, high = expit((soft / 255 - 0.5) * 12), expit(6)
    assert low < 0.2
    # The patch is a twentieth of the picture, so that it is gone, or back, at the first step.
    assert found["m"].deletion == pytest.approx(np.array([[high] + [low] * 10] * 2))
    assert found["m"].insertion == pytest.approx(np.array([[low] + [high] * 10] * 2))
    assert area(found["m"].deletion) == pytest.approx([(high + 19 * low) / 20] * 2)
    assert area(found["m"].insertion) == pytest.approx([(low + 19 * high) / 20] * 2)


def test_the_true_map_beats_random_and_its_opposite_loses():
    maps = {"true": true_map(8), "opposite": -true_map(8)}
    found = curves(model_of(Patch(), SIZE), drawn(8), maps, rivals(8), np.ones(8, bool))
    areas = {name: (area(of.deletion), area(of.insertion)) for name, of in found.items()}
    assert (areas["true"][0] < areas["random"][0]).all()
    assert (areas["random"][0] < areas["opposite"][0]).all()
    assert (areas["true"][1] > areas["random"][1]).all()
    assert (areas["random"][1] > areas["opposite"][1]).all()


def test_a_normal_cell_is_judged_by_the_probability_of_normal():
    calls = np.array([True, False])
    model, other = model_of(Patch(), SIZE), model_of(Patch(sign=-1), SIZE)
    found = curves(model, drawn(), {"m": true_map()}, rivals(), calls)["m"].deletion
    turned = curves(other, drawn(), {"m": true_map()}, rivals(), ~calls)["m"].deletion
    assert found == pytest.approx(turned)
    assert found[1] == pytest.approx(1 - found[0])


def test_a_flat_map_fares_as_the_random_one():
    flat = np.full((2, SIZE, SIZE), 0.7, np.float32)
    found = curves(model_of(Patch(), SIZE), drawn(), {"flat": flat}, rivals(), np.ones(2, bool))
    assert (found["flat"].deletion == found["random"].deletion).all()
    assert (found["flat"].insertion == found["random"].insertion).all()
    assert len(np.unique(found["flat"].deletion[0])) > 3  # it is no true map


def test_ends_are_the_picture_and_its_blurred_self():
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (5, 3, SIZE, SIZE)))
    model = model_of(Patch(), SIZE)
    found = curves(model, images, {"m": rivals(5, 1)}, rivals(5), np.ones(5, bool))
    whole, soft = (expit(model.logits(given)) for given in (images, blurred(images)))
    for name in ("m", "random"):
        assert found[name].deletion.shape == found[name].insertion.shape == (5, STEPS)
        assert found[name].deletion[:, 0] == pytest.approx(whole)
        assert found[name].deletion[:, -1] == pytest.approx(soft)
        assert found[name].insertion[:, 0] == pytest.approx(soft)
        assert found[name].insertion[:, -1] == pytest.approx(whole)


def test_a_picture_is_seen_as_it_lies():
    given = (drawn(), {"m": true_map()}, rivals(), np.ones(2, bool))
    once, turned = (curves(model_of(Patch(), SIZE, v), *given)["m"] for v in ("one", "dihedral"))
    assert (turned.deletion == once.deletion).all()


def test_each_step_takes_a_tenth():
    class Whiteness(nn.Module):
        def forward(self, images):
            return 4 * (images[:, 0].double().mean(dim=(1, 2)) / 255 - 0.5)

    images = torch.full((1, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    images[..., SIZE // 2 :] = 0
    by_column = np.tile(np.linspace(1, 0, SIZE, dtype=np.float32), (1, SIZE, 1))
    model = model_of(Whiteness(), SIZE)
    found = curves(model, images, {"m": by_column}, rivals(1), np.ones(1, bool))["m"]
    sharp, soft = images[0, 0].double() / 255, blurred(images)[0, 0].double() / 255
    for step in range(STEPS):
        given = SIZE * step // (STEPS - 1)  # columns, from the left
        back = torch.hstack([sharp[:, :given], soft[:, given:]]).mean().item()
        gone = torch.hstack([soft[:, :given], sharp[:, given:]]).mean().item()
        assert found.insertion[0, step] == pytest.approx(expit(4 * (back - 0.5)), abs=1e-9)
        assert found.deletion[0, step] == pytest.approx(expit(4 * (gone - 0.5)), abs=1e-9)
    assert np.ptp(found.insertion) > 0.01


def test_the_rival_has_the_grid_of_the_map():
    size, grid, field = 40, 5, 8
    network = Network(Base(torch.eye(3), grid), torch.ones(3, grid, grid))
    found = rival(["a", "b", "c"], model_of(network, size))
    assert found.shape == (3, size, size)
    # Between the centres of two positions it is a straight line: it bends at the centres alone.
    middles = np.arange(grid) * field + field // 2
    centres = sorted({*(middles - 2).tolist(), *(middles - 1).tolist()})
    for axis in (1, 2):
        bent = np.abs(np.diff(found, 2, axis=axis)).max(axis=(0, 3 - axis)) > 1e-5
        assert np.flatnonzero(bent).tolist() == centres


def test_the_rival_hangs_on_the_name_alone():
    grid = linear_model(torch.eye(3), torch.ones(3, 5, 5), 5)
    found = rival(["a", "b", "c"], grid)
    assert found.shape == (3, 5, 5)
    assert (rival(["c", "a"], grid) == found[[2, 0]]).all()
    assert not (found[0] == found[1]).any()
    assert 0 <= found.min() < 0.2 < 0.8 < found.max() <= 1


@pytest.mark.parametrize(
    ("curve", "wanted"), [([0.0, 1.0], 0.5), ([1.0, 0.0, 0.0], 0.25), ([0.3] * 11, 0.3)]
)
def test_area(curve, wanted):
    assert area(np.array(curve)) == pytest.approx(wanted)
    assert area(np.array([curve, curve])) == pytest.approx([wanted] * 2)
