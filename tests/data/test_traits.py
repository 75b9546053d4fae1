"""Traits of drawn shapes whose geometry and colour are known."""

from __future__ import annotations

from math import pi, sqrt

import cv2
import numpy as np
import pytest

from blastscope.data.traits import measure
from blastscope.errors import BlastscopeError
from tests.error_analysis.made import store_of

VIOLET = (120, 60, 160)


def blank(side: int = 450) -> np.ndarray:
    return np.zeros((side, side, 3), np.uint8)


def ellipse(a: int, b: int, angle: float = 0, colour: tuple[int, ...] = VIOLET) -> np.ndarray:
    return cv2.ellipse(blank(), (225, 225), (a, b), angle, 0, 360, colour, -1)


def shapes() -> dict[str, np.ndarray]:
    notched = ellipse(100, 100)
    cv2.rectangle(notched, (215, 110), (235, 225), (0, 0, 0), -1)
    pieces = ellipse(80, 80)
    for y in (90, 360):  # above and below, as OpenCV may list either first
        cv2.rectangle(pieces, (180, y), (260, y + 5), VIOLET, -1)
    edge = blank()
    cv2.rectangle(edge, (0, 100), (99, 199), VIOLET, -1)
    return {
        "disc": ellipse(100, 100),
        "long": ellipse(120, 60),
        "tilted": ellipse(120, 60, 30),
        "notched": notched,
        "pieces": pieces,
        "edge": edge,
        "red": ellipse(90, 90, 0, (255, 0, 0)),
    }


@pytest.fixture(scope="module", params=[("crop", 224), ("crop", 96), ("keep", 320), ("keep", 160)])
def measured(request, tmp_path_factory):
    scale, size = request.param
    images = shapes()
    labels = dict.fromkeys(images, "all")
    path = tmp_path_factory.mktemp("stores") / "store"
    store = store_of(path, images, labels, scale=scale, size=size)
    frame = measure(store, store.cells.reverse())
    assert frame["cell"].to_list() == list(images)[::-1]  # the order asked for
    return {row["cell"]: row for row in frame.iter_rows(named=True)}


def test_size_is_in_source_pixels(measured):
    assert measured["disc"]["size"] == 201
    assert measured["long"]["size"] == 241
    assert measured["edge"]["size"] == 100


def test_the_background_share_does_not_depend_on_the_scale(measured):
    assert measured["disc"]["background"] == pytest.approx(1 - pi / 4, abs=0.012)
    assert measured["long"]["background"] == pytest.approx(1 - pi / 8, abs=0.012)
    assert measured["edge"]["background"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("scale", "size"), [("keep", 64), ("keep", 96), ("keep", 320), ("crop", 120), ("crop", 224)]
)
def test_small_and_large_discs_differ_in_size_alone(tmp_path, scale, size):
    y, x = np.mgrid[-225:225, -225:225]
    discs = {}
    for radius in (40, 155):  # pixels whose middle is within, so that the box is 2 r + 1
        discs[f"r{radius}"] = np.zeros((450, 450, 3), np.uint8)
        discs[f"r{radius}"][x**2 + y**2 <= (radius + 0.5) ** 2] = VIOLET
    store = store_of(tmp_path / "s", discs, dict.fromkeys(discs, "all"), scale=scale, size=size)
    small, large = measure(store, store.cells).iter_rows(named=True)
    assert (small["size"], large["size"]) == (81, 311)
    for disc in (small, large):
        assert disc["background"] == pytest.approx(1 - pi / 4, abs=0.006)
    assert small["solidity"] == pytest.approx(large["solidity"], abs=0.012)
    for column in ("lightness", "a_star", "b_star"):
        assert small[column] == pytest.approx(large[column], abs=0.5)


def test_dark_chromatin_is_no_background_and_the_rim_is_no_stain(tmp_path):
    dark, ringed = ellipse(100, 100), ellipse(100, 100)
    cv2.circle(dark, (225, 225), 40, (20, 8, 30), -1)
    cv2.circle(ringed, (225, 225), 100, (255, 255, 255), 1)
    cells = {"plain": ellipse(100, 100), "dark": dark, "ringed": ringed}
    store = store_of(tmp_path / "s", cells, dict.fromkeys(cells, "all"), scale="keep", size=320)
    rows = {row["cell"]: row for row in measure(store, store.cells).iter_rows(named=True)}
    assert rows["dark"]["background"] == pytest.approx(rows["plain"]["background"], abs=1e-9)
    assert rows["dark"]["lightness"] < rows["plain"]["lightness"] - 1
    assert rows["ringed"]["lightness"] == pytest.approx(rows["plain"]["lightness"], abs=0.3)


def test_outlines(measured):
    assert measured["disc"]["solidity"] == pytest.approx(1, abs=0.02)
    assert measured["disc"]["eccentricity"] == pytest.approx(0, abs=0.1)
    assert measured["pieces"]["eccentricity"] == pytest.approx(0, abs=0.1)  # not the debris's
    for name in ("long", "tilted"):
        assert measured[name]["eccentricity"] == pytest.approx(sqrt(0.75), abs=0.01)
        assert measured[name]["solidity"] == pytest.approx(1, abs=0.02)
    # A notch of 21 by 100 pixels in a disc of radius 100, whose hull closes it but for a sliver.
    assert measured["notched"]["solidity"] == pytest.approx(1 - 21 * 100 / (pi * 1e4), abs=0.02)


def test_stain_is_cielab_in_its_own_units(measured):
    # sRGB's red under D65 is L* 53.24, a* 80.09, b* 67.20.
    red = measured["red"]
    found = [red[name] for name in ("lightness", "a_star", "b_star")]
    assert found == pytest.approx([53.24, 80.09, 67.20], abs=1.5)
    assert measured["disc"]["b_star"] < -30


def test_flags(measured):
    assert {name for name, row in measured.items() if row["touches_frame"]} == {"edge"}
    assert {name for name, row in measured.items() if row["components"]} == {"pieces"}


def test_a_cell_that_the_field_cuts_has_no_shape(tmp_path):
    images = {"wide": ellipse(200, 120), "disc": ellipse(100, 100)}
    labels = dict.fromkeys(images, "hem")
    store = store_of(tmp_path / "keep", images, labels, scale="keep", size=160)
    wide, disc = measure(store, store.cells).iter_rows(named=True)
    assert (wide["background"], wide["solidity"], wide["eccentricity"]) == (None, None, None)
    assert wide["size"] == 401
    assert wide["lightness"] == pytest.approx(disc["lightness"], abs=1)


def test_other_cells_are_refused(tmp_path):
    store = store_of(tmp_path / "one", {"a": ellipse(40, 40)}, {"a": "all"})
    more = store_of(
        tmp_path / "two", dict.fromkeys("abc", ellipse(40, 40)), dict.fromkeys("abc", "all")
    )
    with pytest.raises(BlastscopeError, match=r"one lacks 2 of 3 cells .*\(first: b\)"):
        measure(store, more.cells)
    other = store_of(tmp_path / "three", {"a": ellipse(40, 40)}, {"a": "hem"})
    with pytest.raises(BlastscopeError, match=r"label of 1 cells, first of a \(hem and all\)"):
        measure(store, other.cells)


def test_clahe_is_refused_because_its_black_is_not_black(tmp_path):
    store = store_of(tmp_path / "c", {"a": ellipse(40, 40)}, {"a": "all"}, clahe=True)
    with pytest.raises(BlastscopeError, match=r"prepared with CLAHE.*without it"):
        measure(store, store.cells)
