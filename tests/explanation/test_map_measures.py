"""Attribution maps measured: by hand, and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from blastscope.data.crop import Box
from blastscope.data.store import StoreSettings
from blastscope.ensemble.combination import Combination
from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS, make_picture
from blastscope.explanation.map_measures import (
    RADII,
    SIDE,
    agreement,
    area_shares,
    coarse,
    combined_map,
    radial_profile,
    radii,
    shares,
    spearman,
)

REGIONS = np.array([[CELL, CELL, BACKGROUND], [CELL, DEBRIS, BACKGROUND]], np.uint8)


def test_shares_by_hand():
    heat = np.array([[1, 2, 4], [1, 0, 0]], np.float32)
    assert shares(heat, REGIONS) == (0.5, 0.0, 0.5)
    assert area_shares(REGIONS) == (3 / 6, 1 / 6, 2 / 6)


def test_heat_that_ignores_the_picture_has_the_shares_of_the_area():
    even = np.full(REGIONS.shape, 0.3, np.float32)
    assert np.allclose(shares(even, REGIONS), area_shares(REGIONS))


def test_no_heat_has_no_shares():
    assert shares(np.zeros((2, 3), np.float32), REGIONS) is None


@given(
    arrays(np.float32, (5, 5), elements=st.floats(0, 100, width=32)),
    arrays(np.uint8, (5, 5), elements=st.sampled_from([CELL, DEBRIS, BACKGROUND])),
)
def test_shares_add_up(heat, regions):
    found = shares(heat, regions)
    assert np.isclose(sum(area_shares(regions)), 1)
    assert (found is None) == (heat.sum() == 0)
    if found is not None:
        assert np.isclose(sum(found), 1)
        assert min(found) >= 0


ACROSS, RADIUS = 201, 60


def disc():
    y, x = np.mgrid[:ACROSS, :ACROSS] - ACROSS // 2
    distance = np.hypot(x, y)
    return distance, np.where(distance < RADIUS, CELL, BACKGROUND).astype(np.uint8)


def test_radii_of_a_disc_are_distances_from_its_centre():
    distance, regions = disc()
    assert radii(regions) == pytest.approx(distance / RADIUS, abs=1.5 / RADIUS)
    assert radii(regions).min() == 0


def test_profile_of_a_disc():
    distance, regions = disc()
    r = distance / RADIUS
    signed = np.where(r < 1, 1 - r, -0.25).astype(np.float32)
    found = radial_profile(signed, regions)
    middle = (np.array(RADII[1:]) + RADII[:-1]) / 2
    wanted = np.where(middle < 1, 1 - middle, -0.25) / np.abs(signed).mean()
    assert len(found) == len(RADII) - 1
    # The bins are rings: their mean radius lies a little outside the middle.
    assert found == pytest.approx(wanted, abs=0.15)
    assert found[10:] == pytest.approx(wanted[10:])


def test_a_ring_of_heat_is_found_in_its_bin():
    distance, regions = disc()
    ring = np.where(np.abs(distance / RADIUS - 0.55) < 0.02, 1.0, 0.0)
    found = radial_profile(ring, regions)
    assert found.argmax() == 5
    assert np.delete(found, 5) == pytest.approx(0)


def test_the_edge_of_the_picture_is_an_outline():
    regions = np.full((8, 8), CELL, np.uint8)
    found = radii(regions)
    assert found[0, 0] == pytest.approx(1 - 0.5 / 3.5)
    assert found[3, 3] == 0


def test_debris_is_beyond_the_outline():
    _, regions = disc()
    regions[:4] = DEBRIS
    assert radii(regions)[0, ACROSS // 2] > 1.5


@pytest.mark.parametrize(
    ("signed", "region"), [(np.ones((6, 6)), BACKGROUND), (np.zeros((6, 6)), CELL)]
)
def test_nothing_to_measure(signed, region):
    found = radial_profile(signed, np.full((6, 6), region, np.uint8))
    assert np.isnan(found).all()


def test_a_bin_without_pixels_is_unknown():
    regions = np.zeros((5, 5), np.uint8)
    regions[1:4, 1:4] = CELL
    found = radial_profile(np.ones((5, 5)), regions)
    assert np.isnan(found[1])
    assert found[0] == 1


def maps(count, side, seed=0):
    return np.random.default_rng(seed).normal(size=(count, side, side)).astype(np.float32)


def test_agreement_is_scipys_on_the_means_of_blocks():
    signed = maps(3, 4 * SIDE)
    signed[2] += signed[0]
    blocks = signed.reshape(3, SIDE, 4, SIDE, 4).mean(axis=(2, 4)).reshape(3, -1)
    wanted = spearmanr(blocks, axis=1).statistic
    found = agreement(signed)
    assert np.isnan(np.diag(found)).all()
    apart = ~np.eye(3, dtype=bool)
    assert found[apart] == pytest.approx(wanted[apart], abs=1e-3)  # float32 may swap near-ties
    assert wanted[0, 2] > 0.5  # so that there is something to find


def test_agreement_asks_for_order_and_sign_only():
    one = maps(1, SIDE)[0]
    found = agreement(np.stack([one, 7 * one**3, -one]))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)


@pytest.mark.parametrize("value", [0.0, 0.3, -1e3])
@pytest.mark.parametrize("side", [5, 16, 97])
def test_a_flat_map_agrees_with_none(value, side):
    found = agreement(np.stack([maps(1, side)[0], np.full((side, side), value, np.float32)]))
    assert np.isnan(found).all()


def test_coarse_keeps_the_mean():
    one = maps(1, 53)[0] + 2
    assert coarse(one).mean() == pytest.approx(one.mean(), rel=1e-5)


def test_spearman_of_pairs_with_ties():
    first, second = np.round(maps(4, 6)), np.round(maps(4, 6, seed=1))
    second[3] = 0
    found = spearman(first, second)
    for k in range(3):
        wanted = spearmanr(first[k].ravel(), second[k].ravel()).statistic
        assert found[k] == pytest.approx(wanted)
    assert np.isnan(found[3])


ONE = np.array([[3.0, -1.0], [0.0, 0.0]], np.float32)  # total 4
TWO = np.array([[0.0, 10.0], [-10.0, 0.0]], np.float32)  # total 20
NONE = np.zeros((2, 2), np.float32)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # as they are, whatever they sum to: .8 · (3, −1, 0, 0)/4 + .4 · (0, 10, −10, 0)/20
        (Combination("grid", "weights", (0.8, 0.4)), [[0.6, 0.0], [-0.2, 0.0]]),
        (Combination("vote", "votes", (0.9, 0.1)), [[0.75, 0.25], [-0.5, 0.0]]),
        # a coefficient below zero turns a member's evidence over
        (Combination("stacking", "logistic", (2.0, -1.0), 0.3), [[1.5, -1.0], [0.5, 0.0]]),
    ],
)
def test_members_are_shares_under_the_weights(rule, expected):
    np.testing.assert_allclose(combined_map([ONE, TWO], rule), expected, atol=1e-7)
    np.testing.assert_allclose(combined_map([ONE * 1e6, TWO / 7], rule), expected, atol=1e-7)


def test_a_member_without_evidence_adds_nothing():
    rule = Combination("mean", "weights", (0.5, 0.5))
    np.testing.assert_allclose(combined_map([ONE, NONE], rule), ONE / 8)
    assert not combined_map([NONE, NONE], rule).any()
    with pytest.raises(ValueError, match="1 maps, but 2 weights"):
        combined_map([ONE], rule)


def test_members_that_see_other_fields_meet_on_the_crop():
    whole = np.zeros((400, 400, 3), np.uint8)
    whole[150:250, 150:250] = 120
    picture = make_picture(whole, Box(150, 150, 100, 100))
    crop, keep = StoreSettings(size=40), StoreSettings(size=32, scale="keep")
    halves = np.concatenate([np.ones((40, 20)), np.zeros((40, 20))], axis=1).astype(np.float32)
    # On the field of 320 pixels everything but the crop speaks for ALL, and is not on the crop.
    field = np.ones((320, 320), np.float32)
    field[110:210, 110:210] = -2.0
    laid = [picture.on_crop(halves, crop), picture.on_crop(field, keep)]
    found = combined_map(laid, Combination("genetic", "weights", (0.7, 0.3)))
    assert found.shape == (100, 100)
    edge = slice(48, 52)  # where the halves blend
    expected = np.full((100, 100), -0.3 / 100**2)
    expected[:, :50] += 0.7 / (100 * 50)
    np.testing.assert_allclose(np.delete(found, edge, 1), np.delete(expected, edge, 1), rtol=1e-2)
