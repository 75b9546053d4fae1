"""``blastscope ensemble``: several models' predictions made into one, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import blastscope as bs
from blastscope.cli.options import AsJson, Force, Predictions, Seed, SomeStore
from blastscope.cli.output import show


def ensemble(
    models: Predictions,
    out: Annotated[Path, typer.Option(help="The ensemble's folder.", metavar="DIR")],
    method: Annotated[
        Literal["mean", "vote", "auc", "genetic", "grid", "caruana", "stacking"],
        typer.Option(help="How the weights are found."),
    ] = "genetic",
    fit: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="The split part that weights are fitted on; validation by default."),
    ] = None,
    apply: Annotated[
        Literal["train", "validation", "test"],
        typer.Option(help="The split part that is reported."),
    ] = "test",
    nested: Annotated[
        bool,
        typer.Option(
            "--nested", help="Fit on the reported part itself, in folds: cross-fitted metrics."
        ),
    ] = False,
    store: SomeStore = None,
    population: Annotated[int, typer.Option(help="Genetic: chromosomes.")] = 100,
    generations: Annotated[int, typer.Option(help="Genetic: generations.")] = 100,
    tournament: Annotated[int, typer.Option(help="Genetic: who meets in a tournament.")] = 5,
    crossover: Annotated[float, typer.Option(help="Genetic: probability of crossover.")] = 0.4,
    crossover_genes: Annotated[
        int, typer.Option(help="Genetic: positions that a crossover averages.")
    ] = 2,
    mutation: Annotated[float, typer.Option(help="Genetic: probability of mutation.")] = 0.005,
    runs: Annotated[int, typer.Option(help="Genetic: searches, the best of which counts.")] = 10,
    as_published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Genetic: as the paper's authors ran it, a mutated chromosome not normalised.",
        ),
    ] = False,
    seed: Seed = 24,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Combine models into one, and compare it with its members."""
    genetic = {
        "population": population,
        "generations": generations,
        "tournament": tournament,
        "crossover": crossover,
        "crossover_genes": crossover_genes,
        "mutation": mutation,
        "runs": runs,
        "as_published": as_published,
    }
    found = bs.fit_ensemble(
        models,
        out=out,
        method=method,
        fit=fit,
        apply=apply,
        nested=nested,
        genetic=genetic,
        store=store,
        seed=seed,
        force=force,
    )
    show(found, as_json)
