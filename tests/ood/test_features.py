"""The looks of pictures that are drawn so that the numbers are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.ood.features import FEATURES, STAIN, exchanged_stain, ood_features


def disc(radius: int, colour: tuple[int, int, int], side: int = 64) -> np.ndarray:
    picture = np.zeros((side, side, 3), np.uint8)
    cv2.circle(picture, (side // 2, side // 2), radius, colour, -1)
    return picture


def named(picture: np.ndarray) -> dict[str, float]:
    (found,) = ood_features(picture[None])
    return dict(zip(FEATURES, found.tolist(), strict=True))


def test_a_disc_of_one_colour_by_hand():
    found = named(disc(20, (120, 60, 160)))
    assert found["filled"] == pytest.approx(np.pi * 20**2 / 64**2, rel=0.05)
    assert found["rim"] == 0
    lab = cv2.cvtColor(np.float32([[[120, 60, 160]]]) / 255, cv2.COLOR_RGB2Lab)[0, 0]
    means = [found[name] for name in ("lightness", "a_star", "b_star")]
    assert means == pytest.approx(lab.tolist(), abs=0.01)
    assert found["lightness_spread"] == pytest.approx(np.log(0.1), abs=0.01)
    assert found["raggedness"] == pytest.approx(1, abs=0.25)  # its outline runs over pixels
    assert found["solidity"] > 0.95
    assert found["whole"] > 0.9


def test_a_ramp_has_the_gradient_that_it_was_drawn_with():
    picture = np.repeat(np.arange(64, 192, 2, dtype=np.uint8)[None, :, None], 64, axis=0)
    picture = np.ascontiguousarray(np.repeat(picture, 3, axis=2))
    light = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[..., 0]
    # central differences inside; at the border OpenCV mirrors, which halves nothing inside the core
    step = np.abs(np.gradient(light, axis=1))[1:-1, 1:-1].mean()
    assert named(picture)["edges"] == pytest.approx(np.log(step + 0.1), abs=0.01)
    assert named(picture)["rim"] == 1


def test_two_pieces_and_black():
    two = disc(10, (90, 40, 120))
    two[:6, :6] = (90, 40, 120)
    found = named(two)
    assert found["whole"] == pytest.approx(np.pi * 100 / (np.pi * 100 + 36), rel=0.1)
    assert found["rim"] > 0
    assert named(np.zeros((64, 64, 3), np.uint8)) == dict.fromkeys(FEATURES, 0.0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([16, 64, 100, 224]))
def test_any_picture_has_finite_looks(seed, side):
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (1, side, side, 3), np.uint8) * (rng.random((1, side, side, 1))
        < rng.random()).astype(np.uint8)  # fmt: skip
    assert np.isfinite(ood_features(picture)).all()


def test_a_large_picture_looks_as_it_does_when_small():
    small = disc(40, (120, 60, 160), 128)
    large = cv2.resize(small, (512, 512), interpolation=cv2.INTER_NEAREST)
    assert ood_features(large[None])[0] == pytest.approx(ood_features(small[None])[0], abs=0.02)
    assert ood_features(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, len(FEATURES))


def test_looks_do_not_hang_on_where_in_memory_a_picture_lies():
    rng = np.random.default_rng(0)
    for _ in range(20):
        picture = rng.integers(0, 255, (1, 128, 128, 3), np.uint8)
        room = np.empty(picture.size + 64, np.uint8)
        for start in (1, 3, 16, 33):
            moved = room[start : start + picture.size].reshape(picture.shape)
            moved[:] = picture
            np.testing.assert_array_equal(ood_features(moved), ood_features(picture))


@pytest.mark.parametrize("side", [24, 64, 200])
def test_the_exchanged_colour_is_that_of_the_exchanged_picture(side):
    rng = np.random.default_rng(side)
    pictures = np.stack(
        [
            disc(side // 3, (120, 60, 160), side),
            rng.integers(0, 256, (side, side, 3), np.uint8),
            np.zeros((side, side, 3), np.uint8),
        ]
    )
    turned = ood_features(np.ascontiguousarray(pictures[..., ::-1]))[:, STAIN]
    np.testing.assert_allclose(exchanged_stain(pictures), turned, atol=1e-3)
    assert exchanged_stain(pictures[:0]).shape == (0, 3)
