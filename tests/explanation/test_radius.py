import numpy as np
import pytest

from blastscope.explanation.cell_image import BACKGROUND, CELL, DEBRIS
from blastscope.explanation.radius import RADII, radial_profile, radii

SIDE, RADIUS = 201, 60


def disc():
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
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
    assert radii(regions)[0, SIDE // 2] > 1.5


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
