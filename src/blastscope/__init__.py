"""blastscope: tells B-cell lymphoblasts from normal white blood cells. Research software.

Every verb of the command line is a function here: ``import blastscope as bs``, then
``bs.evaluate("predictions.csv")`` or ``bs.load().predict(images)``. Importing the package is quick,
because each function is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from blastscope.errors import BlastscopeError, needs_training

if TYPE_CHECKING:
    from blastscope.api.compare import compare as compare
    from blastscope.api.evaluate import evaluate as evaluate
    from blastscope.api.predict import load as load
    from blastscope.api.predict import predict as predict
    from blastscope.api.predict import stream_predictions as stream_predictions

__version__ = "0.1.0"

DISCLAIMER = (
    "Research software, not a medical device: nothing it prints is a diagnosis "
    "or may replace the judgement of a qualified person."
)

_HOMES = {
    "evaluate": "blastscope.api.evaluate",
    "compare": "blastscope.api.compare",
    "load": "blastscope.api.predict",
    "predict": "blastscope.api.predict",
    "stream_predictions": "blastscope.api.predict",
}
"""The module of each function and class of the API."""

__all__ = ["DISCLAIMER", "BlastscopeError", "__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Import a part of the API when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        return _refusing(name, error)
    globals()[name] = found
    return found


def _refusing(name: str, missing: ModuleNotFoundError) -> Callable[..., Any]:
    """Stand in for a function of the API that cannot be imported without the extra ``train``."""
    reason = needs_training(f"blastscope.{name}", missing)
    if reason is missing:
        raise missing

    def refuse(*_: Any, **__: Any) -> Any:
        raise reason

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = str(reason)
    return refuse


def __dir__() -> list[str]:
    """Return the names of the API."""
    return __all__
