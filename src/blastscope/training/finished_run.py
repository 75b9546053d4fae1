"""A finished run, opened to be applied to new cells; only its ``classifier`` needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from blastscope.data.store import Store, StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.sources import CROSSVAL, SEEDS, open_source
from blastscope.io.predictions import read_predictions
from blastscope.io.remote import refuse_remote
from blastscope.recipes.library import read_recipe
from blastscope.recipes.schema import Recipe
from blastscope.stain.statistics import StainStatistics, statistics_from

if TYPE_CHECKING:
    from blastscope.models.classifier import Classifier
    from blastscope.ood.detector import OodDetector

SAME = 0.01
"""By how much a probability may differ from the run's own: machines differ by far less, images by
more."""


@dataclass(frozen=True)
class FinishedRun:
    """A run whose predictions were made by the weights beside them."""

    path: Path
    recipe: Recipe
    checkpoint: str  # ``sha256:`` of the weights
    synthetic: bool  # whether it was trained on synthetic cells
    settings: StoreSettings  # how its cells are prepared

    def weights(self) -> bytes:
        """Return the weights as safetensors.

        Raises:
            BlastscopeError: if they cannot be read.
        """
        path = self.path / "checkpoint.safetensors"
        try:
            return path.read_bytes()
        except OSError as error:
            raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error

    def classifier(self) -> Classifier:
        """Build the network in PyTorch and fill in its weights, in single precision.

        Raises:
            BlastscopeError: if PyTorch is not installed, or the weights are damaged or do not fit
                the recipe's network.
        """
        from blastscope.engines.torch_engine import load_classifier

        try:
            return load_classifier(self.recipe, self.weights())
        except ValueError as error:
            raise self._misfit(error) from error

    def _misfit(self, error: ValueError) -> BlastscopeError:
        return BlastscopeError(
            f"The checkpoint of {self.path} does not fit its recipe.yaml ({error}): train again, "
            "into a new folder."
        )

    @cached_property
    def own_predictions(self) -> pl.DataFrame | None:
        """The table of its own predictions; None if there is none."""
        path = self.path / "predictions.parquet"
        return read_predictions(path)[0] if path.is_file() else None

    def recorded(self, column: str) -> dict[str, Any]:
        """Return a column of its own predictions by cell; empty if there are none."""
        table = self.own_predictions
        return {} if table is None else dict(table.select("cell", column).iter_rows())

    def refuse_other_images(self, cells: Iterable[str], p_all: Iterable[float], data: str) -> None:
        """Refuse images, from ``data``, that are not those that the run was predicted on.

        Raises:
            BlastscopeError: if a cell's p(ALL) differs from what the run recorded by more than
                ``SAME``.
        """
        recorded = self.recorded("p_all")
        for cell, found in zip(cells, p_all, strict=True):
            said = recorded.get(cell, found)
            if abs(found - said) > SAME:
                raise BlastscopeError(
                    f"The cell '{cell}' has p(ALL) {found:.3f} {data}, where {self.path} recorded "
                    f"{said:.3f}: give the data that it was trained on."
                )

    def ood(self) -> OodDetector | None:
        """Return the run's out-of-distribution detector; None if the run has none.

        Raises:
            BlastscopeError: if its file is damaged.
        """
        from blastscope.ood.detector import NAME, read_ood

        return read_ood(self.path / NAME)


def open_run(path: Path) -> FinishedRun:
    """Open a run folder.

    Raises:
        BlastscopeError: if it is not a finished run, or its checkpoint is stale.
    """
    refuse_remote(path)
    if not path.exists():
        raise BlastscopeError(f"{path} does not exist: give a bundle, a run or an ensemble.")
    if not path.is_dir():
        raise BlastscopeError(
            f"{path} is not a run, ensemble or bundle: give the folder of a finished one, or a zip."
        )
    for name in (CROSSVAL, SEEDS):
        if (path / name).is_file():
            raise BlastscopeError(
                f"{path} holds several networks, each a run of its own: give one of them, or "
                "several, which are averaged; `blastscope ensemble --of-folds` combines those of a "
                "cross-validation."
            )
    source = open_source(path)
    recipe = read_recipe(path / "recipe.yaml")
    # Runs of earlier versions do not name their contour; it was the union by default.
    notes = source.notes.environment or {}
    contour, expected = notes.get("contour", "union"), recipe.input
    stain = _stain_of(path, recipe, notes)
    return FinishedRun(
        path,
        recipe,
        str(source.metadata["checkpoint"]),
        source.metadata.get("synthetic") is True,
        StoreSettings(expected.size, expected.scale, expected.clahe, contour, stain=stain),
    )


def _stain_of(path: Path, recipe: Recipe, notes: dict[str, Any]) -> StainStatistics | None:
    """Return what the run's cells were normalized to; None if their stain was left as it was."""
    if recipe.input.stain_method == "none":
        return None
    try:
        found = statistics_from(notes["stain"])
    except (KeyError, TypeError, ValueError) as error:
        raise BlastscopeError(
            f"{path}/environment.json does not say what its cells were normalized to ({error}): "
            "train again, into a new folder."
        ) from error
    return found


def refuse_other_preparation(run: FinishedRun, store: Store) -> None:
    """Refuse a store whose cells are not prepared as the run's training cells were.

    Raises:
        BlastscopeError: if they are not.
    """
    expected = run.settings
    if expected != store.settings:
        raise BlastscopeError(
            f"{store.path} is prepared differently from the training cells of {run.path} "
            f"({store.settings.differences(expected)}): give a store made with {expected.flags} "
            f"--contour {expected.contour}."
        )
