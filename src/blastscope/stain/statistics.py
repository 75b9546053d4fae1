"""The stain of an image in a few numbers: what one image is normalized from, and what to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from blastscope.stain.optical_density import Floats

Method: TypeAlias = Literal["reinhard", "macenko", "gcti"]
METHODS: tuple[Method, ...] = get_args(Method)
Numbers: TypeAlias = tuple[float, ...]

_LENGTHS: dict[str, dict[str, int]] = {
    "reinhard": {"mean": 3, "deviation": 3},
    "macenko": {"vectors": 6, "strongest": 2},
    "gcti": {"light": 3, "vectors": 9, "strongest": 2},
}


class StainError(ValueError):
    """An image that a method cannot normalize; the message is a phrase that says why."""


@dataclass(frozen=True)
class StainStatistics:
    """What a method measures of an image; it is all that normalization needs of a reference.

    Attributes:
        method: the method that measured it.
        on_black: whether the image is a cell on black; otherwise it is a whole field.
        mean: reinhard: the mean L*, a*, b* of the pixels.
        deviation: reinhard: their standard deviations.
        light: gcti: red, green and blue of the background, 0 to 255.
        vectors: macenko, gcti: the stains' red, green and blue densities, each of length 1, one
            stain after the other; gcti has the residual, at right angles to both, as a third.
        strongest: macenko, gcti: the high percentile of each stain's amount.

    Raises:
        ValueError: if the numbers are not those of the method, or not finite.
    """

    method: Method
    on_black: bool
    mean: Numbers = ()
    deviation: Numbers = ()
    light: Numbers = ()
    vectors: Numbers = ()
    strongest: Numbers = ()

    def __post_init__(self) -> None:
        """Refuse numbers that another method has, too few of them, or NaN."""
        if self.method not in METHODS:
            raise ValueError(f"the stain method {self.method!r} is not known")
        wanted = _LENGTHS[self.method]
        for name in ("mean", "deviation", "light", "vectors", "strongest"):
            values = getattr(self, name)
            if len(values) != wanted.get(name, 0) or not np.isfinite(values).all():
                raise ValueError(f"{self.method} needs {wanted.get(name, 0)} finite {name}")

    @property
    def stains(self) -> Floats:
        """The stain vectors as rows, (2, 3) or (3, 3)."""
        return np.reshape(self.vectors, (-1, 3))

    @property
    def wedge(self) -> float | None:
        """The angle between the two stains in degrees; None for a method without stains."""
        if not self.vectors:
            return None
        cosine = float(self.stains[0] @ self.stains[1])
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def as_json(self) -> dict[str, Any]:
        """Return the numbers that the method has."""
        return {key: value for key, value in asdict(self).items() if value != ()}

    def __str__(self) -> str:
        numbers = self.mean or self.strongest
        return f"{self.method} to {', '.join(f'{value:.2f}' for value in numbers)}"


def statistics_from(content: Mapping[str, Any]) -> StainStatistics:
    """Read what ``as_json`` wrote.

    Raises:
        ValueError: if it is something else.
    """
    try:
        fields: dict[str, Any] = {
            key: tuple(map(float, value)) if isinstance(value, list | tuple) else value
            for key, value in content.items()
        }
        return StainStatistics(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from error


def as_numbers(values: Any) -> Numbers:
    """Return an array's values, row after row, as plain floats."""
    return tuple(float(value) for value in np.ravel(values))
