from __future__ import annotations

import numpy as np
import pytest

from blastscope.data.crop import Box
from blastscope.data.store import StoreSettings
from blastscope.ensemble.combination import Combination
from blastscope.explanation.cell_image import make_picture
from blastscope.explanation.ensemble_map import combined_map

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
