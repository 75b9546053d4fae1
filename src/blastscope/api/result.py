"""What every verb returns: numbers, a screen of text, a page, and a way to save them."""

from __future__ import annotations

import html
import io
import json
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blastscope.errors import BlastscopeError, writing
from blastscope.io.remote import uploaded, url_of
from blastscope.report.text import decimals

if TYPE_CHECKING:
    from typing import Self

    import polars as pl

AnyPath = str | PathLike[str]
Progress = bool | Callable[[int, int], None]
"""Whether to show a progress bar; or a function to call with how much is done and of how much."""

WIDTH = 100
"""Columns of text if the width of the screen is not known."""
PAGE = "report.html"
_SHOWN = 40
"""Rows of a frame that a screen shows."""


@dataclass(frozen=True)
class TextTable:
    """A table for a screen.

    Attributes:
        columns: their names.
        rows: numbers, or text that is ready to be shown; None is shown as a dash.
        title: what stands above it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    title: str = ""

    @classmethod
    def of(
        cls, columns: Iterable[str], rows: Iterable[Sequence[object]], title: str = ""
    ) -> TextTable:
        """Make one of any columns and rows."""
        return cls(tuple(columns), tuple(tuple(row) for row in rows), title)

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> TextTable:
        """Show the first rows of a frame."""
        return cls.of(frame.columns, frame.head(_SHOWN).iter_rows())


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """What a verb found.

    A notebook shows it as tables, ``print`` as text. Nothing is written until ``save`` is called,
    but for what a verb wrote into the ``out`` that it was given.

    Attributes:
        path: the folder or file that it was written to; None if nothing was written. A result with
            a path can be given to every verb that takes a path.
        url: where in an object store it was written to, instead.
    """

    path: Path | None = field(default=None, kw_only=True)
    url: str | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, found: Any, **more: Any) -> Self:
        """Make a result of a domain object, field by field, and what is its own."""
        return cls(**{one.name: getattr(found, one.name) for one in fields(found)}, **more)

    @abstractmethod
    def to_frame(self) -> pl.DataFrame:
        """Return the numbers as a Polars table."""

    @abstractmethod
    def as_json(self) -> Any:
        """Return numbers and codes that ``json.dumps`` takes."""

    def tables(self) -> list[TextTable]:
        """Return what a screen shows as tables."""
        return [TextTable.of_frame(self.to_frame())]

    def answers(self) -> list[str]:
        """Return the sentences of the result, the most important one first."""
        return []

    def notes(self) -> list[str]:
        """Return what a reader should know beside the result: limits, and cells left out."""
        return []

    def to_html(self) -> str:
        """Return the report as one self-contained HTML page."""
        if type(self)._write is Result._write:
            return self.small_page()
        with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
            self._write(Path(folder))
            page = Path(folder) / PAGE
            return page.read_text("utf-8") if page.is_file() else self.small_page()

    def save(self, folder: AnyPath) -> Path:
        """Write the report, and the files that belong to it, into a folder.

        Returns:
            The folder.

        Raises:
            BlastscopeError: if the folder holds something else or cannot be written.
        """
        out = Path(folder)
        self._write(out)
        return out

    def saved(self, out: AnyPath | None) -> Self:
        """Save into ``out``, if one is given, and return the result with its path.

        A folder of an object store is written whole; the result has its URL then.
        """
        if out is None:
            return self
        url = url_of(out)
        if url is None:
            return replace(self, path=self.save(out))
        with uploaded(url) as folder:
            self.save(folder)
        return replace(self, url=url)

    @property
    def written_to(self) -> str | None:
        """Where it was written, a path or a URL; None if nothing was written."""
        return self.url or (None if self.path is None else str(self.path))

    @property
    def report(self) -> Path | None:
        """The page to open, if one was written."""
        page = None if self.path is None else self.path / PAGE
        return page if page is not None and page.is_file() else None

    def _write(self, out: Path) -> None:
        """Write the files; a result with a report of its own writes that instead."""
        from blastscope.io.files import write_text
        from blastscope.io.tables import write_csv

        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_text(out / "result.json", json_text(self.as_json()) + "\n")
        write_csv(self.to_frame(), out / "table.csv")
        write_text(out / PAGE, self.to_html())

    def small_page(self) -> str:
        """Return a page of the tables and sentences, for a result without a report of its own."""
        from markupsafe import Markup

        from blastscope.report.html import render

        synthetic = getattr(self, "synthetic", False)
        body = Markup(self._body())
        return render("result.html", title=self._title(), synthetic=synthetic, body=body)

    def to_text(self, width: int = WIDTH) -> str:
        """Return answers and tables as plain text of at most ``width`` columns."""
        told = [table_text(table, width) for table in self.tables()]
        return "\n".join([*self.answers(), *told])

    def __str__(self) -> str:
        return "\n".join([self.to_text(), *self.notes()])

    def __repr__(self) -> str:
        written = f", in {self.path}" if self.path is not None else ""
        return f"<{type(self).__name__}: {self._title()}{written}>"

    def _repr_html_(self) -> str:
        return self._body()

    def __fspath__(self) -> str:
        if self.path is None:
            raise BlastscopeError(
                f"{self!r} was not written to a folder: call save(), and give its folder."
            )
        return str(self.path)

    def _title(self) -> str:
        return next(iter(self.answers()), f"{self.to_frame().height:,} rows")

    def _body(self) -> str:
        from blastscope import DISCLAIMER

        told = [f"<p>{html.escape(text)}</p>" for text in self.answers()]
        told += map(_table_html, self.tables())
        told += [f"<p><small>{html.escape(text)}</small></p>" for text in self.notes()]
        return "\n".join([*told, f"<p><small>{html.escape(DISCLAIMER)}</small></p>"])


@dataclass(frozen=True, eq=False, repr=False)
class FolderResult(Result):
    """The result of a verb whose product is a folder or a file.

    Attributes:
        keeper: the temporary folder that holds the product until the result is saved.
    """

    keeper: tempfile.TemporaryDirectory[str] | None = field(default=None, kw_only=True)

    def tables(self) -> list[TextTable]:
        """Return no tables: the product has them."""
        return []

    @property
    def place(self) -> Path:
        """Where the product is: its path, or a temporary folder that goes with the result."""
        return Path(self) if self.keeper is None else Path(self.keeper.name)

    def to_html(self) -> str:
        """Return the product's own page, or a small one of the tables."""
        page = self.place / PAGE
        return page.read_text("utf-8") if page.is_file() else super().to_html()

    def save(self, folder: AnyPath) -> Path:
        """Copy the product to another place, which must not be there yet.

        Raises:
            BlastscopeError: if the place is taken or cannot be written.
        """
        out = Path(folder)
        if out.exists():
            raise BlastscopeError(f"{out} is there already: choose another folder.")
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            if self.place.is_dir():
                shutil.copytree(self.place, out)
            else:
                shutil.copy2(self.place, out)
        return out


def without_place(content: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a result's fields where it was written, which is not what was found."""
    return {key: value for key, value in content.items() if key not in ("path", "url")}


def synthetic_of(inner: str) -> property:
    """Return the property ``synthetic`` of a result: that of an inner object, such as ``found``."""
    read = attrgetter(f"{inner}.synthetic")
    return property(lambda result: bool(read(result)), doc="Whether the cells are synthetic.")


def out_or_temporary(out: AnyPath | None) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """Return the folder to work in: the one that is asked for, or a temporary one."""
    if out is not None:
        return Path(out), None
    keeper = tempfile.TemporaryDirectory(prefix="blastscope-")
    return Path(keeper.name), keeper


def as_path(path: AnyPath | None) -> Path | None:
    """Return a path that need not be given."""
    return None if path is None else Path(path)


def as_inputs(paths: AnyPath | Iterable[AnyPath]) -> list[str | Path]:
    """Return one input path or several as a list; URLs of object stores stay text."""
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    return [url_of(one) or Path(one) for one in given]


def as_paths(paths: AnyPath | Iterable[AnyPath] | None) -> list[Path]:
    """Return one path, several or none as a list."""
    if paths is None:
        return []
    return [Path(paths)] if isinstance(paths, str | PathLike) else [Path(one) for one in paths]


@contextmanager
def showing(what: str, progress: Progress) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on standard error, if one is asked for.

    Yields:
        A function to call with how much is done, and of how much; None without a bar.
    """
    if progress is True:
        from blastscope.parallel import progress_total

        with progress_total(what) as advance:
            yield advance
    else:
        yield progress or None


def notice(line: str) -> None:
    """Print a line of progress on standard error."""
    print(line, file=sys.stderr, flush=True)


def json_text(content: Any) -> str:
    """Write JSON for standard output; what is undefined is null."""
    from blastscope.io.files import without_nan

    return json.dumps(without_nan(content), indent=2, allow_nan=False)


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return decimals(value, 4)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _numeric(table: TextTable, place: int) -> bool:
    return all(row[place] is None or isinstance(row[place], int | float) for row in table.rows)


def table_text(table: TextTable, width: int) -> str:
    """Lay a table out, numbers to the right; one that is too wide gets a line a value."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    laid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if _numeric(table, place) else "left"
        laid.add_column(Text(name), justify=justify, overflow="fold")
    for row in table.rows:
        laid.add_row(*(Text(_shown(value)) for value in row))
    console = Console(file=io.StringIO(), width=width, color_system=None)
    needed = console.measure(laid, options=console.options.update(width=10_000)).maximum
    if needed > width and len(table.columns) > 3:
        return table_text(_one_a_line(table), width)
    title = f"{table.title}\n" if table.title else ""
    with console.capture() as capture:
        console.print(laid)
    lines = [line.rstrip() for line in capture.get().rstrip().splitlines()]
    return title + "\n".join(lines)


def _one_a_line(table: TextTable) -> TextTable:
    """A line a value, the row's name on the first of its lines."""
    first, *others = table.columns
    rows = [
        (row[0] if place == 0 else "", name, _shown(value))
        for row in table.rows
        for place, (name, value) in enumerate(zip(others, row[1:], strict=True))
    ]
    return TextTable.of((first, "", "value"), rows, table.title)


def _table_html(table: TextTable) -> str:
    sides = ["right" if _numeric(table, k) else "left" for k in range(len(table.columns))]

    def line(tag: str, values: Iterable[object]) -> str:
        cells = (
            f'<{tag} style="text-align:{side}">{html.escape(_shown(value))}</{tag}>'
            for side, value in zip(sides, values, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    rows = "".join(line("td", row) for row in table.rows)
    caption = f"<caption>{html.escape(table.title)}</caption>" if table.title else ""
    head = line("th", table.columns)
    return f"<table>{caption}<thead>{head}</thead><tbody>{rows}</tbody></table>"
