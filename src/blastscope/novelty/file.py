"""``novelty.safetensors``: what a run folder keeps to tell pictures that are no cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from blastscope.errors import BlastscopeError
from blastscope.files import replacing
from blastscope.novelty.detector import QUANTILE, Novelty
from blastscope.novelty.features import WIDEST, Sketch

FORMAT = "blastscope-novelty/1"
NAME = "novelty.safetensors"


def write_novelty(found: Novelty, path: Path, checkpoint: str) -> None:
    """Write a detector, whole or not at all; nothing is pickled.

    Args:
        found: the detector.
        path: where to.
        checkpoint: ``sha256:`` of the weights whose features it was fitted on.
    """
    tensors = {
        "mean": torch.from_numpy(found.mean.astype(np.float32)),
        "plane": torch.from_numpy(np.ascontiguousarray(found.plane, np.float32)),
        "threshold": torch.tensor(found.threshold, dtype=torch.float64),
    }
    if found.sketch is not None:
        tensors |= {"sums": found.sketch.sums.to(torch.int16), "signs": found.sketch.signs}
    about = {
        "format": FORMAT,
        "quantile": f"{QUANTILE:g}",
        "cells": str(found.cells),
        "checkpoint": checkpoint,
    }
    with replacing(path) as beside:
        beside.write_bytes(save(tensors, about))


def read_novelty(path: Path, checkpoint: str) -> Novelty | None:
    """Read a detector; None where there is none, as in runs of versions before it.

    Raises:
        BlastscopeError: where the file is damaged, of another kind or of other weights.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BlastscopeError(f"{path} is damaged ({error}): remove it, or train again.") from error
    if about.get("format") != FORMAT:
        raise BlastscopeError(f"{path} is no {FORMAT} file: remove it, or train again.")
    if about.get("checkpoint") != checkpoint:
        raise BlastscopeError(
            f"{path} was made with other weights than those beside it: remove it, or train again."
        )
    try:
        return _checked(tensors, int(about["cells"]))
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BlastscopeError(
            f"{path} does not hold what it should ({reason}): remove it, or train again."
        ) from error


def _checked(tensors: dict[str, torch.Tensor], cells: int) -> Novelty:
    """Put the tensors together.

    Raises:
        KeyError: where one is missing.
        ValueError: where one is of another shape or kind, or holds what is no number.
    """
    mean, plane = (tensors[name].double().numpy() for name in ("mean", "plane"))
    threshold = float(tensors["threshold"])
    if mean.ndim != 1 or plane.ndim != 2 or plane.shape[1] != len(mean):
        raise ValueError(f"a plane {plane.shape} that does not fit its mean {mean.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(plane).all() and 0 < threshold < np.inf):
        raise ValueError("numbers that are none")
    if "sums" not in tensors:
        return Novelty(mean, plane, threshold, cells)
    sums, signs = tensors["sums"].long(), tensors["signs"]
    if sums.shape != signs.shape or sums.ndim != 1 or len(mean) != WIDEST or not len(sums):
        raise ValueError("a sketch that does not fit")
    if int(sums.min()) < 0 or int(sums.max()) >= WIDEST:
        raise ValueError("a sketch that does not fit")
    return Novelty(mean, plane, threshold, cells, Sketch(sums, signs))
