"""``blastscope bundle`` and ``inspect``: a model made ready to travel, and what one is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import blastscope as bs
from blastscope.cli.options import AsJson
from blastscope.cli.output import say, show


def bundle(
    model: Annotated[
        Path,
        typer.Argument(metavar="RUN|ENSEMBLE", help="The folder of a run, or of an ensemble."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The zip to write, or a folder where it has no .zip."),
    ],
    decision: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A decision.json, or a folder with one (of a cross-validation of the recipe); "
            "without it the model's own.",
        ),
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="A further evaluation whose metrics the card shall show; once for each.",
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Weights in half precision, in half the space.")
    ] = False,
    note: Annotated[
        str, typer.Option(help="Your own words for the card: which cells, whom to cite.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bundle a model: weights, decision and card, without code."""
    made = bs.make_bundle(
        model,
        out,
        decision=decision,
        evaluations=evaluation or (),
        half=half,
        note=note,
        force=force,
    )
    show(made, as_json)


def inspect(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]",
            help="A bundle's folder or zip; without it the model that comes with blastscope.",
        ),
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Print its model card instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Inspect a bundle: networks, metrics, card; is it whole?"""
    found = bs.inspect_bundle(bundle)
    if card and not as_json:
        say(found.card)
    else:
        show(found, as_json)
