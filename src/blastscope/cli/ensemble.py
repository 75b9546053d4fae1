"""``blastscope ensemble``: several models' predictions made into one, and judged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Force, Seed
from blastscope.cli.output import note, print_table, say

if TYPE_CHECKING:
    from blastscope.ensemble.build import Built


def ensemble(
    predictions: Annotated[
        list[str],
        typer.Argument(
            metavar="PRED...",
            help="Runs or prediction tables, two models or more; NAME=PATH names one anew.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The ensemble's folder.", metavar="DIR")],
    method: Annotated[
        str,
        typer.Option(help="mean, vote, auc, genetic, grid, caruana or stacking."),
    ] = "genetic",
    fit: Annotated[
        str | None,
        typer.Option(help="The part that weights are fitted on; validation, unless --nested."),
    ] = None,
    apply: Annotated[str, typer.Option(help="The part that is reported.")] = "test",
    nested: Annotated[
        bool,
        typer.Option(
            "--nested", help="Fit on the reported part itself, in folds: cross-fitted figures."
        ),
    ] = False,
    store: Annotated[
        Path | None, typer.Option(help="The cells' store, for pictures and causes of errors.")
    ] = None,
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
) -> None:
    """Combine models, weights fitted on one part of the cells and reported on another."""
    from blastscope.api.compare import paper_style as shown
    from blastscope.api.fit_ensemble import make_ensemble
    from blastscope.ensemble.build import EnsembleSettings
    from blastscope.ensemble.genetic import GeneticSettings
    from blastscope.report.ensemble_page import cautions, verdicts

    settings = GeneticSettings(
        population=population,
        generations=generations,
        tournament=tournament,
        crossover=crossover,
        crossover_genes=crossover_genes,
        mutation=mutation,
        runs=runs,
        seed=seed,
        as_published=as_published,
    )
    part = fit or (apply if nested else "validation")
    plan = EnsembleSettings(method, part, apply, nested, settings, seed)
    made = make_ensemble(predictions, out, plan, store=store, force=force)
    _show(made.built)
    for caution in cautions(made.built):
        note(caution)
    if made.comparison is None:
        note(f"The {apply} cells have no labels, so nothing is judged.")
        say(f"{out / 'predictions.parquet'}")
        return
    rows = [
        (model, shown(figures["weighted_f1"]), shown(figures["auc"]))
        for model, figures in made.comparison.estimates.items()
    ]
    print_table((f"on {apply} cells{', cross-fitted' * nested}", "weighted F1", "AUC"), rows)
    for sentence in verdicts(made.built, made.comparison):
        say(sentence)
    if made.comparison.unlabelled:
        note(f"{made.comparison.unlabelled:,} cells without a label are left out of the figures.")
    note(made.comparison.overlap.sentence)
    note(f"Intervals: {made.comparison.resampling}")
    say(f"{made.report}")


def _show(built: Built) -> None:
    """Print the weights of every method that has some, a column each."""
    weighed = {
        name: fitted.combination.weights
        for name, fitted in built.fitted.items()
        if fitted.combination.kind != "votes"
    }
    rows = [
        (member, *(weights[k] for weights in weighed.values()))
        for k, member in enumerate(built.members)
    ]
    if built.fit_cells:
        other = ", which are not those of the cross-fitted figures below" * built.plan.nested
        cells = f"{built.fit_cells:,} labelled {built.plan.fit} cells"
        say(f"Weights of the methods that fit some, on all {cells}{other}:")
    print_table(("member", *weighed), rows)
