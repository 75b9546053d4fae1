import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS
from blastscope.explanation.region_shares import area_shares, shares

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
