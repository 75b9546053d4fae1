"""blastscope: tells B-cell lymphoblasts from normal white blood cells. Research software."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blastscope.api.load import load

__version__ = "0.1.0"
__all__ = ["DISCLAIMER", "__version__", "load"]

DISCLAIMER = (
    "Research software, not a medical device: nothing it prints is a diagnosis "
    "or may replace the judgement of a qualified person."
)


def __getattr__(name: str) -> Any:
    """Import ``load`` when it is first asked for: it brings tables with it, and help needs none."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from blastscope.api.load import load

    return load
