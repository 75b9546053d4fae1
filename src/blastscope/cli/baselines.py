"""``blastscope baselines``: what can be had without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blastscope.cli.options import AsJson, Seed
from blastscope.cli.output import note, print_table, say


def baselines(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="CELLS",
            help="A store, a cell table, or a CSV file,width,height of C-NMC names and boxes.",
        ),
    ],
    folds: Annotated[int, typer.Option(help="How many folds by subject.", min=2)] = 5,
    cuts: Annotated[int, typer.Option(help="How many times to cut them.", min=1)] = 5,
    seed: Seed = 24,
    as_json: AsJson = False,
) -> None:
    """Say what always-ALL, the size of a cell and its colours reach, on unseen subjects as well."""
    import json

    from blastscope.evaluation.baselines import FIGURES, read_baselines
    from blastscope.report.text import number, spread

    found = read_baselines(source, folds, cuts, seed)
    if as_json:
        say(json.dumps(found.as_json(), indent=2))
        return
    synthetic = " synthetic" if found.synthetic else ""
    say(f"{found.cells:,}{synthetic} cells of {found.subjects} subjects")
    rows = []
    for baseline in found.baselines:
        name = baseline.name
        if baseline.threshold is not None:
            name = f"{name}, ALL from {baseline.threshold:g} px"
        rows.append(
            (name, "the same cells", *(number(baseline.in_sample[key], 3) for key in FIGURES))
        )
        over = (spread(baseline.folds.get(key), 3) for key in FIGURES)
        rows.append(("", "unseen subjects", *over))
    columns = ("baseline", "judged on", "weighted F1", "AUC", "sensitivity", "specificity")
    print_table(columns, rows)
    note(
        f"Unseen subjects: mean ± standard deviation over the folds of {found.cuts} cuts. "
        + " ".join(found.sentences)
    )
