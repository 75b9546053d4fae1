"""Printing: tables on standard output, everything else on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from rich.console import Console
from rich.markup import escape


@cache
def console() -> Console:
    """Return the console of results."""
    return Console(highlight=False, soft_wrap=True)


@cache
def notices() -> Console:
    """Return the console of notices: standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line of result, as it is."""
    console().print(escape(text))


def note(text: str) -> None:
    """Print a line of notice, as it is."""
    notices().print(escape(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    kept = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(columns):
        numeric = all(row[place] is None or isinstance(row[place], int | float) for row in kept)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in kept:
        table.add_row(*(escape(_shown(value)) for value in row))
    console().print(table)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
