"""The folder of a cross-validation: its paths, and whether it is the one that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import read_json, write_json
from blastscope.recipes.schema import Recipe

FORMAT = "blastscope-crossval/1"


@dataclass(frozen=True)
class CrossvalRequest:
    """What is asked for.

    Attributes:
        recipes: the recipe, last, behind those that it starts from.
        store: the prepared cells.
        out: the folder that everything is written to.
        by: what is kept together: ``subject``, ``image`` or ``fold``.
        folds: how many.
        repeats: how many times all folds are cut and trained anew, each time with the next seed.
        seed: of the first cut and training.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        weights_dir: a folder of ImageNet weights.
    """

    recipes: tuple[Recipe, ...]
    store: Path
    out: Path
    by: str = "subject"
    folds: int = 5
    repeats: int = 1
    seed: int = 24
    device: str = "auto"
    weights_dir: Path | None = None

    @property
    def name(self) -> str:
        """The name of the recipe that is tested."""
        return self.recipes[-1].name

    @property
    def record(self) -> Path:
        """The file that says what the folder holds, and the figures once it is whole."""
        return self.out / "crossval.json"

    @property
    def predictions(self) -> Path:
        """The out-of-fold prediction table."""
        return self.out / "predictions.parquet"

    def identity(self, fingerprint: str) -> dict[str, Any]:
        """What tells this cross-validation from another in the same folder."""
        return {
            "recipes": [recipe.experiment for recipe in self.recipes],
            "store": fingerprint,
            "by": self.by,
            "folds": self.folds,
            "seed": self.seed,
        }


def begin(order: CrossvalRequest, fingerprint: str) -> None:
    """Lay the folder down, or go on with the one that is there; more repeats may be added to it.

    Raises:
        BlastscopeError: where the folder is something else's, or of another cross-validation.
    """
    wanted = order.identity(fingerprint)
    with writing(order.out):
        order.out.mkdir(parents=True, exist_ok=True)
        others = any(not path.name.startswith(".") for path in order.out.iterdir())
    if not order.record.is_file():
        if others:
            raise BlastscopeError(
                f"{order.out} is not empty and no cross-validation: choose another folder."
            )
        write_json(order.record, {"format": FORMAT, "identity": wanted})
        return
    found = read_json(order.record)
    if found.get("format") != FORMAT or not isinstance(found.get("identity"), dict):
        raise BlastscopeError(f"{order.record} is not a {FORMAT} file: choose another folder.")
    other = [key for key, value in wanted.items() if found["identity"].get(key) != value]
    if other:
        raise BlastscopeError(
            f"{order.out} is a cross-validation with other {', '.join(other)}: choose another "
            "folder, or remove it."
        )
