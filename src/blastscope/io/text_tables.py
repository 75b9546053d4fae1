"""CSV tables as spreadsheets, pandas and PowerShell write them: one reader for all of them.

It reads UTF-8, UTF-16 and one-byte encodings; commas, semicolons, tabs and bars between columns;
a first line ``sep=;``; every kind of line end; and blank lines. What it assumed is kept, so that a
caller can tell the user. A path is a path: ``[``, ``*``, ``?`` and ``~`` have no other meaning.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from blastscope.errors import BlastscopeError

MAX_BYTES = 2 * 2**30
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
"""The suffixes of files that are read as text tables."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEP_LINE = re.compile(r'"?sep=(?P<sign>[,;|\t])"?\s*', re.I)
_DECIMAL_COMMA = r"^\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*$"
_LINE = "__line__"


@dataclass(frozen=True)
class DelimitedTable:
    """The rows of a text table, all values as text.

    Attributes:
        frame: one column for each name of the header, in its order; empty fields are null.
        lines: the line of the file that each row begins on; the header's line is usually 1.
        delimiter: the sign between columns.
        assumed: what was assumed about the file beyond UTF-8 and commas, a phrase each.
    """

    frame: pl.DataFrame
    lines: pl.Series
    delimiter: str
    assumed: tuple[str, ...]

    def column(self, *names: str) -> str | None:
        """Return the first column that has one of ``names``, whatever its case, spaces or signs."""
        columns = {plain_name(column): column for column in reversed(self.frame.columns)}
        return next((columns[name] for name in map(plain_name, names) if name in columns), None)

    def renamed(self, where: str, *names: str) -> DelimitedTable:
        """Return the table with the columns that are ``names`` but for case and spaces so named.

        Raises:
            BlastscopeError: if two columns have one of the names and are not equal; the message
                calls the table ``where``.
        """
        found: dict[str, str] = {}
        for name in names:
            same = [one for one in self.frame.columns if plain_name(one) == plain_name(name)]
            for other in same[1:]:
                if not self.frame[same[0]].equals(self.frame[other], null_equal=True):
                    raise BlastscopeError(
                        f"{where} has two columns of {name} that differ, {same[0]} and {other}: "
                        "remove one of them."
                    )
            found |= dict.fromkeys(same[:1], name)
        dropped = [one for one in names if one in self.frame.columns and one not in found]
        frame = self.frame.drop(dropped).rename(found)
        return DelimitedTable(frame, self.lines, self.delimiter, self.assumed)

    def numbers(self, name: str) -> pl.Expr:
        """Return the column ``name`` with decimal points, if commas cannot be its delimiter."""
        text = pl.col(name)
        if self.delimiter == ",":
            return text
        comma = text.str.contains(_DECIMAL_COMMA)
        return pl.when(comma).then(text.str.replace(",", ".", literal=True)).otherwise(text)


def plain_name(column: str) -> str:
    """Return a column's name in lower case, with ``_`` for what is not a letter or digit."""
    return re.sub(r"[\W_]+", "_", column.strip().lower()).strip("_")


def read_text_table(path: Path, limit: int = MAX_BYTES) -> DelimitedTable:
    """Read a CSV or TSV file.

    Args:
        path: the file.
        limit: the most bytes that are read.

    Raises:
        BlastscopeError: if it cannot be read, is larger than ``limit``, is not text, has no
            header, or a line has more or fewer fields than the header.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise BlastscopeError(f"{path} has {size:,} bytes: a table may have {limit:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise BlastscopeError(f"{path} cannot be read: {error.strerror}.") from error
    return parse_text_table(data, str(path))


def parse_text_table(data: bytes, where: str) -> DelimitedTable:
    """Read a table from the bytes of a file; ``where`` names it in messages.

    Raises:
        BlastscopeError: as :func:`read_text_table`.
    """
    text, encoding = decode_text(data, where)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise BlastscopeError(f"{where} is empty: give a table with a header and rows.")
    skipped = 0
    declared = _SEP_LINE.fullmatch(text.partition("\n")[0])
    if declared:
        text, skipped = text.partition("\n")[2], 1
        if not text.strip():
            raise BlastscopeError(f"{where} is empty: give a table with a header and rows.")
    delimiter = declared["sign"] if declared else _find_delimiter(text)
    rows = _parse(text, delimiter, where, skipped)
    assumed = []
    if encoding is not None:
        assumed.append(f"the encoding {encoding}")
    if delimiter != ",":
        assumed.append(f"{_DELIMITERS[delimiter]} between the columns")
    values = [pl.col(name) for name in rows.columns if name != _LINE]
    if not values:
        raise BlastscopeError(f"{where} has no column with a name: give a header and rows.")
    blank = pl.all_horizontal([value.is_null() for value in values])
    kept = rows.filter(~blank)
    if kept.height < rows.height:
        assumed.append(f"{rows.height - kept.height} blank lines left out")
    return DelimitedTable(kept.drop(_LINE), kept[_LINE], delimiter, tuple(assumed))


def decode_text(data: bytes, where: str) -> tuple[str, str | None]:
    """Decode the bytes of a text file.

    Returns:
        The text, and the name of its encoding if it is not UTF-8.

    Raises:
        BlastscopeError: if the bytes are not text.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = _decoded(data, name, where)
            return text, None if name == "utf-8-sig" else name.upper()
    if b"\0" in data[:4096]:  # UTF-16 of Latin letters, without its mark
        name = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        return _decoded(data, name, where), name.upper()
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        if best is None:
            raise BlastscopeError(f"{where} is not text: save it as CSV in UTF-8.") from None
        return str(best), best.encoding


def _decoded(data: bytes, name: str, where: str) -> str:
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        raise BlastscopeError(f"{where} is not text: save it as CSV in UTF-8.") from None
    if "\0" in text:
        raise BlastscopeError(f"{where} is not text: save it as CSV in UTF-8.")
    return text


def _find_delimiter(text: str) -> str:
    """Return the sign that parts the header into most columns; a comma if none does."""
    header = next(line for line in text.split("\n") if line.strip())
    outside = re.sub(r'"[^"]*"', "", header)
    counts = Counter(sign for sign in outside if sign in _DELIMITERS)
    return max(_DELIMITERS, key=lambda sign: counts[sign])


def _parse(text: str, delimiter: str, where: str, skipped: int) -> pl.DataFrame:
    """Parse by Polars if there are no quotes and every line has as many fields as the header."""
    header, _, rest = text.rstrip("\n").partition("\n")
    names = [_name(field) for field in header.split(delimiter)]
    rows = rest.count("\n") + 1
    even = rest.count(delimiter) == rows * (len(names) - 1)
    if not rest or not even or '"' in text or not all(names) or len(set(names)) < len(names):
        return _parse_slowly(text, delimiter, where, skipped)
    try:
        frame = pl.read_csv(
            io.BytesIO(rest.encode()),
            separator=delimiter,
            infer_schema=False,
            has_header=False,
            new_columns=names,
        )
    except pl.exceptions.PolarsError:  # a line has more fields, and another has fewer
        frame = None
    if frame is None or frame.shape != (rows, len(names)):
        return _parse_slowly(text, delimiter, where, skipped)
    first = 2 + skipped
    return _stripped(frame).with_columns(pl.Series(_LINE, range(first, first + rows), pl.Int64))


def _parse_slowly(text: str, delimiter: str, where: str, skipped: int) -> pl.DataFrame:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str | None]] = []
    lines: list[int] = []
    before = 0
    try:
        for fields in reader:
            line, before = before + 1 + skipped, reader.line_num
            if not header:
                header = _header(fields, where, line) if any(map(str.strip, fields)) else []
                continue
            rows.append(_row(fields, header, where, line))
            lines.append(line)
    except csv.Error as error:
        raise BlastscopeError(f"{where}, line {reader.line_num + skipped}: {error}.") from error
    frame = pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String()), orient="row")
    return _stripped(frame).with_columns(pl.Series(_LINE, lines, pl.Int64))


def _header(fields: list[str], where: str, line: int) -> list[str]:
    while fields and not _name(fields[-1]):  # a spreadsheet's empty columns at the right
        fields = fields[:-1]
    names = [_name(field) for field in fields]
    if not all(names):
        number = names.index("") + 1
        remedy = "give it one"
        if number == 1:
            remedy += (
                ", or write the table without row names (pandas index=False, R row.names=FALSE)"
            )
        raise BlastscopeError(
            f"{where}, line {line}: column {number} of the header has no name: {remedy}."
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise BlastscopeError(
            f"{where}, line {line}: the header has the column {twice[0]} twice: rename one."
        )
    return names


def _name(field: str) -> str:
    """Return the name of a column without white space and byte order marks at its ends."""
    while (inner := field.strip().strip("\ufeff")) != field:
        field = inner
    return field


def _row(fields: list[str], header: list[str], where: str, line: int) -> list[str | None]:
    extra = fields[len(header) :]
    if not any(map(str.strip, fields)):
        return [None] * len(header)
    if any(map(str.strip, extra)) and len(header) == 1:
        raise BlastscopeError(
            f"{where}, line {line} has {len(fields)} fields, and the line that is taken for the "
            f"header has one ({header[0]}): remove what is above the names of the columns."
        )
    if any(map(str.strip, extra)) or len(fields) < len(header):
        raise BlastscopeError(
            f"{where}, line {line} has {len(fields)} fields and the header {len(header)} "
            f"({', '.join(header[:8])}): put quotes around values that hold the delimiter, and "
            "complete the line."
        )
    return [*fields[: len(header)]]


def _stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """Strip white space and invisible signs of values at both ends; what is empty is null."""
    text = pl.all().str.strip_chars(" \t\n\r\f\v\u00a0\u200b\u200e\u200f\ufeff")
    return frame.with_columns(pl.when(text != "").then(text).name.keep())
