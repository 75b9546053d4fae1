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
    from blastscope.api.adapt import adapt as adapt
    from blastscope.api.analyze_errors import analyze_errors as analyze_errors
    from blastscope.api.audit_explanations import audit_explanations as audit_explanations
    from blastscope.api.baselines import measure_baselines as measure_baselines
    from blastscope.api.build_model import build_model as build_model
    from blastscope.api.bundle import make_bundle as make_bundle
    from blastscope.api.compare import compare as compare
    from blastscope.api.cross_validate import cross_validate as cross_validate
    from blastscope.api.cross_validate import measure_leakage as measure_leakage
    from blastscope.api.data import check as check
    from blastscope.api.data import fetch as fetch
    from blastscope.api.data import synthesize as synthesize
    from blastscope.api.data import synthesize_fields as synthesize_fields
    from blastscope.api.evaluate import evaluate as evaluate
    from blastscope.api.explain import explain as explain
    from blastscope.api.export_onnx import export_onnx as export_onnx
    from blastscope.api.fit_ensemble import fit_ensemble as fit_ensemble
    from blastscope.api.fold_ensemble import combine_folds as combine_folds
    from blastscope.api.inspect_bundle import inspect_bundle as inspect_bundle
    from blastscope.api.normalize_stain import normalize_stain as normalize_stain
    from blastscope.api.predict import load as load
    from blastscope.api.predict import predict as predict
    from blastscope.api.predict_shards import predict_shards as predict_shards
    from blastscope.api.prepare import prepare as prepare
    from blastscope.api.prepare import split as split
    from blastscope.api.recipes import Recipe as Recipe
    from blastscope.api.recipes import fetch_weights as fetch_weights
    from blastscope.api.recipes import list_recipes as list_recipes
    from blastscope.api.recipes import list_weights as list_weights
    from blastscope.api.recipes import load_recipe as load_recipe
    from blastscope.api.recipes import recipe_yaml as recipe_yaml
    from blastscope.api.recipes import verify_weights as verify_weights
    from blastscope.api.reproduce import plan_reproduction as plan_reproduction
    from blastscope.api.reproduce import reproduce as reproduce
    from blastscope.api.run_demo import run_demo as run_demo
    from blastscope.api.segment import segment as segment
    from blastscope.api.serve import serve as serve
    from blastscope.api.stream_predictions import stream_predictions as stream_predictions
    from blastscope.api.stress_test import stress_test as stress_test
    from blastscope.api.submit import submit as submit
    from blastscope.api.train import train as train
    from blastscope.api.tune import tune as tune
    from blastscope.api.verify import verify as verify
    from blastscope.process import tune_process as tune_process
    from blastscope.registry import register_augmentation as register_augmentation
    from blastscope.registry import register_loss as register_loss
    from blastscope.registry import register_network as register_network

__version__ = "0.3.0"

DISCLAIMER = (
    "Research software, not a medical device: nothing it prints is a diagnosis "
    "or may replace the judgement of a qualified person."
)

_HOMES = {
    "adapt": "blastscope.api.adapt",
    "analyze_errors": "blastscope.api.analyze_errors",
    "audit_explanations": "blastscope.api.audit_explanations",
    "build_model": "blastscope.api.build_model",
    "check": "blastscope.api.data",
    "combine_folds": "blastscope.api.fold_ensemble",
    "compare": "blastscope.api.compare",
    "cross_validate": "blastscope.api.cross_validate",
    "evaluate": "blastscope.api.evaluate",
    "explain": "blastscope.api.explain",
    "export_onnx": "blastscope.api.export_onnx",
    "fetch": "blastscope.api.data",
    "fetch_weights": "blastscope.api.recipes",
    "fit_ensemble": "blastscope.api.fit_ensemble",
    "inspect_bundle": "blastscope.api.inspect_bundle",
    "list_recipes": "blastscope.api.recipes",
    "list_weights": "blastscope.api.recipes",
    "load": "blastscope.api.predict",
    "load_recipe": "blastscope.api.recipes",
    "make_bundle": "blastscope.api.bundle",
    "measure_baselines": "blastscope.api.baselines",
    "measure_leakage": "blastscope.api.cross_validate",
    "normalize_stain": "blastscope.api.normalize_stain",
    "plan_reproduction": "blastscope.api.reproduce",
    "predict": "blastscope.api.predict",
    "predict_shards": "blastscope.api.predict_shards",
    "prepare": "blastscope.api.prepare",
    "Recipe": "blastscope.api.recipes",
    "recipe_yaml": "blastscope.api.recipes",
    "register_augmentation": "blastscope.registry",
    "register_loss": "blastscope.registry",
    "register_network": "blastscope.registry",
    "reproduce": "blastscope.api.reproduce",
    "run_demo": "blastscope.api.run_demo",
    "segment": "blastscope.api.segment",
    "serve": "blastscope.api.serve",
    "split": "blastscope.api.prepare",
    "stream_predictions": "blastscope.api.stream_predictions",
    "stress_test": "blastscope.api.stress_test",
    "submit": "blastscope.api.submit",
    "synthesize": "blastscope.api.data",
    "synthesize_fields": "blastscope.api.data",
    "train": "blastscope.api.train",
    "tune": "blastscope.api.tune",
    "tune_process": "blastscope.process",
    "verify": "blastscope.api.verify",
    "verify_weights": "blastscope.api.recipes",
}
"""The module of each function and class of the API."""

__all__ = [
    "DISCLAIMER",
    "BlastscopeError",
    "Recipe",
    "__version__",
    "adapt",
    "analyze_errors",
    "audit_explanations",
    "build_model",
    "check",
    "combine_folds",
    "compare",
    "cross_validate",
    "evaluate",
    "explain",
    "export_onnx",
    "fetch",
    "fetch_weights",
    "fit_ensemble",
    "inspect_bundle",
    "list_recipes",
    "list_weights",
    "load",
    "load_recipe",
    "make_bundle",
    "measure_baselines",
    "measure_leakage",
    "normalize_stain",
    "plan_reproduction",
    "predict",
    "predict_shards",
    "prepare",
    "recipe_yaml",
    "register_augmentation",
    "register_loss",
    "register_network",
    "reproduce",
    "run_demo",
    "segment",
    "serve",
    "split",
    "stream_predictions",
    "stress_test",
    "submit",
    "synthesize",
    "synthesize_fields",
    "train",
    "tune",
    "tune_process",
    "verify",
    "verify_weights",
]


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
        raise reason from missing

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = str(reason)
    return refuse


def __dir__() -> list[str]:
    """Return the names of the API."""
    return __all__
