from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from blastscope.explanation.attribution import (
    _COMPUTE,
    Attribution,
    attribute,
    blurred,
    map_and_gradient,
)
from blastscope.explanation.tables import CELL_CURVES, METHODS
from blastscope.models.dihedral import dihedral_views
from tests.explanation.handmade import linear_model, model_of

SIZE = 8


def drawn(seed: int = 0, channels: int = 3):
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(channels, 3, generator=rng)
    head = torch.randn(channels, SIZE, SIZE, generator=rng) / SIZE
    images = torch.randint(0, 256, (2, 3, SIZE, SIZE), generator=rng).float()
    return base, head, images


def channels_of(base, images) -> np.ndarray:
    """The map by NumPy alone."""
    return np.maximum(np.einsum("kc,nchw->nkhw", base.numpy(), images.numpy()), 0)


def test_grad_cam_is_what_its_formula_says():
    base, head, images = drawn()
    found = attribute(linear_model(base, head, SIZE), images, "grad-cam")
    # dy/dA is the head's weight, so a channel's weight is the mean of the head's over the places.
    by_hand = np.einsum("k,nkhw->nhw", head.mean(dim=(1, 2)).numpy(), channels_of(base, images))
    np.testing.assert_allclose(found.signed, by_hand, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.for_all, np.maximum(by_hand, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.for_normal, np.maximum(-by_hand, 0), rtol=1e-4, atol=1e-4)


def plus_plus(channels: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Equations 10, 19 and 20 of the article, one number at a time."""
    total = np.zeros(channels.shape[1:])
    for a, g in zip(channels, slope, strict=True):
        weight = 0.0
        for value in g.ravel():
            below = 2 * value**2 + a.sum() * value**3
            alpha = value**2 / below if below else 0.0
            weight += alpha * max(value, 0.0)
        total += weight * a
    return np.maximum(total, 0)


def test_grad_cam_plus_plus_is_what_its_formula_says():
    base, head, images = drawn(1)
    found = attribute(linear_model(base, head, SIZE), images, "grad-cam++")
    for n, channels in enumerate(channels_of(base, images)):
        slope = head.double().numpy()
        np.testing.assert_allclose(found.for_all[n], plus_plus(channels, slope), rtol=1e-3)
        np.testing.assert_allclose(found.for_normal[n], plus_plus(channels, -slope), rtol=1e-3)


def test_occlusion_is_the_fall_of_the_logit():
    # Windows of 4 pixels that move by 2: a logit that is the mean of one corner's red.
    size = 16
    head = torch.zeros(1, size, size)
    head[0, :4, :4] = 1 / 16
    model = linear_model(torch.tensor([[1.0, 0, 0]]), head, size)
    images = torch.zeros(1, 3, size, size)
    images[0, 0, :4, :4] = 100
    found = attribute(model, images, "occlusion")
    lost = 100 - blurred(images)[0, 0, :4, :4].numpy()
    # The first pixel lies under one window alone, which covers the corner whole.
    assert found.for_all[0, 0, 0] == pytest.approx(lost.mean(), rel=1e-4)
    # The pixel (0, 2) lies under two: the first, and one that covers the corner's right half.
    half = lost[:, 2:].sum() / 16
    assert found.for_all[0, 0, 2] == pytest.approx((lost.mean() + half) / 2, rel=1e-4)
    assert np.abs(found.signed[0, 8:, 8:]).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_what_speaks_for_all_speaks_against_normal(method):
    base, head, images = drawn(2)
    images = torch.nn.functional.interpolate(images, scale_factor=2)
    head = torch.nn.functional.interpolate(head[None], scale_factor=2)[0]
    one = attribute(linear_model(base, head, 2 * SIZE), images, method)
    other = attribute(linear_model(base, -head, 2 * SIZE), images, method)
    np.testing.assert_allclose(one.for_all, other.for_normal, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.for_normal, other.for_all, rtol=1e-3, atol=1e-3)
    assert one.for_all.max() > 0
    assert one.for_normal.max() > 0


@pytest.mark.parametrize("method", METHODS)
def test_where_all_views_are_alike_eight_say_what_one_says(method):
    base, head, images = drawn(6)
    images = torch.nn.functional.interpolate(images, scale_factor=2)
    head = torch.nn.functional.interpolate(head[None], scale_factor=2)
    images, (head,) = (
        sum(dihedral_views(one, torch.full((len(one),), view)) for view in range(8)) / 8
        for one in (images, head)
    )
    one, eight = (
        attribute(linear_model(base, head, 2 * SIZE, views=views), images, method)
        for views in ("one", "dihedral")
    )
    assert np.abs(one.signed).max() > 0.1
    for few, many in ((one.for_all, eight.for_all), (one.for_normal, eight.for_normal)):
        np.testing.assert_allclose(many, few, rtol=1e-3, atol=1e-3)


class Watching(torch.nn.Module):
    """Notes which pixels of each image are not those of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.first = None
        self.windows = set()

    def forward(self, images):
        if self.first is None:
            self.first = images[:1]
        for changed in (images != self.first).any(dim=1):
            rows, columns = (changed.any(dim=axis).nonzero().flatten().tolist() for axis in (1, 0))
            if rows:
                self.windows.add((rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        return images.mean(dim=(1, 2, 3))


@pytest.mark.parametrize("size", [16, 17, 20, 100, 150])
def test_the_occluding_window_has_seven_places_a_side_at_any_size(size):
    network = Watching()
    images = torch.randint(0, 256, (1, 3, size, size), generator=torch.Generator().manual_seed(1))
    attribute(model_of(network, size), images.float(), "occlusion")
    assert len(network.windows) == 49
    for first, last in ((0, 1), (2, 3)):
        sides = {place[last] - place[first] for place in network.windows}
        assert len(sides) == 1
        assert sides.pop() == pytest.approx(size / 4, abs=3)
        starts = sorted({place[first] for place in network.windows})
        assert len(set(np.diff(starts))) == 1
        assert (starts[0], max(place[last] for place in network.windows)) == (0, size)


@given(st.integers(0, 7))
def test_a_turned_cell_has_a_turned_map_where_all_views_are_seen(operation):
    base, head, images = drawn(3)
    model = linear_model(base, head, SIZE, views="dihedral")
    turn = torch.full((2,), operation)
    found = attribute(model, images, "grad-cam").signed
    turned = attribute(model, dihedral_views(images, turn), "grad-cam").signed
    expected = dihedral_views(torch.from_numpy(found)[:, None], turn)[:, 0].numpy()
    np.testing.assert_allclose(turned, expected, rtol=1e-4, atol=1e-3)
    one = model.logits(images)
    assert one == pytest.approx(model.logits(dihedral_views(images, turn)), rel=1e-4)


def test_the_gradient_is_the_slope_of_the_logit():
    base, head, images = drawn(4)
    model = linear_model(base, head, SIZE)
    channels, slope = map_and_gradient(model.opened, images)
    step = torch.zeros_like(channels)
    step[0, 1, 2, 3] = 1
    rise = model.opened.upper(channels + step) - model.opened.upper(channels)
    assert rise[0].item() == pytest.approx(slope[0, 1, 2, 3].item(), abs=1e-3)
    assert rise[1].item() == 0


def test_evidence_for_what_was_called():
    maps = Attribution(np.ones((2, 2, 2), np.float32), np.full((2, 2, 2), 3, np.float32))
    assert maps.for_call(np.array([True, False])).mean(axis=(1, 2)).tolist() == [1, 3]
    assert maps.signed.mean() == -2
    assert maps.at_size(7).for_all.shape == (2, 7, 7)
    assert math.isclose(maps.at_size(7).for_normal.mean(), 3)


def test_the_blurred_image_keeps_its_colour_and_loses_its_detail():
    _, _, images = drawn(5)
    images = torch.nn.functional.interpolate(images, scale_factor=8)
    soft = blurred(images)
    assert soft.shape == images.shape
    assert soft.mean(dim=(2, 3)).numpy() == pytest.approx(images.mean(dim=(2, 3)).numpy(), rel=0.2)
    assert (soft.std(dim=(2, 3)) < 0.5 * images.std(dim=(2, 3))).all()


def test_every_method_has_a_name_on_pages_and_columns_for_its_curves():
    assert set(_COMPUTE) == set(METHODS) == set(CELL_CURVES) - {"random"}
