"""Define the perturbations of a stress test, their strengths and their units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from blastscope.data.crop import Pixels
from blastscope.robustness import perturbations

NOTHING = "none"
"""The name of strength 0, at which nothing is changed."""


@dataclass(frozen=True)
class Perturbation:
    """One way in which images may differ.

    Attributes:
        name: in tables and file names.
        shown: on pages.
        unit: of its values.
        unchanged: the value that changes nothing.
        values: at each of the five strengths, the weakest first: one value, or two of the same
            size if there are two directions.
        change: the function of uint8 pixels (N, S, S, 3) and a value.
    """

    name: str
    shown: str
    unit: str
    unchanged: float
    values: tuple[tuple[float, ...], ...]
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
        "stain-hue", "stain hue", "°", 0, _both(5, 10, 15, 20, 30), perturbations.stain_hue
    ),
    Perturbation(
        "stain-intensity", "stain intensity", "× optical density", 1,
        _factors(1.1, 1.2, 1.35, 1.5, 1.75), perturbations.stain_intensity,
    ),
    Perturbation(
        "exposure", "exposure", "stops", 0, _both(0.2, 0.4, 0.6, 0.8, 1), perturbations.exposure
    ),
    Perturbation(
        "blur", "blur", "% of the side", 0, _one(0.25, 0.5, 1, 1.5, 2), perturbations.blur
    ),
    Perturbation("jpeg", "JPEG", "quality", 100, _one(90, 70, 50, 30, 10), perturbations.jpeg),
    Perturbation("rotation", "rotation", "°", 0, _one(15, 30, 45, 60, 75), perturbations.rotation),
    Perturbation("scale", "scale", "×", 1, _factors(1.05, 1.1, 1.2, 1.3, 1.5), perturbations.scale),
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
