"""``blastscope predict``: a model, applied to images of new cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blastscope.cli.options import Device
from blastscope.cli.output import note, print_table, say
from blastscope.errors import BlastscopeError

if TYPE_CHECKING:
    import polars as pl

    from blastscope.prediction.predict import Predicted

MOST_PERSONS = 20
MOST_CELLS = 40
"""Cells that are shown where no table is written."""
MOST_PROBLEMS = 10
FEW_CELLS = 10
"""Where no subject has as many, nothing is said of shares: a few cells are no sample."""
PIPE = "-"


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(predict)


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Image files, folders, zips or globs; - reads names from standard input.",
        ),
    ],
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="A bundle, a run or an ensemble; given several times, the mean of the runs. "
            "Without it, the model that comes with blastscope.",
            metavar="MODEL",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="The table: .parquet, .csv or .json; - prints JSON, a line a cell, as it goes. "
            "Without it the cells are shown.",
            metavar="FILE",
        ),
    ] = None,
    decision: Annotated[
        Path | None,
        typer.Option(
            help="A decision.json, or a folder with one (of a cross-validation), to calibrate, "
            "call and refer by; without it the model's own.",
            metavar="FILE",
        ),
    ] = None,
    subject_from: Annotated[
        str | None,
        typer.Option(
            help="A regular expression that finds the subject in a file's path: its group, or all "
            "that it matches.",
            metavar="PATTERN",
        ),
    ] = None,
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Say how far the eight ways to lay a cell differ; slower."),
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(help="A folder for a page a cell that shows the evidence.", metavar="DIR"),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="auto, onnxruntime, openvino or torch; all but torch want a bundle.")
    ] = "auto",
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Say of new cells how probably each is a lymphoblast; each network sees them as it learnt."""
    from blastscope.box import in_the_box

    models = model or [in_the_box()]
    if out == PIPE:
        if explain is not None:
            raise BlastscopeError("--explain and --out - do not go together: choose one.")
        _pipe(images, models, decision, subject_from, spread, engine, device)
        return
    if explain is not None:
        from blastscope.report.folder import refuse_others_folder

        refuse_others_folder(explain, "explanation.json", ["cells.csv"])
    from blastscope.parallel import progress_total
    from blastscope.prediction.predict import predict as apply

    with progress_total("Predicting") as advance:
        made = apply(
            images,
            models,
            None if out is None else Path(out),
            decision=decision,
            engine=engine,
            device=device,
            spread=spread,
            subject_from=subject_from,
            force=force,
            on_progress=advance,
        )
    if out is None:
        _print_cells(made.frame)
    _print_summary(made, subject_from)
    if explain is not None:
        _explain(made, models, explain, device)
    if made.path is not None:
        say(f"{made.path}")
    else:
        from blastscope import DISCLAIMER

        note(DISCLAIMER)


def _pipe(
    images: list[str],
    models: list[Path],
    decision: Path | None,
    subject_from: str | None,
    spread: bool,
    engine: str,
    device: str,
) -> None:
    """Print a line of JSON a cell as soon as its batch is done."""
    import sys

    from blastscope import DISCLAIMER
    from blastscope.prediction.inputs import list_inputs
    from blastscope.prediction.model import open_model, stream
    from blastscope.prediction.output import json_lines

    found = list_inputs(images, subject_from)
    opened = open_model(models, decision=decision, engine=engine, device=device, spread=spread)
    for sentence in found.notes:
        note(f"{sentence}.")
    if opened.synthetic:
        from blastscope.bundle.card import SYNTHETIC

        note(SYNTHETIC)
    note(DISCLAIMER)
    used = 0
    for frame in stream(found, opened):
        used += frame["p_all"].count()
        for line in json_lines(frame):
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if not used:
        raise BlastscopeError(f"None of {len(found):,} images can be used: see their problem.")


def _print_cells(frame: pl.DataFrame) -> None:
    """Show the first cells."""
    names = {"cell": "cell", "subject": "subject", "p_all": "p(ALL)", "called": "called"}
    names |= {
        "refer": "to an expert",
        "out_of_distribution": "out_of_distribution",
        "spread": "spread",
    }
    shown = [name for name in names if name in frame.columns]
    if frame["subject"].null_count() == len(frame):
        shown.remove("subject")
    called = {"all": "ALL", "hem": "normal", True: "yes", False: "", None: None}
    usable = frame.filter(frame["p_all"].is_not_null())
    print_table(
        [names[name] for name in shown],
        [
            [called.get(value, value) if type(value) is not float else value for value in row]
            for row in usable.select(shown).head(MOST_CELLS).iter_rows()
        ],
    )
    if len(usable) > MOST_CELLS:
        note(f"And {len(usable) - MOST_CELLS:,} more cells: --out FILE writes all of them.")


def _print_summary(made: Predicted, subject_from: str | None) -> None:
    """Say what was decided of all cells, and what should be known of it."""
    problems, counts = made.problems, made.tally
    for sentence in made.notes:
        note(f"{sentence}.")
    for file, problem in problems.select("file", "problem").head(MOST_PROBLEMS).iter_rows():
        note(f"not used: {file} {problem}")
    if len(problems) > MOST_PROBLEMS:
        note(f"And {len(problems) - MOST_PROBLEMS:,} more that cannot be used.")
    cells = len(made.frame) - len(problems)
    referred = (
        "" if counts.referred is None else f", {counts.referred:,} to be looked at by an expert"
    )
    say(f"{made.model}: {counts.called_all:,} of {cells:,} cells called ALL{referred}")
    if made.taught_synthetic:
        from blastscope.bundle.card import SYNTHETIC

        note(SYNTHETIC)
    if made.synthetic_cells:
        note("The cells are synthetic: what is said of them means nothing for real ones.")
    if made.decided_by is None:
        note("Called at one half, probabilities as the network gives them: no decision.json.")
    else:
        note(made.how)
    if counts.persons is not None and (counts.persons["cells"] >= FEW_CELLS).any():
        _print_persons(counts.persons, counts.doubt)
    elif counts.persons is not None and not counts.persons.is_empty() and made.path is not None:
        note(f"No shares of blasts: no subject has {FEW_CELLS} cells (JSON has them all the same).")
    if subject_from is not None:
        _note_unmatched(made.frame["file"].to_list(), subject_from)
    _print_out_of_distribution(counts.out_of_distribution, cells)


def _note_unmatched(files: list[str], subject_from: str) -> None:
    """Say in how many paths a pattern finds nobody: it may be mistyped."""
    from blastscope.prediction.input_images import subject_pattern

    pattern = subject_pattern(subject_from)
    lost = sum(pattern.find(file) is None for file in files)
    if lost:
        note(
            f"{subject_from!r} finds no subject in {lost:,} of {len(files):,} paths; there names "
            "of C-NMC's kind tell, or nobody."
        )


def _print_out_of_distribution(out_of_distribution: int | None, cells: int) -> None:
    if out_of_distribution:
        note(
            f"Out of distribution: {out_of_distribution:,} of {cells:,}, which look like no cell "
            "that the model was trained on. Its probabilities mean nothing for them. Give "
            "images of single cells, cut out on black."
        )
    elif out_of_distribution is None:
        note(
            "Whether an image is a cell at all is not known here: the runs were trained before "
            "that was measured."
        )


def _explain(made: Predicted, models: list[Path], out: Path, device: str) -> None:
    """Write a page a cell for the images that are files of their own."""
    from blastscope.api.explain import explain_to_folder
    from blastscope.parallel import progress_total

    files = [str(path) for path in made.files]
    known = made.frame.filter(made.frame["p_all"].is_not_null())
    cells = len(known) - (made.tally.out_of_distribution or 0)
    if len(files) < cells:
        note(f"{cells - len(files):,} cells lie in zips and are not explained: unpack them.")
    if not files:
        note("Nothing to explain: no image is a file of its own that looks like a cell.")
        return
    with progress_total("Explaining") as advance:
        written = explain_to_folder(
            [str(path) for path in models], files, out, methods=("grad-cam",), device=device,
            on_progress=advance,
        )  # fmt: skip
    note(
        "The pages show the networks' own probabilities and calls at one half; what was decided is "
        "in the table. Unfamiliar images have no page."
    )
    say(f"{written.path}")


def _print_persons(persons: pl.DataFrame, doubt: str) -> None:
    """Print the share of blasts of each subject, the largest first, as far as it fits a screen."""
    shown = persons.sort("share", "subject", descending=[True, False], nulls_last=True)
    columns = ("cells", "called", "referred", "share", "low", "high", "line")
    print_table(
        ("subject", "cells", "called ALL", "referred", "blasts", "from", "to", "20-25 % line"),
        shown.select("subject", *columns).head(MOST_PERSONS).iter_rows(),
    )
    if shown.height > MOST_PERSONS:
        note(f"And {shown.height - MOST_PERSONS:,} more subjects.")
    if not doubt:  # as of decisions fitted on cells that name no subject
        note("No share of blasts: how this model does on known subjects is not known.")
        return
    note(
        "blasts: the share called ALL, corrected for the errors of these calls on known subjects, "
        f"with its 95 % interval. {doubt} It means something only where the cells are all the "
        "nucleated cells of a field (docs/deciding.md)."
    )
