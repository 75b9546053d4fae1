"""Perturb prepared pixels as the images of another lab may differ: stain, light, focus, geometry.

Every function takes and returns uint8 pixels, N × S × S × 3, RGB, cells on black. Those that change
colours leave black unchanged, because it is not glass but what was cut away.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels

_WHITE = 255


def stain_hue(pixels: Pixels, degrees: float) -> Pixels:
    """Turn the hue of HSV by ``degrees`` of its circle of 360; positive is towards red here.

    A violet (270) goes towards magenta (300) with more degrees, towards blue (240) with fewer.
    """
    found = np.empty_like(pixels)
    for out, picture in zip(found, pixels, strict=True):
        hsv = cv2.cvtColor(picture.astype(np.float32) / _WHITE, cv2.COLOR_RGB2HSV)
        hsv[:, :, 0] = (hsv[:, :, 0] + degrees) % 360
        out[:] = np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * _WHITE)
    return found


def stain_intensity(pixels: Pixels, times: float) -> Pixels:
    """Multiply the optical density by ``times``, as more or less stain does (Beer and Lambert).

    The density of a value is -log10(value / 255).
    """
    share = np.arange(_WHITE + 1) / _WHITE
    return _looked_up(pixels, share**times)


def exposure(pixels: Pixels, stops: float) -> Pixels:
    """Multiply the light by 2 to the power of ``stops``, up to white.

    Values are treated as sRGB (IEC 61966-2-1), which cameras write.
    """
    share = np.arange(_WHITE + 1) / _WHITE
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = np.minimum(light * 2**stops, 1)
    return _looked_up(
        pixels, np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    )


def _looked_up(pixels: Pixels, shares: NDArray[np.float64]) -> Pixels:
    """Replace each value by 255 times its share in the table."""
    table = np.rint(shares * _WHITE).astype(np.uint8)
    found: Pixels = table[pixels]
    return found


def blur(pixels: Pixels, percent: float) -> Pixels:
    """Blur with a Gaussian; its sigma is ``percent`` of the image's side."""
    sigma = percent / 100 * pixels.shape[1]
    return _each(pixels, lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma))


def jpeg(pixels: Pixels, quality: float) -> Pixels:
    """Compress as JPEG with a quality of 1 to 100, and decode it again."""
    how = [cv2.IMWRITE_JPEG_QUALITY, round(quality)]

    def there_and_back(picture: Pixels) -> cv2.typing.MatLike:
        _, written = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)
        opened = np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR))
        return cv2.cvtColor(opened, cv2.COLOR_BGR2RGB)

    return _each(pixels, there_and_back)


def rotation(pixels: Pixels, degrees: float) -> Pixels:
    """Rotate counter-clockwise about the centre; the corners that come in are black."""
    return _mapped(pixels, degrees, 1)


def scale(pixels: Pixels, times: float) -> Pixels:
    """Rescale about the centre: enlarged and cut to the old side, or smaller on black.

    Images that shrink are blurred first, so that chromatin does not alias.
    """
    if times < 1:
        sigma = 0.5 * np.sqrt(1 / times**2 - 1)
        pixels = _each(pixels, lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma))
    return _mapped(pixels, 0, times)


def _mapped(pixels: Pixels, degrees: float, times: float) -> Pixels:
    side = pixels.shape[1]
    middle = ((side - 1) / 2, (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, times)
    return _each(pixels, lambda p: cv2.warpAffine(p, matrix, (side, side), flags=cv2.INTER_LINEAR))


def _each(pixels: Pixels, change: Callable[[Pixels], cv2.typing.MatLike]) -> Pixels:
    found = np.empty_like(pixels)
    for out, picture in zip(found, pixels, strict=True):
        out[:] = change(np.ascontiguousarray(picture))
    return found
