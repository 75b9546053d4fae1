"""Print results on standard output, and everything else on standard error."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from blastscope.api.result import Result


_UNFOLDED = 1000
"""The width of tables in a file or pipe, where nothing is folded."""


@cache
def console() -> Console:
    """Return the console of results."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


@cache
def notices() -> Console:
    """Return the console of notices: standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def say(text: str) -> None:
    """Print a line of result, as it is."""
    console().print(text)


def note(text: str) -> None:
    """Print a line of notice, as it is."""
    notices().print(text)


def show(result: Result, as_json: bool = False) -> None:
    """Print a result as tables and sentences, or as JSON; what to know beside it is a notice."""
    if as_json:
        show_json(result.as_json())
    else:
        text = result.to_text(console().width if console().is_terminal else _UNFOLDED)
        if text:
            say(text)
    for sentence in result.notes():
        note(sentence)
    written = result.report or result.path or result.url
    if written is not None:
        (note if as_json else say)(f"{written}")


def show_json(content: Any) -> None:
    """Print numbers and codes as JSON."""
    from blastscope.api.result import json_text

    typer.echo(json_text(content))
