"""The verbs that judge predictions: evaluation, comparison, errors, ensembles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import blastscope as bs
from blastscope.cli.options import (
    AsJson,
    Device,
    Force,
    Part,
    Predictions,
    ReportFolder,
    Resamples,
    Seed,
    argument,
    option,
    refuse_beside,
)
from blastscope.cli.output import show

StoreForSize = Annotated[
    Path | None,
    option(
        "The store with these cells, for baselines of size and colour and AUC at equal size; "
        "a cell table or a table of boxes has the sizes.",
        "STORE",
    ),
]
StoreForErrors = Annotated[
    Path | None,
    option(
        "The store with these cells, for pictures, causes of errors and AUC at equal size; "
        "a cell table or a table of boxes has the sizes.",
        "STORE",
    ),
]


def evaluate(
    source: Annotated[
        Path,
        argument(
            "A run, a prediction table or, with --labels, a submission.", "RUN_OR_PREDICTIONS"
        ),
    ],
    part: Part = "test",
    out: Annotated[
        Path | None,
        option(
            "The folder to write to; by default the run itself, or a folder beside the table.",
            "DIR",
        ),
    ] = None,
    model: Annotated[str | None, option("Which model, if a table has several.", "NAME")] = None,
    labels: Annotated[
        Path | None,
        option(
            "A labels table for predictions without labels, such as those of the challenge's "
            "preliminary set.",
            "CSV",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        option(
            "The rule of the operating point: sensitivity>=0.95 (the default), "
            "specificity>=0.9, youden, cost=5 (a missed blast costs 5 false alarms) or half."
        ),
    ] = None,
    error: Annotated[
        float | None, option("The share of wrong calls allowed among cells not referred: 0.05.")
    ] = None,
    coverage: Annotated[
        float | None, option("How often a conformal set should contain the true label: 0.9.")
    ] = None,
    store: StoreForSize = None,
    prevalence: Annotated[
        list[float] | None,
        option("A share of ALL cells to report predictive values at, such as 0.2; may repeat."),
    ] = None,
    leakage: Annotated[
        Path | None, option("The folder of the recipe's leakage, to be shown.", "DIR")
    ] = None,
    believe: Annotated[
        Literal["name", "table"] | None,
        option("What to trust if a table and the names of its cells contradict each other."),
    ] = None,
    transductive: Annotated[
        bool,
        option(
            "Correct each probability by the cell's neighbours in the part, from --store; the "
            "model's own stand beside it.",
            name="--transductive",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: metrics, intervals, decisions, a report."""
    found = bs.evaluate(
        source,
        part,
        model=model,
        labels=labels,
        rule=rule,
        error=error,
        coverage=coverage,
        store=store,
        prevalence=prevalence or (),
        leakage=leakage,
        believe=believe,
        transductive=transductive,
    )
    if out is None and found.default_out is None:
        raise bs.BlastscopeError(f"{source} is in an object store: give --out a folder.")
    show(found.saved(out or found.default_out), as_json)


def compare(
    models: Predictions,
    out: ReportFolder,
    part: Part = "test",
    store: StoreForSize = None,
    resamples: Resamples = 2000,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same cells: intervals, tests of pairs."""
    found = bs.compare(models, part, out=out, resamples=resamples, seed=seed, store=store)
    show(found, as_json)


def errors(
    models: Predictions,
    out: ReportFolder,
    store: StoreForErrors = None,
    part: Part = "test",
    explain: Annotated[
        bool, option("Add a page with heatmaps for each cell shown.", name="--explain")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Analyze errors: counts, common causes, galleries."""
    if not explain and device != "auto":
        raise bs.BlastscopeError("--device is for heatmaps: give --explain, or leave it out.")
    found = bs.analyze_errors(
        models, part, out=out, store=store, explain=explain, device=device, progress=True
    )
    show(found, as_json)


RESAMPLES, SEED = 2000, 24


def ensemble(
    models: Predictions,
    out: Annotated[Path, option("The ensemble's folder.", "DIR")],
    method: Annotated[
        Literal["mean", "vote", "auc", "genetic", "grid", "caruana", "stacking", "arbiter"] | None,
        option("How the weights are found; genetic by default, and mean with --of-folds."),
    ] = None,
    fit: Annotated[
        Literal["train", "validation", "test"] | None,
        option("The split part that weights are fitted on; validation by default."),
    ] = None,
    apply: Annotated[
        Literal["train", "validation", "test"] | None,
        option("The split part that is reported; test by default."),
    ] = None,
    nested: Annotated[
        bool,
        option("Fit on the reported part itself, in folds: cross-fitted metrics.", name="--nested"),
    ] = False,
    of_folds: Annotated[
        bool,
        option(
            "Combine the networks of one cross-validation's folds for new cells, by mean or vote; "
            "no cells are left to judge it by.",
            name="--of-folds",
        ),
    ] = False,
    votes: Annotated[
        int | None, option("Vote: how many models must call a cell ALL; the majority by default.")
    ] = None,
    store: StoreForErrors = None,
    population: Annotated[int | None, option("Genetic: chromosomes; 100 by default.")] = None,
    generations: Annotated[int | None, option("Genetic: generations; 100 by default.")] = None,
    tournament: Annotated[
        int | None, option("Genetic: chromosomes in a tournament; 5 by default.")
    ] = None,
    crossover: Annotated[
        float | None, option("Genetic: probability of crossover; 0.4 by default.")
    ] = None,
    crossover_genes: Annotated[
        int | None, option("Genetic: weights that a crossover averages; 2 by default.")
    ] = None,
    mutation: Annotated[
        float | None, option("Genetic: probability of mutation; 0.005 by default.")
    ] = None,
    runs: Annotated[
        int | None, option("Genetic: searches; the best one counts; 10 by default.")
    ] = None,
    as_published: Annotated[
        bool,
        option(
            "Genetic: as the paper's authors ran it, without normalizing mutated chromosomes.",
            name="--as-published",
        ),
    ] = False,
    resamples: Resamples = RESAMPLES,
    seed: Seed = SEED,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Combine models into one, and compare it with its members."""
    asked = {
        "population": population,
        "generations": generations,
        "tournament": tournament,
        "crossover": crossover,
        "crossover_genes": crossover_genes,
        "mutation": mutation,
        "runs": runs,
        "as_published": as_published or None,
    }
    if of_folds:
        of_search = {f"--{name.replace('_', '-')}": value for name, value in asked.items()}
        others = {"--fit": fit, "--apply": apply, "--nested": nested, "--store": store, **of_search}
        others |= {"--resamples": resamples != RESAMPLES, "--seed": seed != SEED}
        refuse_beside("--of-folds", others, "leave the first out.")
        if len(models) != 1:
            raise bs.BlastscopeError("--of-folds needs one cross-validation: give its folder.")
        how = method or "mean"
        show(bs.combine_folds(models[0], out=out, method=how, votes=votes, force=force), as_json)
        return
    found = bs.fit_ensemble(
        models,
        out=out,
        method=method or "genetic",
        fit=fit,
        apply=apply or "test",
        nested=nested,
        votes=votes,
        genetic={name: value for name, value in asked.items() if value is not None},
        store=store,
        resamples=resamples,
        seed=seed,
        force=force,
    )
    show(found, as_json)
