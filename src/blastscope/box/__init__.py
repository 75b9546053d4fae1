"""The model in the box: a bundle that comes with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from blastscope.errors import BlastscopeError

_PLACE = "model"


def in_the_box() -> Path:
    """Return the folder of the bundle that comes with blastscope.

    Raises:
        BlastscopeError: where this copy of blastscope was packed without it.
    """
    place = Path(str(files(__name__))) / _PLACE
    if not place.is_dir():
        raise BlastscopeError(
            "This copy of blastscope has no model in its box: give one with --model, or install "
            "blastscope again."
        )
    return place
