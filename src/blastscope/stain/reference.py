"""What images are normalized to: the reference's statistics, of an image or of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blastscope.stain.statistics import Method, StainStatistics, as_numbers

CNMC: dict[Method, StainStatistics] = {
    "reinhard": StainStatistics(
        "reinhard",
        True,
        mean=(18.794349, 28.431333, -22.353864),
        deviation=(4.060968, 3.312742, 3.502485),
    ),
    "macenko": StainStatistics(
        "macenko",
        True,
        vectors=(0.486380, 0.791207, 0.370711, 0.565087, 0.655769, 0.500643),
        strongest=(3.015181, 3.376561),
    ),
    "gcti": StainStatistics(
        "gcti",
        True,
        light=(79.942259, 39.982427, 88.746444),
        vectors=(
            *(0.453449, 0.801444, 0.389963),
            *(0.558949, 0.616394, 0.554648),
            *(-0.765180, 0.125694, 0.631427),
        ),
        strongest=(3.253272, 7.321632),
    ),
}
"""The statistics of a typical cell of C-NMC 2019: ``typical`` of every sixth cell of fold 1."""


def typical(found: Sequence[StainStatistics]) -> StainStatistics:
    """Return the statistics of the image that is nearest to the median of several.

    They are one image's and not averages: the average of stain vectors belongs to no stain. Each
    number counts in units of its median absolute deviation.

    Args:
        found: of at least one image, all by the same method.
    """
    numbers = np.array([_numbers(one) for one in found])
    away = np.abs(numbers - np.median(numbers, axis=0))
    unit = np.maximum(np.median(away, axis=0), 1e-9)
    return found[int(np.square(away / unit).sum(axis=1).argmin())]


def _numbers(one: StainStatistics) -> tuple[float, ...]:
    vectors = one.stains[:2] if one.vectors else ()
    return (*one.mean, *one.deviation, *one.light, *as_numbers(vectors), *one.strongest)
