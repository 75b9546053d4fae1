"""The command line: a file a verb, each thin over a function of the package.

Nothing heavy is imported here or at the top of a verb's file, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from blastscope import DISCLAIMER, __version__
from blastscope.cli import (
    baselines,
    bundle,
    check,
    compare,
    crossval,
    demo,
    ensemble,
    errors,
    evaluate,
    explain,
    export,
    fetch,
    inspect,
    leakage,
    predict,
    prepare,
    recipes,
    reproduce,
    split,
    stress,
    submit,
    synth,
    train,
    weights,
)
from blastscope.cli.output import note
from blastscope.errors import BlastscopeError
from blastscope.process import tune_process

INTERRUPTED = 130
"""The exit status that Typer gives to an interrupt from the keyboard."""

app = typer.Typer(
    help=f"Tells B-cell lymphoblasts (ALL) from normal white blood cells.\n\n{DISCLAIMER}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    check,
    synth,
    prepare,
    split,
    baselines,
    recipes,
    train,
    crossval,
    leakage,
    evaluate,
    compare,
    errors,
    explain,
    stress,
    ensemble,
    reproduce,
    bundle,
    inspect,
    predict,
    export,
    submit,
    weights,
    demo,
    fetch,
):
    verb.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"blastscope {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; what is wrong with the input is one sentence and exit status 2."""
    tune_process()
    try:
        app()
    except BlastscopeError as error:
        note(f"blastscope: {error}")
        sys.exit(2)
    except OSError as error:
        note(f"blastscope: {error.filename or 'a file'} cannot be used: {error.strerror or error}.")
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            note(
                "blastscope: interrupted; prepare, predict, train, crossval, leakage, reproduce, "
                "demo, stress and explain --study go on where they stopped when the same command "
                "is given again."
            )
        raise
