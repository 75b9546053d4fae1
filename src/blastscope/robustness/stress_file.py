"""``stress.json``: what it is called, and the curve of counterfactual size that a bundle takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from blastscope.bundle.manifest import SizeCurve
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, refuse_other_version
from blastscope.io.json_objects import first_error
from blastscope.io.workfolder import first_difference
from blastscope.training.finished_run import FinishedRun

FORMAT, CONTENT = "blastscope-stress/2", "stress.json"


def bundled_size_curve(folder: Path, run: FinishedRun) -> SizeCurve:
    """Read the curve of counterfactual size of a stress test for the bundle of a run.

    Of several tested models the one with the run's own weights counts, or else the only one whose
    recipe has the run's settings: a cross-validation, or a run with another seed.

    Raises:
        BlastscopeError: if the test is unfinished, of other models or settings, of synthetic cells
            if the run is not, or without a curve.
    """
    place = folder / CONTENT
    if not place.is_file():
        raise BlastscopeError(
            f"{folder} is not a folder of a stress test: give one that `blastscope stress` wrote."
        )
    content = read_json(place)
    refuse_other_version(content, FORMAT, place, "blastscope stress")
    if "models" not in content:
        raise BlastscopeError(
            f"{folder} is an unfinished stress test: give its command again, which goes on."
        )
    try:
        return _curve(folder, content, run)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise BlastscopeError(
            f"{place} is not as blastscope writes it ({_short(error)}): run `blastscope stress` "
            "again, into a new folder."
        ) from error


def _curve(folder: Path, content: dict[str, Any], run: FinishedRun) -> SizeCurve:
    networks, models = content["identity"]["models"], content["models"]
    if any("settings" not in model for model in models):
        raise BlastscopeError(
            f"{folder / CONTENT} does not say which settings its networks have: run `blastscope "
            "stress` again with the same --out."
        )
    if content["synthetic"] and not run.synthetic:
        raise BlastscopeError(
            f"{folder} tested on synthetic cells, and {run.path} was not trained on such: leave "
            "the stress test out."
        )
    own = [k for k, (_, *checkpoints) in enumerate(networks) if checkpoints == [run.checkpoint]]
    model = models[own[0] if own else _of_settings(folder, models, run)]
    if not model["size"]:
        raise BlastscopeError(
            f"{folder} has no curve of size, because its cells are not at one scale: leave the "
            "stress test out."
        )
    about = {name: model[name] for name in ("protocol", "cells", "sampling")}
    about |= {"own": bool(own), "part": content["part"], "steps": model["size"]}
    return SizeCurve.model_validate(about)


def _of_settings(folder: Path, models: list[dict[str, Any]], run: FinishedRun) -> int:
    """Return the place of the one model whose recipe has the run's settings."""
    wanted = run.recipe.settings
    alike = [k for k, model in enumerate(models) if model["settings"] == wanted]
    if not alike:
        found = first_difference(models[0]["settings"], wanted)
        raise BlastscopeError(
            f"{folder} is a stress test of networks with other settings than {run.path}: {found}; "
            "give one of this run, or of its recipe."
        )
    if len(alike) > 1:
        names = " and ".join(f"'{models[k]['model']}'" for k in alike[:2])
        raise BlastscopeError(
            f"{folder} tests several models with these settings, {names}: give a stress test of "
            "one of them."
        )
    return alike[0]


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_error(error)
    return f"{type(error).__name__}: {error}"
