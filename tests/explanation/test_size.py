import cv2
import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from blastscope.data.crop import Box
from blastscope.data.layouts import list_cells
from blastscope.data.store import StoreSettings
from blastscope.explanation.cell_image import CELL, make_picture
from blastscope.explanation.cells import prepare_cells
from blastscope.explanation.size import (
    logits_scaled,
    p_same_size,
    p_there_and_back,
    rescaled,
    seen_at,
    seen_there_and_back,
)
from blastscope.explanation.tables import SCALES
from tests.conftest import draw_cell
from tests.explanation.handmade import model_of


def disc(radius: int, side: int = 400):
    pixels = draw_cell(1, side, radius)
    rows, columns = (np.flatnonzero(pixels.any(axis=(2, axis))) for axis in (1, 0))
    y, x = rows[0], columns[0]
    return make_picture(pixels, Box(int(x), int(y), len(columns), len(rows)))


class Area(nn.Module):
    """A logit that is the share of pixels with a cell on them, from -2 to 2."""

    def forward(self, images):
        return 4 * ((images > 20).any(dim=1).double().mean(dim=(1, 2)) - 0.5)


@pytest.mark.parametrize("scale", ["crop", "keep"])
@pytest.mark.parametrize("clahe", [False, True])
def test_at_scale_1_a_cell_is_what_the_store_has(dataset, tmp_path, scale, clahe):
    settings = StoreSettings(size=48, scale=scale, clahe=clahe)
    dataset = prepare_cells(list_cells([dataset(1, 2)]), [settings], tmp_path)
    for row in range(len(dataset)):
        seen = seen_at(dataset.cell_image(row, settings), settings, 1.0)
        assert torch.equal(seen, dataset.images(settings, [row])[0])
        returned = seen_there_and_back(dataset.cell_image(row, settings), settings, 1.0)
        assert torch.equal(returned, seen)
    assert 1.0 in SCALES


@pytest.mark.parametrize("scale", [0.37, 0.6, 1.25, 2.0])
def test_the_box_is_scaled_with_the_cell(scale):
    picture = disc(40)
    pixels, box = rescaled(picture.whole, picture.box, scale)
    grey = pixels.max(axis=2) > 60
    found = [np.flatnonzero(grey.any(axis=axis)) for axis in (1, 0)]
    assert box.h == pytest.approx(picture.box.h * scale, abs=1)
    assert (box.y, box.x) == pytest.approx([found[0][0], found[1][0]], abs=1.01)
    assert (box.h, box.w) == pytest.approx([len(found[0]), len(found[1])], abs=2.01)


def test_a_box_never_vanishes_and_never_leaves_the_image():
    pixels = np.full((9, 9, 3), 200, np.uint8)
    _, box = rescaled(pixels, Box(8, 8, 1, 1), 0.2)
    assert (box.w, box.h) == (1, 1)
    assert max(box.x + box.w, box.y + box.h) <= 2


def test_keep_sees_size_and_crop_does_not():
    pictures = [disc(40), disc(60)]
    keep = logits_scaled(model_of(Area(), 160, scale="keep"), pictures)
    crop = logits_scaled(model_of(Area(), 160, scale="crop"), pictures)
    assert keep.shape == crop.shape == (2, len(SCALES))
    # The field is 320 pixels wide; a disc's area in it goes with the square of its radius.
    for radius, found in zip((40.5, 60.5), keep, strict=True):
        areas = np.pi * (radius * np.array(SCALES) / 320) ** 2
        assert found == pytest.approx(4 * (areas - 0.5), abs=0.03)
    assert np.ptp(keep) > 0.4
    assert np.ptp(crop) < 0.15


def test_cells_of_the_same_size_have_it():
    pictures = [disc(40), disc(60)]
    model = model_of(Area(), 160, scale="keep")
    found = p_same_size(model, pictures, 101)
    assert found == pytest.approx(expit(4 * (np.pi * (50.5 / 320) ** 2 - 0.5)), abs=0.005)
    as_is = p_same_size(model, pictures[:1], pictures[0].side)
    assert as_is == pytest.approx(expit(logits_scaled(model, pictures[:1])[:, SCALES.index(1)]))


class Detail(nn.Module):
    """A logit that is how much neighbouring pixels differ."""

    def forward(self, images):
        return images.double().diff(dim=-1).abs().mean(dim=(1, 2, 3)) - 10


@pytest.mark.parametrize("scale", ["crop", "keep"])
def test_there_and_back_a_cell_has_its_size_and_not_its_detail(scale):
    picture = disc(60)
    speckles = np.random.default_rng(5).integers(0, 90, picture.whole.shape[:2], np.uint8)
    picture.whole[picture.regions == CELL] //= 2
    picture.whole[picture.regions == CELL] += speckles[picture.regions == CELL][:, None]
    area, detail = (model_of(network, 160, scale=scale) for network in (Area(), Detail()))
    own = seen_at(picture, area.settings, 1)[None]
    assert p_there_and_back(area, [picture], 50) == pytest.approx(expit(area.logits(own)), abs=0.02)
    if scale == "keep":
        assert p_same_size(area, [picture], 50)[0] < expit(area.logits(own))[0] - 0.04
    assert p_there_and_back(detail, [picture], 50)[0] < 0.5 * expit(detail.logits(own))[0]


def test_there_and_back_by_opencv():
    picture = disc(40)
    settings = StoreSettings(size=picture.side)  # the crop as it is
    box = picture.box
    for scale, there, back in (
        (0.5, cv2.INTER_AREA, cv2.INTER_LINEAR),
        (1.5, cv2.INTER_LINEAR, cv2.INTER_AREA),
    ):
        side = round(400 * scale)
        away = cv2.resize(picture.whole, (side, side), interpolation=there)
        wanted = cv2.resize(away, (400, 400), interpolation=back)
        wanted = wanted[box.y : box.y + box.h, box.x : box.x + box.w]
        found = seen_there_and_back(picture, settings, scale)
        assert np.array_equal(found.permute(1, 2, 0).numpy(), wanted)
    assert box.w == box.h == picture.side
