"""The strengths of an augmentation that a recipe describes itself, instead of naming a preset."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, model_validator

from blastscope.recipes.section import Section, Share


def _as_mapping(value: Any) -> Any:
    """Let a bare number stand for the most of a strength that every cell gets."""
    return {"most": value} if isinstance(value, int | float) else value


class Strength(Section):
    """How strong a change is at most, and the share of cells that get it."""

    most: float = Field(gt=0)
    share: Share = 1.0


class Zoom(Section):
    """The cell's size is multiplied by ``least`` to ``most``, drawn on a logarithmic scale."""

    least: float = Field(ge=0.1, le=10)
    most: float = Field(ge=0.1, le=10)
    share: Share = 1.0

    @model_validator(mode="after")
    def _least_is_less(self) -> Zoom:
        if self.least >= self.most:
            raise ValueError(f"least, {self.least}, must be less than most, {self.most}")
        return self


class Cutout(Section):
    """Black squares at random places; their ``side`` is a share of the image's."""

    squares: int = Field(ge=1, le=100)
    side: float = Field(gt=0, lt=1)
    share: Share = 1.0


Amount = Annotated[Strength, BeforeValidator(_as_mapping)]
Size = Annotated[
    Zoom,
    BeforeValidator(
        lambda value: (
            {"least": value[0], "most": value[1]}
            if isinstance(value, list | tuple) and len(value) == 2
            else value
        )
    ),
]


class Strengths(Section):
    """Changes of a training cell that are drawn again in every epoch.

    ``dihedral``: flips and quarter turns. ``rotate`` and ``shear``: degrees, to either side.
    ``shift``: a share of the image's side, along each axis. ``zoom``: ``[least, most]``, by which
    the cell's size is multiplied. ``blur``: the largest standard deviation of a Gaussian, as a
    share of the side. ``light``: the largest change of the logarithms of
    brightness and of contrast. ``stain``: that of optical densities. ``cutout``: ``{squares,
    side}``. A strength is a number, or ``{most: number, share: of cells that get it}``. What comes
    in from outside the image is black.
    """

    dihedral: Annotated[bool, Strict()] = False
    rotate: Amount | None = None
    shift: Amount | None = None
    zoom: Size | None = None
    shear: Amount | None = None
    blur: Amount | None = None
    light: Amount | None = None
    stain: Amount | None = None
    cutout: Cutout | None = None

    @model_validator(mode="after")
    def _strengths_make_sense(self) -> Strengths:
        if not self.dihedral and not self.changes_pixels:
            raise ValueError("there is no change in it: write none, or give a strength")
        for name, limit in _LIMITS.items():
            strength: Strength | None = getattr(self, name)
            if strength is not None and strength.most > limit:
                raise ValueError(f"{name} is at most {limit}, not {strength.most}")
        return self

    @property
    def changes_pixels(self) -> bool:
        """Whether it does more than lay the cell another way."""
        return any(
            getattr(self, name) is not None for name in Strengths.model_fields if name != "dihedral"
        )


_LIMITS = {"rotate": 180.0, "shift": 0.5, "shear": 60.0, "blur": 0.1, "light": 1.0, "stain": 1.0}
