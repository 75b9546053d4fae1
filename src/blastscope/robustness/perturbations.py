"""Perturb prepared pixels as the images of another lab may differ: stain, light, focus, geometry.

``PERTURBATIONS`` lists those of a stress test, with their strengths and units. Every function takes
and returns uint8 pixels, N × S × S × 3, RGB, cells on black. Those that change colours leave black
unchanged, because it is not glass but what was cut away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels

NOTHING, NON_CELLS = "none", "non-cells"
"""The names of strength 0, at which nothing is changed, and of images that are not cells."""
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


@dataclass(frozen=True)
class Perturbation:
    """One way in which images may differ."""

    name: str  # in tables and file names
    shown: str  # on pages
    unit: str  # of its values
    unchanged: float  # the value that changes nothing
    # At each of the five strengths, the weakest first: one value, or two of the same size if there
    # are two directions.
    values: tuple[tuple[float, ...], ...]
    # The function of uint8 pixels (N, S, S, 3) and a value.
    change: Callable[[Pixels, float], Pixels]

    @property
    def log(self) -> bool:
        """Whether its values are factors, which belong on a logarithmic axis."""
        return self.unchanged == 1


def _both(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((-value, value) for value in values)


def _factors(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((1 / value, value) for value in values)


def _one(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) for value in values)


PERTURBATIONS = (
    Perturbation(
        "stain-hue", "stain hue", "°", 0, _both(5, 10, 15, 20, 30), stain_hue
    ),
    Perturbation(
        "stain-intensity", "stain intensity", "× optical density", 1,
        _factors(1.1, 1.2, 1.35, 1.5, 1.75), stain_intensity,
    ),
    Perturbation(
        "exposure", "exposure", "stops", 0, _both(0.2, 0.4, 0.6, 0.8, 1), exposure
    ),
    Perturbation(
        "blur", "blur", "% of the side", 0, _one(0.25, 0.5, 1, 1.5, 2), blur
    ),
    Perturbation("jpeg", "JPEG", "quality", 100, _one(90, 70, 50, 30, 10), jpeg),
    Perturbation("rotation", "rotation", "°", 0, _one(15, 30, 45, 60, 75), rotation),
    Perturbation("scale", "scale", "×", 1, _factors(1.05, 1.1, 1.2, 1.3, 1.5), scale),
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One perturbation at one value; None changes nothing."""

    strength: int
    perturbation: Perturbation | None = None
    value: float | None = None

    @property
    def name(self) -> str:
        """The perturbation's name."""
        return self.perturbation.name if self.perturbation else NOTHING

    @property
    def key(self) -> str:
        """A name for a file."""
        return NOTHING if self.value is None else f"{self.name}_{self.value:.4g}"

    def __call__(self, pixels: Pixels) -> Pixels:
        """Perturb uint8 pixels, (N, S, S, 3)."""
        if self.perturbation is None or self.value is None:
            return pixels
        return self.perturbation.change(pixels, self.value)


def steps() -> Iterator[Step]:
    """Yield every step: first unchanged, then each perturbation, ordered by its values."""
    yield Step(0)
    for one in PERTURBATIONS:
        of_value = {value: k for k, values in enumerate(one.values, 1) for value in values}
        for value in sorted(of_value):
            yield Step(of_value[value], one, value)
