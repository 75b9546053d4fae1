from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from blastscope.data.crop import locate
from blastscope.stain import gcti, macenko, reinhard
from blastscope.stain.gcti import background_light
from blastscope.stain.normalize import foreground, measure_stain, normalize_pixels
from blastscope.stain.optical_density import optical_density, transmitted
from blastscope.stain.statistics import (
    METHODS,
    StainError,
    StainStatistics,
    statistics_from,
)
from tests.stain.made import ANGLE, NUCLEAR, PLASMA, cell_on_black, image_of, rotated
from tests.stain.made import two_stain_density as density_of

FIELD = image_of(density_of(0))
OTHER = image_of(density_of(1, stains=(rotated(NUCLEAR, PLASMA, -6), rotated(PLASMA, NUCLEAR, -3))))

REFERENCES = [
    measure_stain(image, method) for method in METHODS for image in (FIELD, cell_on_black(FIELD))
]


def difference(some, others) -> int:
    return int(np.abs(some.astype(int) - others.astype(int)).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("image", [FIELD, cell_on_black(FIELD)], ids=["field", "cell"])
def test_reference_on_itself_is_the_identity(method, image) -> None:
    changed = normalize_pixels(image, measure_stain(image, method)).pixels
    if method == "macenko":  # it has two stains for three channels: what lies beside them is lost
        assert np.median(np.abs(changed.astype(int) - image.astype(int))) <= 1
        assert difference(changed, image) <= 3
    else:
        assert difference(changed, image) <= 1


@pytest.mark.parametrize("method", METHODS)
def test_black_stays_black_and_the_cell_keeps_its_outline(method) -> None:
    cell = cell_on_black(OTHER)
    changed = normalize_pixels(cell, measure_stain(cell_on_black(FIELD), method)).pixels
    assert (changed[~foreground(cell)] == 0).all()
    assert foreground(changed).sum() == foreground(cell).sum()
    assert locate(changed) == locate(cell)


@pytest.mark.parametrize("degrees", [10, 20, 26])
def test_wedge_is_recovered(degrees) -> None:
    stains = (NUCLEAR, rotated(NUCLEAR, PLASMA, degrees))
    field = image_of(density_of(2, stains=stains))
    for module in (gcti, macenko):
        found = module.measure(field, foreground(field), False)
        assert found.wedge == pytest.approx(degrees, abs=1)
        for vector in stains:
            nearest = max(abs(float(own @ vector)) for own in found.stains[:2])
            assert np.degrees(np.arccos(min(nearest, 1))) < 1


def test_made_field_has_the_angle_that_its_stains_have() -> None:
    assert measure_stain(FIELD, "gcti").wedge == pytest.approx(ANGLE, abs=1)


def test_gcti_moves_the_stains_onto_those_of_the_reference() -> None:
    reference = measure_stain(FIELD, "gcti")
    before, changed = measure_stain(OTHER, "gcti"), normalize_pixels(OTHER, reference).pixels
    after = measure_stain(changed, "gcti")
    assert np.abs(before.stains - reference.stains).max() > 0.05
    assert np.abs(after.stains - reference.stains).max() < 0.02
    assert after.wedge == pytest.approx(reference.wedge, abs=1)
    assert after.strongest == pytest.approx(reference.strongest, rel=0.03)


def test_align_stretches_the_angle_and_keeps_length_and_residual() -> None:
    # By hand: stains 90° apart onto stains 45° apart; a pixel midway lands midway.
    own, theirs = np.eye(3), np.array([[1, 0, 0], [np.sqrt(0.5), np.sqrt(0.5), 0], [0, 0, 1]])
    pixel = np.array([[1, 1, 0.3]])
    (found,) = gcti.align(pixel, own, theirs)
    expected = np.sqrt(2) * np.array([np.cos(np.pi / 8), np.sin(np.pi / 8), 0])
    expected[2] = 0.3
    assert found == pytest.approx(expected)
    (turned,) = gcti.align(pixel, own, -np.eye(3)[[1, 0, 2]] * [-1, -1, 1])
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(pixel))


@pytest.mark.parametrize("factor", [0.7, 1.4])
def test_gcti_hardly_minds_how_much_stain_there_is(factor) -> None:
    reference = measure_stain(OTHER, "gcti")
    usual = normalize_pixels(FIELD, reference).pixels
    stronger = normalize_pixels(image_of(factor * density_of(0)), reference).pixels
    assert np.median(np.abs(usual.astype(int) - stronger.astype(int))) <= 1
    assert np.abs(usual.astype(int) - stronger.astype(int)).mean() < 2.5


@pytest.mark.parametrize("light", [(200, 200, 200), (230, 190, 210)])
def test_gcti_hardly_minds_the_light(light) -> None:
    reference = measure_stain(OTHER, "gcti")
    usual = normalize_pixels(FIELD, reference).pixels
    other = normalize_pixels(image_of(density_of(0), np.array(light, float)), reference).pixels
    assert np.abs(usual.astype(int) - other.astype(int)).mean() < 2.5


def test_background_light_is_that_of_the_glass() -> None:
    light = np.array([231.0, 219.0, 226.0])
    field = image_of(density_of(3), light)
    assert background_light(field, foreground(field)) == pytest.approx(light, abs=3)


def test_background_light_of_a_cell_is_not_darkened_by_its_surroundings() -> None:
    disc = cell_on_black(np.full((200, 200, 3), (180, 120, 200), np.uint8))
    assert background_light(disc, foreground(disc)) == pytest.approx([180, 120, 200])


@pytest.mark.parametrize("colour", [(90, 40, 110), (4, 4, 4), (255, 255, 255)])
def test_one_colour_is_finite_or_refused(colour) -> None:
    one = cell_on_black(np.full((120, 120, 3), colour, np.uint8))
    changed = normalize_pixels(one, measure_stain(cell_on_black(FIELD), "reinhard")).pixels
    inside = changed[foreground(one)]
    assert (inside == inside[0]).all()
    assert (changed[~foreground(one)] == 0).all()
    for method in ("macenko", "gcti"):
        with pytest.raises(StainError, match="stain"):
            normalize_pixels(one, measure_stain(cell_on_black(FIELD), method))


def test_field_is_not_normalized_to_a_cell() -> None:
    with pytest.raises(StainError, match="whole field"):
        normalize_pixels(FIELD, measure_stain(cell_on_black(FIELD), "reinhard"))
    with pytest.raises(StainError, match="cell on black"):
        normalize_pixels(cell_on_black(FIELD), measure_stain(FIELD, "reinhard"))
    with pytest.raises(StainError, match="not black"):
        measure_stain(np.zeros((50, 50, 3), np.uint8), "reinhard")


def test_reinhard_agrees_with_torchstain() -> None:
    theirs = NumpyReinhardNormalizer()
    theirs.fit(OTHER)
    reference = measure_stain(OTHER, "reinhard")
    assert reference.mean == pytest.approx(theirs.target_means, abs=0.05)
    assert reference.deviation == pytest.approx(theirs.target_stds, abs=0.05)
    changed = normalize_pixels(FIELD, reference).pixels
    assert difference(changed, theirs.normalize(FIELD)) <= 3  # theirs cuts decimals off


def test_reinhard_of_a_cell_agrees_with_torchstain_on_its_pixels() -> None:
    reference, cell = cell_on_black(OTHER), cell_on_black(FIELD)
    theirs = NumpyReinhardNormalizer()
    theirs.fit(reference[foreground(reference)][None])
    expected = theirs.normalize(cell[foreground(cell)][None])[0]
    changed = normalize_pixels(cell, measure_stain(reference, "reinhard")).pixels
    assert difference(changed[foreground(cell)], expected) <= 3


def test_macenko_agrees_with_torchstain() -> None:
    theirs = NumpyMacenkoNormalizer()
    theirs.fit(OTHER, Io=255)
    reference = measure_stain(OTHER, "macenko")
    order = [0, 1] if reference.stains[0] @ theirs.HERef[:, 0] > 0.999 else [1, 0]
    found = reference.stains[order].T
    assert found == pytest.approx(theirs.HERef, abs=1e-6)
    assert np.array(reference.strongest)[order] == pytest.approx(theirs.maxCRef, rel=1e-6)
    changed = normalize_pixels(FIELD, reference).pixels
    expected, _, _ = theirs.normalize(FIELD, Io=255, stains=False)
    assert difference(changed, expected) <= 2  # theirs cuts decimals off and leaves its + 1 in


def test_statistics_survive_json_and_refuse_other_numbers() -> None:
    for method in METHODS:
        found = measure_stain(FIELD, method)
        assert statistics_from(found.as_json()) == found
        assert hash(statistics_from(found.as_json())) == hash(found)
    with pytest.raises(ValueError, match="mean"):
        StainStatistics("reinhard", True, mean=(1.0, 2.0), deviation=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="finite"):
        StainStatistics("reinhard", True, mean=(1, 2, np.nan), deviation=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="known"):
        statistics_from({"method": "vahadane", "on_black": True})
    with pytest.raises(ValueError, match="unexpected"):
        statistics_from({"method": "reinhard", "on_black": True, "colour": 3})


@given(hnp.arrays(np.uint8, st.tuples(st.integers(12, 40), st.integers(12, 40), st.just(3))))
@settings(max_examples=40, deadline=None)
def test_any_image_is_normalized_or_refused(pixels) -> None:
    for reference in REFERENCES:
        try:
            changed = normalize_pixels(pixels, reference).pixels
        except StainError:
            continue
        assert (changed[~foreground(pixels)] == 0).all()
        assert (foreground(changed) == foreground(pixels)).all()


@given(hnp.arrays(np.float64, (7, 3), elements=st.floats(1, 255)), st.floats(100, 255))
def test_density_is_undone(values, light) -> None:
    assert transmitted(optical_density(values, light), light) == pytest.approx(values)


@given(hnp.arrays(np.uint8, (9, 3)))
def test_lab_is_undone(values) -> None:
    assert reinhard.to_rgb(reinhard.to_lab(values)) == pytest.approx(values, abs=1)
