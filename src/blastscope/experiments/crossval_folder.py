"""What a cross-validation is asked for, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.recipes.schema import Recipe

FORMAT = "blastscope-crossval/2"
_KIND = FolderKind("crossval.json", FORMAT)
_FIRST = "repeat1-fold"


@dataclass(frozen=True)
class CrossvalRequest:
    """A request for a cross-validation.

    Attributes:
        recipes: the recipe, after those that it starts from.
        by: what folds keep together: ``subject``, ``image``, ``fold`` or ``matched``.
        repeats: how many times the folds are cut and trained, from ``seed`` on.
        teachers: cross-validations of the same folds; the networks of a fold teach its network.
        average: cross-validations of the same folds; the network of a fold is the mean of theirs.
        without: the data set's own folds whose cells take no part.
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
    teachers: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()
    average: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The name of the tested recipe."""
        return self.recipes[-1].name

    @property
    def predictions(self) -> Path:
        """The out-of-fold prediction table."""
        return self.out / "predictions.parquet"

    def folder(self, fingerprint: str) -> WorkFolder:
        """The work folder of this cross-validation of a store; more repeats may be added to it."""
        identity: dict[str, Any] = {
            "recipes": [recipe.experiment for recipe in self.recipes],
            "store": fingerprint,
            "by": self.by,
            "folds": self.folds,
            "seed": self.seed,
        }
        for name in ("teachers", "average"):
            tables = [path / "predictions.parquet" for path in getattr(self, name)]
            if tables:
                identity[name] = [sha256_of(table) for table in tables]
        if self.without:
            identity["without"] = sorted(self.without)
        return WorkFolder(self.out, _KIND, identity)


def fold_runs(crossval: Path) -> list[Path]:
    """Return the runs of the folds of a finished cross-validation's first repeat, in order.

    Raises:
        BlastscopeError: if it is not one, or not finished.
    """
    content = read_json(crossval / "crossval.json")
    recipe, folds = content.get("recipe"), content.get("identity", {}).get("folds")
    if not (crossval / "predictions.parquet").is_file() or not recipe:
        raise BlastscopeError(
            f"{crossval} is not a finished cross-validation: give its command again."
        )
    numbers = (
        folder.name.removeprefix(_FIRST) for folder in (crossval / "runs").glob(f"{_FIRST}*")
    )
    known = sorted(int(number) for number in numbers if number.isdecimal())
    if len(known) < 2 or (isinstance(folds, int) and len(known) != folds):
        raise BlastscopeError(f"{crossval} lacks runs of its folds: give its command again.")
    return [crossval / "runs" / f"{_FIRST}{k}" / Path(str(recipe)).name for k in known]
