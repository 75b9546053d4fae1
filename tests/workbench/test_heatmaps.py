"""A heatmap explains the pixels that the network sees."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra train is not installed")

from blastscope.data.images import decode_image
from blastscope.data.store import StoreSettings
from blastscope.explanation import attribution
from blastscope.explanation.attribution import Attribution
from blastscope.explanation.cell_image import make_picture
from blastscope.prediction.images import InputImage
from blastscope.prediction.pipeline import PreparedCell, read_cell
from blastscope.stain.reference import CNMC
from blastscope.workbench import heatmaps
from blastscope.workbench.contact_sheets import png


@pytest.fixture
def cell():
    """A cell whose nucleus and plasma differ in stain, on black."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((80, 80, 3), np.uint8)
    cv2.circle(pixels, (40, 40), 26, (200, 150, 190), -1)
    cv2.circle(pixels, (42, 38), 17, (110, 50, 140), -1)
    noise = rng.integers(0, 12, pixels.shape, np.uint8)
    return np.where(pixels > 0, pixels + noise, pixels)


@pytest.mark.parametrize("stain", [None, CNMC["reinhard"]])
@pytest.mark.parametrize(("scale", "clahe"), [("keep", False), ("crop", True)])
def test_a_heatmap_is_of_the_pixels_that_predict_gives_the_network(
    cell, monkeypatch, stain, scale, clahe
):
    settings = StoreSettings(64, scale, clahe, stain=stain)
    plain = StoreSettings(64, scale, clahe)
    given = []

    def attribute(model, images, method):
        given.append(images[0].permute(1, 2, 0).numpy())
        half = np.ones((1, 4, 4), np.float32)
        return Attribution(half, half)

    monkeypatch.setattr(attribution, "attribute", attribute)
    read = read_cell(InputImage("a.png", "a", lambda: decode_image(png(cell))), [settings, plain])
    assert isinstance(read, PreparedCell)
    shown = make_picture(cell, heatmaps.locate(cell, settings.contour).box)
    explained = SimpleNamespace(models=[SimpleNamespace(settings=settings)], combination=None)
    heatmaps._laid(explained, shown, cell, "grad-cam", "all")
    np.testing.assert_array_equal(given[0], read.pixels[settings])
    assert np.array_equal(read.pixels[plain], read.pixels[settings]) == (stain is None)
