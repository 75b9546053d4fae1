"""Predict images of new cells batch by batch, for a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from blastscope import DISCLAIMER
from blastscope.api.predict import Models, model_paths
from blastscope.api.result import AnyPath, as_inputs, as_path
from blastscope.errors import BlastscopeError
from blastscope.prediction.inputs import list_inputs
from blastscope.prediction.models import open_model
from blastscope.prediction.predict import stream
from blastscope.prediction.table import json_lines
from blastscope.report.generalization_text import SYNTHETIC


@dataclass(frozen=True)
class PredictionStream:
    """Predictions that come batch by batch, for a pipe.

    Attributes:
        notes: what should be said beside them.
        frames: the rows of each batch.
    """

    notes: tuple[str, ...]
    frames: Iterator[pl.DataFrame]

    def json_lines(self) -> Iterator[str]:
        """Yield a JSON object a cell.

        Raises:
            BlastscopeError: at the end, if not one image could be used.
        """
        used = total = 0
        for frame in self.frames:
            used, total = used + frame["p_all"].count(), total + len(frame)
            yield from json_lines(frame)
        if not used:
            raise BlastscopeError(f"None of {total:,} images can be used: see their problem.")


def stream_predictions(
    images: AnyPath | Sequence[AnyPath],
    model: Models = None,
    *,
    decision: AnyPath | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
    subject_from: str | None = None,
) -> PredictionStream:
    """Predict images batch by batch; each batch is computed when it is asked for.

    Args:
        images: as :func:`predict` takes them; ``-`` reads names from standard input.
        model, decision, engine, device, spread, subject_from: as :func:`predict` takes them.

    Returns:
        The batches, and what should be said beside them.

    Raises:
        BlastscopeError: if the model or the images cannot be opened.
    """
    found = list_inputs(as_inputs(images), subject_from)
    by = as_path(decision)
    opened = open_model(
        model_paths(model), decision=by, engine=engine, device=device, spread=spread
    )
    notes = [f"{sentence}." for sentence in found.notes]
    if opened.synthetic:
        notes.append(SYNTHETIC)
    return PredictionStream((*notes, DISCLAIMER), stream(found, opened))
