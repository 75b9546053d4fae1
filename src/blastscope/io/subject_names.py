"""One subject, one name: however a table, a folder or a file name writes it.

pandas writes 7 as 7.0 if a column has gaps, macOS takes letters with accents apart, spreadsheets
add invisible signs, and C-NMC writes one of its subjects in lower case (``h3``). Words for a
missing value are nobody's name. Leading zeros are kept: 07 and 7 may be two subjects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category, normalize

import polars as pl

_NOBODY = frozenset(
    (
        "", "nan", "na", "n/a", "none", "null", "nil", "nat", "<na>", "#n/a", "#na", "-nan", "?",
        "-", "unknown", "missing", "unspecified", "not available",
    )
)  # fmt: skip
LOST_ZEROS = "write the leading zeros again, which a spreadsheet has removed"
"""What to do if two tables differ in them."""
_WHOLE = re.compile(r"(\d+)\.0*")
_PIECES = re.compile(r"[^\W\d_]+|\d+|[^\w\s./-]")
"""Words, numbers and signs of a name, without the signs that part them."""


def subject_name(text: str | None) -> str | None:
    """Return the one spelling of a subject's name, upper case; None if it names nobody."""
    if text is None:
        return None
    visible = (sign for sign in normalize("NFKC", text) if category(sign) not in ("Cf", "Cc"))
    name = "".join(visible)
    name = " ".join(name.split()).casefold()
    if name in _NOBODY:
        return None
    whole = _WHOLE.fullmatch(name)
    return normalize("NFC", whole[1] if whole else name.upper())


def with_subject_names(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table with every ``subject`` in its one spelling, and null for nobody."""
    written = frame["subject"].drop_nulls().unique().to_list()
    names = {text: subject_name(text) for text in written}
    if all(text == name for text, name in names.items()):
        return frame
    one = pl.col("subject").replace_strict(names, default=None, return_dtype=pl.String)
    return frame.with_columns(one)


def differ_in_zeros(one: pl.Series, other: pl.Series) -> bool:
    """Whether names differ in leading zeros alone, which spreadsheets remove from a column."""
    return bool((one.str.strip_chars_start("0") == other.str.strip_chars_start("0")).all())


def respelled(written: pl.Series) -> dict[str, list[str]]:
    """Return the subjects that are written in more than one way, each with its spellings."""
    spellings: dict[str, list[str]] = {}
    for text in sorted(written.drop_nulls().unique().to_list()):
        if (name := subject_name(text)) is not None:
            spellings.setdefault(name, []).append(text)
    return {name: texts for name, texts in spellings.items() if len(texts) > 1}


def look_alikes(names: Iterable[str | None]) -> list[list[str]]:
    """Return subjects that may be one, in groups: ``P01`` and ``P-1``, or ``007`` and ``7``.

    They differ only by leading zeros or by the signs between words and numbers. They are not
    joined, for two hospitals may write their subjects so.
    """
    groups: dict[tuple[str | int, ...], list[str]] = {}
    for name in sorted({name for name in names if name is not None}):
        pieces = _PIECES.findall(name)
        key = tuple(int(piece) if piece.isdecimal() else piece for piece in pieces)
        groups.setdefault(key or (name,), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
