"""The paper's genetic search of ensemble weights, whole populations at once, and what it misses.

Rival: the same search as a plain loop, a list a chromosome and scikit-learn's F1 for each. It is
run for a few generations of one run and scaled up. Limit: scoring as many chromosomes once, and
nothing else.

    python benchmarks/genetic_search.py [--predictions PRED...] [--generations-timed 3]

Without ``--predictions`` four models that err together on 2,132 synthetic cells are searched;
with it, the validation cells of those runs or prediction tables.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from exact import exact_weights
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score

from blastscope.ensemble.genetic import GeneticSettings, genetic_weights
from blastscope.ensemble.methods import grid_weights
from blastscope.ensemble.objective import CALL, Objective
from blastscope.evaluation.aligned_predictions import align_predictions

Result = TypeVar("Result")
Cells = tuple[NDArray[np.float64], NDArray[np.bool_]]


def main() -> None:
    asked = _arguments()
    p, is_all = _cells(asked)
    settings = GeneticSettings(seed=asked.seed)
    began = time.perf_counter()
    _plain_run(p, is_all, settings, asked.generations_timed)
    plain = (time.perf_counter() - began) / asked.generations_timed
    plain *= settings.generations * settings.runs
    seconds, found = min(
        (_timed(lambda: genetic_weights(p, is_all, settings)) for _ in range(3)),
        key=lambda timed: timed[0],
    )
    limit = _limit(p, is_all, settings)
    grid_seconds, (grid, notes) = _timed(lambda: grid_weights(p, is_all))
    exact_seconds, exact = _timed(lambda: exact_weights(p, is_all, found.weights))
    contested = int(Objective(p, is_all).counts.sum())
    console = Console()
    console.print(
        f"{p.shape[1]} models, {len(p):,} cells, {contested} contested; {settings.runs} runs of "
        f"{settings.generations} generations of {settings.population}"
    )
    speed = Table("plain loop *", "vectorised", "ratio", "limit", "of limit")
    speed.add_row(
        f"{plain:.0f} s",
        f"{seconds:.2f} s",
        f"{plain / seconds:.0f}×",
        f"{limit:.2f} s",
        f"{limit / seconds:.0%}",
    )
    console.print(speed)
    console.print(
        f"* scaled up from {asked.generations_timed} generations of one run; vectorised and limit: "
        "the best of three"
    )
    console.print(_reached(p, is_all, [
        ("genetic", found.weights, seconds, ""),
        ("grid", grid, grid_seconds, f"steps of 1/{notes['steps']}"),
        ("exact", exact.weights, exact_seconds, _proof(exact.proven, exact.bound, exact.regions)),
    ]))  # fmt: skip
    ends = [run.score for run in found.runs]
    reached = sum(end >= exact.score - 1e-12 for end in ends)
    console.print(
        f"genetic runs end at {min(ends):.5f} to {max(ends):.5f}; {reached} of {len(ends)} reach "
        "the exact search's score"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", nargs="+", metavar="PRED", help="runs or tables")
    parser.add_argument("--cells", type=int, default=2132, help="of synthetic ones")
    parser.add_argument("--models", type=int, default=4, help="of synthetic ones")
    parser.add_argument("--seed", type=int, default=24)
    parser.add_argument("--generations-timed", type=int, default=3, help="of the plain loop")
    return parser.parse_args()


def _cells(asked: argparse.Namespace) -> Cells:
    if asked.predictions:
        scores = align_predictions(asked.predictions).part("validation")
        return scores.p_all, scores.is_all
    rng = np.random.default_rng(asked.seed)
    is_all = rng.random(asked.cells) < 0.67
    shared, own = rng.normal(size=(asked.cells, 1)), rng.normal(size=(asked.cells, asked.models))
    score = np.where(is_all, 1.9, -1.9)[:, None] * np.linspace(0.9, 1.1, asked.models)
    return 1 / (1 + np.exp(-2 * (score + 1.05 * shared + 0.65 * own))), is_all


def _plain_run(
    p: NDArray[np.float64], is_all: NDArray[np.bool_], s: GeneticSettings, n: int
) -> None:
    """Run ``n`` generations as section 3.4.3.1 tells them, one chromosome after another."""
    rng, models = random.Random(s.seed), p.shape[1]

    def scaled(genes: list[float]) -> list[float]:
        total = sum(genes)
        return [gene / total for gene in genes]

    def mutated(genes: list[float]) -> list[float]:
        if rng.random() < s.mutation:
            genes[rng.randrange(models)] = rng.random()
        return scaled(genes)

    best: tuple[float, list[float]] = (-1.0, [])
    population = [scaled([rng.random() for _ in range(models)]) for _ in range(s.population)]
    for _ in range(n):
        fitness = []
        for genes in population:
            combined = sum(gene * p[:, model] for model, gene in enumerate(genes))
            score = float(f1_score(is_all, np.rint(combined) == 1, average="weighted"))
            fitness.append(score)
            if score > best[0]:
                best = (score, genes)
        parents = []
        for _ in range(s.population):
            drawn = [rng.randrange(s.population) for _ in range(s.tournament)]
            parents.append(population[max(drawn, key=fitness.__getitem__)])
        children = []
        for one, other in zip(parents[::2], parents[1::2], strict=True):
            pair = [list(one), list(other)]
            if rng.random() < s.crossover:
                for position in [rng.randrange(models) for _ in range(s.crossover_genes)]:
                    mean = (one[position] + other[position]) / 2
                    pair[0][position] = pair[1][position] = mean
                pair = [mutated(scaled(child)) for child in pair]
            children += pair
        population = children


def _limit(p: NDArray[np.float64], is_all: NDArray[np.bool_], settings: GeneticSettings) -> float:
    """Time the scoring of as many chromosomes as the search scores, a generation at a time."""
    objective = Objective(p, is_all)
    population = np.random.default_rng(0).dirichlet(
        np.ones(p.shape[1]), settings.population * settings.runs
    )
    return min(
        _timed(lambda: [objective.scores(population) for _ in range(settings.generations)])[0]
        for _ in range(3)
    )


def _reached(
    p: NDArray[np.float64],
    is_all: NDArray[np.bool_],
    found: list[tuple[str, NDArray[np.float64], float, str]],
) -> Table:
    """Set the searches side by side: their scores, and how far these are from the last one's."""
    objective = Objective(p, is_all)
    scores = [float(objective.scores(weights[None])[0]) for _, weights, _, _ in found]
    errors = [int(((p @ weights > CALL) != is_all).sum()) for _, weights, _, _ in found]
    table = Table("search", "weighted F1", "below exact", "further cells wrong", "time", "")
    for (name, _, seconds, remark), score, wrong in zip(found, scores, errors, strict=True):
        table.add_row(
            name,
            f"{score:.5f}",
            f"{scores[-1] - score:.5f}",
            f"{wrong - errors[-1]:+d}",
            f"{seconds:.2f} s",
            remark,
        )
    return table


def _proof(proven: bool, bound: float, regions: int) -> str:
    state = "proven" if proven else f"not proven, none above {bound:.5f}"
    return f"{state}, {regions:,} regions"


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
