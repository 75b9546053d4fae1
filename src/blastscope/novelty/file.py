"""``novelty.json``: what a run folder keeps to tell pictures that are no cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from blastscope.errors import BlastscopeError
from blastscope.files import read_json, write_json
from blastscope.novelty.detector import QUANTILE, Novelty
from blastscope.novelty.looks import LOOKS

FORMAT = "blastscope-novelty/1"
NAME = "novelty.json"


def write_novelty(found: Novelty, path: Path) -> None:
    """Write a detector, whole or not at all."""
    content = {
        "format": FORMAT,
        "looks": list(LOOKS),
        "quantile": QUANTILE,
        "cells": found.cells,
        "threshold": found.threshold,
        "mean": found.mean.tolist(),
        "deviation": found.deviation.tolist(),
        "precision": found.precision.tolist(),
    }
    write_json(path, content)


def read_novelty(path: Path) -> Novelty | None:
    """Read a detector; None where there is none, as in runs of versions before it.

    Raises:
        BlastscopeError: where the file is damaged or of another kind.
    """
    return novelty_from(read_json(path), str(path)) if path.is_file() else None


def novelty_from(content: dict[str, Any], where: str) -> Novelty:
    """Read a detector from the content of its file.

    Raises:
        BlastscopeError: naming ``where``, where it is damaged or of another kind.
    """
    try:
        return _checked(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise BlastscopeError(
            f"{where} is no {FORMAT} file ({reason}): remove it, or train again."
        ) from error


def _checked(content: dict[str, Any]) -> Novelty:
    """Put the parts together.

    Raises:
        KeyError: where one is missing.
        ValueError: where one is of another shape or kind, or holds what is no number.
    """
    if content["format"] != FORMAT or tuple(content["looks"]) != LOOKS:
        raise ValueError("another format")
    mean, deviation, precision = (
        np.array(content[name], np.float64) for name in ("mean", "deviation", "precision")
    )
    threshold, count = float(content["threshold"]), len(LOOKS)
    if (mean.shape, deviation.shape, precision.shape) != ((count,), (count,), (count, count)):
        raise ValueError("numbers that do not fit each other")
    whole = all(np.isfinite(part).all() for part in (mean, deviation, precision))
    if not (whole and (deviation > 0).all() and 0 < threshold < np.inf):
        raise ValueError("numbers that are none")
    return Novelty(mean, deviation, precision, threshold, int(content["cells"]))
