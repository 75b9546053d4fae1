"""What a search is asked for, its cells and splits, and its folder.

The cells of the split's test part take no part in it: the trials get splits without them, so that
no trial can be chosen by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from blastscope.data.folds import FoldCut, make_folds
from blastscope.data.split_table import Split, describe, read_split
from blastscope.data.store import Store, open_store
from blastscope.errors import BlastscopeError, writing
from blastscope.io.files import read_json
from blastscope.io.workfolder import FolderKind, WorkFolder
from blastscope.recipes.schema import AVERAGED, Recipe
from blastscope.training.dataset import read_inputs
from blastscope.tuning.objective import ScoredPart, choose_objective, with_sizes
from blastscope.tuning.space import Space, check_space

FORMAT = "blastscope-tuning/1"
MARKER = "tuning.json"
_KIND = FolderKind(MARKER, FORMAT)
PRUNERS = ("median", "hyperband", "none")


@dataclass(frozen=True)
class SearchRequest:
    """A request for a search.

    Attributes:
        recipe: the hand-made one, from which trials differ in the keys of ``space``.
        trials: how many looks at the validation cells the study has in the end.
        out: the folder, which processes that work on one study share.
        objective: a name of ``objective.OBJECTIVES``; None for the default.
        folds: cross-validate each trial over the subjects in so many folds; 0 to train once and
            score the validation part.
        prune: a name of ``PRUNERS``.
        storage: the URL of Optuna's database; None for an SQLite file in ``out``.
        image_level: whether a split with subjects in several parts is allowed; folds are by image
            for such a split alone.
        space_label: what messages call the space: its file.
    """

    recipe: Recipe
    space: Space
    trials: int
    store: Path
    split: Path
    out: Path
    objective: str | None = None
    folds: int = 0
    prune: str = "median"
    seed: int = 24
    storage: str | None = None
    image_level: bool = False
    device: str = "auto"
    weights_dir: Path | None = None
    space_label: str = "The space"


@dataclass(frozen=True)
class Search:
    """A search whose folder is begun.

    Attributes:
        scored: the cells that trials are scored on, in the order of the store.
        splits: the file of the split of each training of a trial: one, or one a fold.
        tested: the split part that each of these networks is scored on.
        leaks: subjects that are in several parts of the split, or cells that name none.
        cut: how the folds were cut, which may be fewer than were asked for; None without folds.
    """

    request: SearchRequest
    store: Store
    split: Split
    scored: ScoredPart
    splits: tuple[Path, ...]
    tested: str
    leaks: bool
    folder: WorkFolder
    cut: FoldCut | None

    @property
    def subjects(self) -> int:
        """How many subjects the scored cells are of."""
        return self.scored.cells["subject"].n_unique()

    @property
    def has_test(self) -> bool:
        """Whether the split has cells that take no part in the search."""
        return bool((self.split.table["part"] == "test").any())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from the study and the report for a moment; they wait."""
        with study_lock(self.request.out):
            yield

    def judgement(self) -> dict[str, Any] | None:
        """Return what the test part said, if it was looked at."""
        found = read_json(self.folder.marker).get("judged")
        return found if isinstance(found, dict) else None

    def record(self, results: Sequence[str] = ()) -> None:
        """Record the digests of files of the folder, for `blastscope verify`, and what is known."""
        judged = self.judgement()
        self.folder.record({} if judged is None else {"judged": judged}, results)


@contextmanager
def study_lock(out: Path) -> Iterator[None]:
    """Hold the lock of a search's folder."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".study.lock"):
        yield


def begin_search(request: SearchRequest) -> Search:
    """Check a request against recipe, store and split, then begin its folder or go on with it.

    Raises:
        BlastscopeError: if they do not fit each other, the split is by image, or the folder is of
            another kind or of another search.
    """
    if request.prune not in PRUNERS:
        raise BlastscopeError(f"{request.prune} is not a pruner: choose {', '.join(PRUNERS)}.")
    if request.recipe.starts_from is not None:
        raise BlastscopeError(
            f"{request.recipe.name} starts from a run of {request.recipe.starts_from}, which knows "
            "cells that a search leaves out: give a recipe that starts from no other."
        )
    if request.recipe.model.weights == AVERAGED:
        raise BlastscopeError(
            f"{request.recipe.name} is a mean of runs and trains nothing: tune one of the recipes "
            "that it averages."
        )
    corners = check_space(request.space, request.recipe, request.space_label)
    store, split = open_store(request.store), read_split(request.split)
    leaks = _refuse_known_subjects(request, store, split)
    for recipe in (request.recipe, *_by_input(corners)):
        read_inputs(recipe, request.store, request.split)
    cells, splits, tested, cut = _cut(request, store, split, leaks)
    name = choose_objective(request.objective, cells)
    identity = _identity(request, store, split, name)
    folder = WorkFolder(request.out, _KIND, identity)
    folder.recorded()
    _refuse_unusable_storage(request.storage)
    with study_lock(request.out):
        folder.open_or_resume()
        paths = tuple(request.out / "splits" / f"{key}.parquet" for key in splits)
        _refuse_other_folds(request.out, paths, tuple(splits.values()))
        for path, one in zip(paths, splits.values(), strict=True):
            one.write(path)
    scored = ScoredPart(cells, name)
    return Search(request, store, split, scored, paths, tested, leaks, folder, cut)


def _identity(request: SearchRequest, store: Store, split: Split, objective: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "recipe": request.recipe.experiment,
        "space": request.space.as_json(),
        "store": store.fingerprint,
        "split": split.hash,
        "objective": objective,
        "folds": request.folds,
        "prune": request.prune,
        "seed": request.seed,
    }
    if request.storage is not None:
        found["storage"] = _without_password(request.storage)
    return found


def _refuse_other_folds(out: Path, paths: tuple[Path, ...], splits: tuple[Split, ...]) -> None:
    """Refuse a folder whose trials were scored on other folds, as earlier versions cut them."""
    for path, one in zip(paths, splits, strict=True):
        if path.is_file() and read_split(path).hash != one.hash:
            raise BlastscopeError(
                f"{out} has trials that were scored on other cells ({path.name} differs): choose "
                "another folder, or remove it."
            )


def _without_password(storage: str) -> str:
    """Return the URL of a database as messages and the marker show it."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError) as error:  # it may hold a password, so it is not shown
        raise BlastscopeError(
            "--storage is not the URL of a database: give one such as postgresql://USER@HOST/NAME."
        ) from error


def unusable_database(where: object, error: Exception) -> BlastscopeError:
    """Return what to tell of a database that cannot be used."""
    reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
    return BlastscopeError(
        f"{where} cannot be used as the study's database ({reason}): check the disk or --storage."
    )


def _refuse_unusable_storage(storage: str | None) -> None:
    """Refuse a database that does not answer, before a folder is begun that names it."""
    if storage is None:
        return
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(storage)
        try:
            inspect(engine).get_table_names()
        finally:
            engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise unusable_database(_without_password(storage), error) from error


def _by_input(recipes: list[Recipe]) -> list[Recipe]:
    """Return one recipe for each way to prepare cells, which the store must fit."""
    return list({one.input.model_dump_json(): one for one in recipes}.values())


def _refuse_known_subjects(request: SearchRequest, store: Store, split: Split) -> bool:
    """Refuse a split with a subject in two parts; return whether it is one, if it is allowed."""
    found = describe(split, store.cells)
    if found.disjoint:
        return False
    if not request.image_level:
        shared = next((pair for pair, names in found.shared_subjects.items() if names), None)
        what = (
            f"has subjects in both {shared.replace('/', ' and ')}" if shared is not None
            else f"has {found.without_subject} cells without a subject"
        )  # fmt: skip
        raise BlastscopeError(
            f"{request.split} {what}, so a search would choose what recognises them: split by "
            "subject, or give --image-level."
        )
    return True


def _cut(
    request: SearchRequest, store: Store, split: Split, leaks: bool
) -> tuple[pl.DataFrame, dict[str, Split], str, FoldCut | None]:
    """Return the scored cells, a trial's splits, their scored part, and how folds were cut."""
    joined = store.cells.join(split.table, on="cell", how="inner", maintain_order="left")
    known = joined.filter(pl.col("part") != "test")
    if not request.folds:
        table = split.table.filter(pl.col("part") != "test")
        one = Split(table, split.protocol, split.seed, split.fractions, split.notes)
        cells = with_sizes(known.filter(pl.col("part") == "validation"))
        return cells, {"search": one}, "validation", None
    by = "image" if leaks else "subject"  # a disjoint split leaks nothing: nor may its folds
    plan = make_folds(known.drop("part"), by, request.folds, request.seed)
    tested = pl.concat(
        [
            one.table.filter(pl.col("part") == "test").select("cell", fold=pl.lit(k, pl.Int64))
            for k, one in enumerate(plan.splits)
        ]
    )
    cells = with_sizes(known).join(tested, on="cell", how="inner", maintain_order="left")
    splits = {f"fold{k + 1}": one for k, one in enumerate(plan.splits)}
    return cells, splits, "test", plan.cut
