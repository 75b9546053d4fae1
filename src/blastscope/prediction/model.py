"""A model that is ready to be asked: its networks, its name and what it decides by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from blastscope.decision.decision_file import DecisionFile
from blastscope.io.predictions import SYNTHETIC_MARK
from blastscope.prediction.decisions import decide, find_decision
from blastscope.prediction.input_images import InputImages
from blastscope.prediction.members import open_members
from blastscope.prediction.pipeline import predict_rows
from blastscope.prediction.predictor import Predictor


@dataclass(frozen=True)
class PredictionModel:
    """Networks, and what their answers are called and decided by.

    Attributes:
        predictor: the networks.
        name: what tables call them.
        decides: how probabilities become decisions; None where nothing says so.
    """

    predictor: Predictor
    name: str
    decides: DecisionFile | None

    @property
    def synthetic(self) -> bool:
        """Whether synthetic cells have taught it, or what it decides by."""
        by = self.decides
        return self.predictor.voters.synthetic or (by is not None and by.synthetic)

    def on(self, inputs: InputImages) -> PredictionModel:
        """Return it under the name that it has on these images: synthetic ones mark it."""
        marked = self.name.endswith(SYNTHETIC_MARK)
        if marked or not (self.synthetic or inputs.synthetic):
            return self
        return replace(self, name=self.name + SYNTHETIC_MARK)


def open_model(
    models: Sequence[Path],
    *,
    decision: Path | None = None,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
) -> PredictionModel:
    """Open a bundle, a run, the mean of several, or an ensemble.

    Args:
        models: a bundle's folder or zip, folders of runs, or the folder of one ensemble.
        decision: a ``decision.json``, or a folder with one, to decide by; by default the model's.
        engine: what computes (see ``prediction.predictor``).
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        spread: whether to say how far the eight ways to lay a cell differ.

    Raises:
        BlastscopeError: where a model is unfinished, stale or damaged, a decision is of other
            weights, or engine and device do not fit it.
    """
    voters = open_members(models)
    decides = find_decision(models, voters, decision)
    predictor = Predictor(voters, engine=engine, device=device, spread=spread)
    return PredictionModel(predictor, voters.name, decides)


def stream(inputs: InputImages, model: PredictionModel) -> Iterator[pl.DataFrame]:
    """Yield decided rows as they come, a batch at a time, for a pipe.

    Args:
        inputs: as ``list_inputs`` lists them.
        model: as ``open_model`` opens it.
    """
    model = model.on(inputs)
    for frame in predict_rows(inputs, model.predictor, model.name):
        yield decide(frame, model.decides)
