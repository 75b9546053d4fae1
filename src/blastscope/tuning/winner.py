"""The winner of a search: its recipe as a file, and how unseen subjects judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from blastscope.errors import BlastscopeError
from blastscope.io.files import write_text
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe, recipe_names, recipe_yaml
from blastscope.recipes.reading import dump_yaml
from blastscope.recipes.schema import Recipe
from blastscope.training.train import train
from blastscope.tuning.objective import ScoredPart, with_sizes
from blastscope.tuning.outcome import FAILED, FINISHED, PRUNED, Judgement, SearchOutcome
from blastscope.tuning.search_folder import Search
from blastscope.tuning.space import Settings, with_settings

WINNER = "winner.yaml"
BASE = "hand-made.yaml"


def write_winner(search: Search, outcome: SearchOutcome) -> Recipe | None:
    """Write the recipe of the best trial as ``winner.yaml``, which ``blastscope train`` takes.

    It extends the hand-made recipe and has only the keys that were searched. A recipe that is not
    one of the package is kept beside it.

    Returns:
        The recipe; None if no trial was finished.
    """
    best = outcome.best
    if best is None:
        return None
    out, base = search.request.out, search.request.recipe
    packaged = base.name in recipe_names() and not base.overrides
    if not packaged:
        write_text(out / BASE, recipe_yaml(base))
    title = f"{base.title}, chosen from {outcome.looks} trials"[:200]
    content = {"title": title, "extends": base.name if packaged else BASE}
    path, wanted = out / WINNER, with_settings(base, best.settings)
    write_text(path, winner_header(outcome) + dump_yaml(content | _nested(best.settings)))
    found = load_recipe(str(path))
    if _same(found, wanted):
        return found
    whole = wanted.model_copy(update={"name": path.stem, "title": title, "expected": None})
    write_text(path, winner_header(outcome) + recipe_yaml(whole))
    return load_recipe(str(path))


def winner_header(outcome: SearchOutcome) -> str:
    """Write where the recipe is from, and how many looks it took, as comments."""
    best = outcome.best
    assert best is not None
    assert best.score is not None
    counts = ", ".join(f"{outcome.count(state)} {state}" for state in (FINISHED, PRUNED, FAILED))
    lines = [
        f"Chosen by `blastscope tune {outcome.recipe}`: trial {best.number}, the best of "
        f"{outcome.looks} looks at the validation cells ({counts}).",
        f"{outcome.objective} there: {best.score:.4f}; of the hand-made recipe: "
        f"{outcome.hand_made:.4f}. The best of many looks is too good: judge it on other subjects.",
    ]
    if outcome.leaks:
        lines.append("The split was at image level: the score also rewards knowing the subjects.")
    return "".join(f"# {line}\n" for line in lines)


def _nested(settings: Settings) -> dict[str, Any]:
    """Turn dotted keys into sections."""
    content: dict[str, Any] = {}
    for key, value in settings.items():
        *sections, last = key.split(".")
        inner = content
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return content


def _same(one: Recipe, other: Recipe) -> bool:
    return {**one.experiment, "name": ""} == {**other.experiment, "name": ""}


def judge(search: Search, outcome: SearchOutcome, winner: Recipe) -> Judgement:
    """Train winner and hand-made recipe on the whole split, and compare them on its test part.

    The runs are in ``judged``. The judgement is kept in ``tuning.json``: a search that is judged is
    over, because a further one would choose by what the test part said.

    Raises:
        BlastscopeError: if the split has no test part.
    """
    refuse_without_test(search)
    request, found = search.request, []
    table = search.split.table.filter(pl.col("part") == "test")
    cells = with_sizes(search.store.cells).join(table.select("cell"), on="cell", how="semi")
    for name, recipe in (("winner", winner), ("hand-made", request.recipe)):
        run = train(
            recipe, request.store, request.split, request.out / "judged" / name,
            device=request.device, weights_dir=request.weights_dir,
        ).path  # fmt: skip
        found.append(_of_test(cells, run))
    part = ScoredPart(cells, search.scored.objective)
    estimates = part.compare(*found)
    judged = Judgement(*estimates, cells.height, cells["subject"].n_unique(), outcome.looks)
    search.folder.record({"judged": judged.as_json()})
    return judged


def refuse_without_test(search: Search) -> None:
    """Refuse to judge without a test part.

    Raises:
        BlastscopeError: if the split has none.
    """
    if not search.has_test:
        raise BlastscopeError(
            f"{search.request.split} has no test part to judge by: leave --judge out."
        )


def _of_test(cells: pl.DataFrame, run: Path) -> NDArray[np.float64]:
    rows, _ = read_predictions(run / "predictions.parquet")
    joined = cells.select("cell").join(
        rows.select("cell", "p_all"), on="cell", how="left", maintain_order="left"
    )
    p_all: NDArray[np.float64] = joined["p_all"].to_numpy()
    return p_all
