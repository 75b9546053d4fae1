"""The model in the box: the bundle that is installed with blastscope."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from blastscope.errors import BlastscopeError

_PLACE = "model"


def in_the_box() -> Path:
    """Return the folder of the bundle that is installed with blastscope.

    Raises:
        BlastscopeError: if this copy of blastscope was installed without it.
    """
    place = Path(str(files(__name__))) / _PLACE
    if not place.is_dir():
        raise BlastscopeError(
            "This copy of blastscope was installed without a model: give one with --model, or "
            "install blastscope again."
        )
    return place
