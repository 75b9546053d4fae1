"""The paper's genetic search of an ensemble's weights, on whole populations at once.

Section 3.4.3.1 of the paper; what it leaves open (tournaments, what is averaged in a crossover,
that only a crossed pair can mutate) is as in the authors' notebook.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from blastscope.ensemble.objective import Floats, Objective
from blastscope.errors import BlastscopeError


@dataclass(frozen=True)
class GeneticSettings:
    """The settings of the search; the paper's by default.

    Attributes:
        population: chromosomes in a generation, an even number.
        generations: of each run; the first is drawn at random.
        tournament: how many chromosomes compete to be a parent.
        crossover: probability that a pair of parents is crossed.
        crossover_genes: how many positions, drawn with replacement, are averaged.
        mutation: probability that one gene of a crossed child is drawn anew.
        runs: independent runs, of which the best counts.
        seed: of all of them; run k does not depend on how many follow it.
        as_published: leave a mutated chromosome as it is, as the authors' program does; their
            published weights therefore sum to .97921.
    """

    population: int = 100
    generations: int = 100
    tournament: int = 5
    crossover: float = 0.4
    crossover_genes: int = 2
    mutation: float = 0.005
    runs: int = 10
    seed: int = 24
    as_published: bool = False

    def __post_init__(self) -> None:
        """Refuse settings that no search can be run with."""
        if self.population < 2 or self.population % 2:
            raise BlastscopeError(
                f"A population of {self.population} cannot be paired: give an even number from 2."
            )
        for name, value in asdict(self).items():
            told = f"The genetic search has {name} = {value}"
            if name in ("crossover", "mutation") and not 0 <= value <= 1:
                raise BlastscopeError(f"{told}: give a probability between 0 and 1.")
            if name in ("generations", "tournament", "crossover_genes", "runs") and value < 1:
                raise BlastscopeError(f"{told}: give 1 or more.")
        if self.seed < 0:
            raise BlastscopeError(f"The seed {self.seed} is negative: give 0 or more.")


@dataclass(frozen=True)
class GeneticRun:
    """The best weighted F1 of a run, and the first generation, from 1, that reached it."""

    score: float
    generation: int


@dataclass(frozen=True)
class GeneticResult:
    """The result of the search.

    Attributes:
        weights: the best chromosome, shape (models,); of equal runs the earlier one's.
        history: the best so far, shape (runs, generations).
    """

    weights: Floats
    score: float
    runs: tuple[GeneticRun, ...]
    history: Floats


def genetic_weights(p: Floats, is_all: NDArray[np.bool_], asked: GeneticSettings) -> GeneticResult:
    """Search for the weights with the best weighted F1.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.
    """
    objective = Objective(p, is_all, simplex=not asked.as_published)
    seeds = np.random.SeedSequence(asked.seed).spawn(asked.runs)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    populations = np.stack([initial(asked.population, p.shape[1], rng) for rng in rngs])
    best = populations[:, 0].copy()
    history = np.empty((asked.runs, asked.generations))
    score = np.full(asked.runs, -np.inf)
    for generation in range(asked.generations):
        # The runs do not meet, but one call that scores them all is faster than one a run.
        fitness = objective.scores(populations.reshape(-1, p.shape[1])).reshape(asked.runs, -1)
        first = fitness.argmax(axis=1)
        better = np.flatnonzero(fitness.max(axis=1) > score)
        best[better] = populations[better, first[better]]
        score[better] = fitness[better, first[better]]
        history[:, generation] = score
        if generation + 1 < asked.generations:
            for run, rng in enumerate(rngs):
                populations[run] = _next(populations[run], fitness[run], asked, rng)
    found = (history == score[:, None]).argmax(axis=1) + 1
    runs = tuple(GeneticRun(float(s), int(g)) for s, g in zip(score, found, strict=True))
    winner = int(score.argmax())
    return GeneticResult(best[winner], float(score[winner]), runs, history)


def _next(
    population: Floats, fitness: Floats, asked: GeneticSettings, rng: np.random.Generator
) -> Floats:
    parents = population[select(fitness, asked.tournament, rng)]
    children, crossed = cross(parents, asked.crossover, asked.crossover_genes, rng)
    return mutate(children, crossed, asked.mutation, rng, normalise=not asked.as_published)


def normalised(weights: Floats) -> Floats:
    """Divide rows, shape (k, models), by their sums; a sum of 0 gives equal weights."""
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[1])


def initial(population: int, models: int, rng: np.random.Generator) -> Floats:
    """Draw chromosomes, shape (population, models): uniform in [0, 1), divided by their sum."""
    return normalised(rng.random((population, models)))


def select(fitness: Floats, tournament: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Select as many parents as there are chromosomes by tournaments; the first drawn wins ties."""
    drawn = rng.integers(len(fitness), size=(len(fitness), tournament))
    winners = fitness[drawn].argmax(axis=1)
    return np.asarray(drawn[np.arange(len(drawn)), winners], dtype=np.intp)


def cross(
    parents: Floats, probability: float, genes: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.bool_]]:
    """Cross the pairs (0, 1), (2, 3)... of ``parents``, shape (population, models).

    Both children take the parents' mean at the drawn positions and are normalised.

    Returns:
        The children (pairs that are not crossed stay as they are), and which are crossed.
    """
    pairs, models = len(parents) // 2, parents.shape[1]
    chosen = np.flatnonzero(rng.random(pairs) < probability)
    positions = rng.integers(models, size=(len(chosen), genes))
    averaged = np.zeros((len(chosen), 1, models), dtype=bool)
    np.put_along_axis(averaged, positions[:, None], True, axis=2)
    children = parents.reshape(pairs, 2, models).copy()
    couples = children[chosen]
    mixed = np.where(averaged, couples.mean(axis=1, keepdims=True), couples)
    children[chosen] = normalised(mixed.reshape(-1, models)).reshape(couples.shape)
    crossed = np.zeros((pairs, 2), dtype=bool)
    crossed[chosen] = True
    return children.reshape(parents.shape), crossed.ravel()


def mutate(
    children: Floats,
    crossed: NDArray[np.bool_],
    probability: float,
    rng: np.random.Generator,
    *,
    normalise: bool = True,
) -> Floats:
    """Draw one gene anew, uniform in [0, 1), in some of the ``crossed`` children."""
    rows = np.flatnonzero(crossed)
    rows = rows[rng.random(len(rows)) < probability]
    changed = children[rows]
    genes = rng.integers(children.shape[1], size=len(rows))
    changed[np.arange(len(rows)), genes] = rng.random(len(rows))
    mutated = children.copy()
    mutated[rows] = normalised(changed) if normalise else changed
    return mutated
