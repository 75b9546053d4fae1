"""Models in Python: load one, give it images, get a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    from blastscope.prediction.model import PredictionModel


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to predict; its networks are loaded with the first image.

    Attributes:
        name: what tables call it; it ends in " (synthetic)" where synthetic cells have taught it.
        synthetic: whether they have.
        sizes: the sides, in pixels, of the images that its networks see.
    """

    _model: PredictionModel

    def __repr__(self) -> str:
        runs = len(self._model.predictor.voters.runs)
        sizes = ", ".join(map(str, self.sizes))
        return f"<{self.name}: {runs} network{'s' * (runs > 1)}, cells of {sizes} pixels>"

    @property
    def name(self) -> str:
        """What tables call it."""
        return self._model.name

    @property
    def synthetic(self) -> bool:
        """Whether synthetic cells have taught it."""
        return self._model.synthetic

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides, in pixels, of the images that its networks see."""
        return tuple(way.size for way in self._model.predictor.settings)

    def predict(self, images: Any) -> pl.DataFrame:
        """Predict images of single cells.

        Each is prepared as the training cells were: whole images are wanted, one cell on black
        each, not images that were cropped or scaled before.

        Args:
            images: one or a sequence of NumPy arrays, uint8, (H, W, 3) RGB, (H, W, 4) RGBA or
                (H, W) grey; PIL images; or paths.

        Returns:
            A row an image, in their order, with the columns ``file`` (empty for what comes from
            memory), ``cell``, ``subject``, ``label``, ``part``, ``model``, ``p_all`` (the
            probability of ALL, calibrated where the model has a calibration), ``ood_score``,
            ``out_of_distribution``, with a decision ``p_raw``, ``called`` (``all``, ``hem``),
            ``sure`` and ``refer``, with ``spread=True`` ``spread``, and ``problem``: why an image
            cannot be used, in which case there is no probability (docs/formats.md).

        Raises:
            BlastscopeError: where something is neither an array of these shapes, a PIL image nor
                a path, or nothing is given.
        """
        from blastscope.prediction.inputs import as_pictures
        from blastscope.prediction.model import stream

        found = as_pictures(images)
        if not found.pictures:
            raise BlastscopeError("There is nothing to predict on: give at least one image.")
        return pl.concat(stream(found, self._model))

    def subjects(self, predictions: pl.DataFrame) -> pl.DataFrame:
        """Return the share of blasts of each subject, with its 95 % interval.

        Args:
            predictions: what ``predict`` returned; rows without a subject count for nobody.

        Returns:
            A row a subject (``decision.subject_shares.person_table``); no rows where the model
            does not decide.
        """
        from blastscope.prediction.decisions import tally

        persons = tally(predictions, self._model.decides).persons
        return pl.DataFrame() if persons is None else persons


def load(
    path: str | Path | Sequence[str | Path] | None = None,
    *,
    engine: str = "auto",
    device: str = "auto",
    spread: bool = False,
) -> LoadedModel:
    """Load a model: a bundle, a run, several runs (their mean), an ensemble.

    Args:
        path: a bundle's folder or zip, or folders; without it the model that comes with
            blastscope.
        engine: ``auto``, ``onnxruntime``, ``openvino`` or ``torch``. ``auto`` is PyTorch on a GPU
            and for what is no bundle, else ONNX Runtime.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        spread: whether predictions say how far the eight ways to lay a cell differ.

    Raises:
        BlastscopeError: where it cannot be opened; nothing in it is run, whatever it is.
    """
    from blastscope.box import in_the_box
    from blastscope.prediction.model import open_model

    given = [in_the_box()] if path is None else [path] if isinstance(path, str | Path) else path
    models = [Path(one) for one in given]
    return LoadedModel(open_model(models, engine=engine, device=device, spread=spread))
