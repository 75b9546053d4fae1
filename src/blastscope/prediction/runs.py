"""A finished run, opened to be applied to new images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blastscope.data.store import Store, StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.sources import CROSSVAL, SEEDS, open_source
from blastscope.recipes.library import read_recipe
from blastscope.recipes.schema import Recipe

if TYPE_CHECKING:
    from blastscope.models.classifier import Classifier
    from blastscope.ood.detector import OodDetector


@dataclass(frozen=True)
class FinishedRun:
    """A run whose predictions were made by the weights beside them."""

    path: Path
    recipe: Recipe
    checkpoint: str
    """``sha256:`` of the weights."""
    synthetic: bool
    """Whether it was trained on synthetic cells."""
    settings: StoreSettings
    """How its cells are prepared."""

    def classifier(self) -> Classifier:
        """Build the network and fill in the run's weights.

        Raises:
            BlastscopeError: where the weights are damaged or of another network.
        """
        from blastscope.models.classifier import build_model
        from blastscope.training.run_folder import RunFolder, load_checkpoint

        classifier = build_model(self.recipe, pretrained=False)
        weights = load_checkpoint(RunFolder(self.path).checkpoint)
        try:
            classifier.load_state_dict(weights)
        except RuntimeError as error:
            raise BlastscopeError(
                f"{self.path} has a recipe.yaml that is not of its checkpoint's network: train "
                "again, into a new folder."
            ) from error
        return classifier

    def ood(self) -> OodDetector | None:
        """Return what tells pictures that are no cells; None where the run does not have it.

        Raises:
            BlastscopeError: where its file is damaged.
        """
        from blastscope.ood.detector import NAME, read_ood

        return read_ood(self.path / NAME)


def open_run(path: Path) -> FinishedRun:
    """Open a run folder.

    Raises:
        BlastscopeError: where it is no finished run, or its checkpoint is stale.
    """
    if not path.exists():
        raise BlastscopeError(f"{path} is not there: give a bundle, a run or an ensemble.")
    if not path.is_dir():
        raise BlastscopeError(
            f"{path} is no run, ensemble or bundle: give the folder of a finished one, or a zip."
        )
    for name in (CROSSVAL, SEEDS):
        if (path / name).is_file():
            raise BlastscopeError(
                f"{path} holds several networks, each a run of its own: give one of them, or "
                "several, which are averaged."
            )
    source = open_source(path)
    recipe = read_recipe(path / "recipe.yaml")
    # Runs of earlier versions do not say which contour they saw; it was the union's by default.
    contour = (source.notes.environment or {}).get("contour", "union")
    wanted = recipe.input
    settings = StoreSettings(wanted.size, wanted.scale, wanted.clahe, contour)
    return FinishedRun(
        path,
        recipe,
        str(source.metadata["checkpoint"]),
        source.metadata.get("synthetic") is True,
        settings,
    )


def refuse_other_cells(run: FinishedRun, store: Store) -> None:
    """Refuse a store that is not prepared as a run wants its cells.

    Raises:
        BlastscopeError: where it is not.
    """
    wanted = run.settings
    if wanted != store.settings:
        flags = f"--size {wanted.size} --scale {wanted.scale}{' --clahe' * wanted.clahe}"
        raise BlastscopeError(
            f"{store.path} is not prepared as {run.path} wants its cells "
            f"({store.settings.differences(wanted)}): give a store made with {flags} --contour "
            f"{wanted.contour}."
        )
