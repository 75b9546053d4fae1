"""One subject, one name: however a table, a folder or a file name writes it.

pandas writes 7 as 7.0 if a column has gaps, macOS takes letters with accents apart, spreadsheets
add invisible signs, and C-NMC writes one of its subjects in lower case (``h3``). Words for a
missing value are nobody's name. Leading zeros are kept: 07 and 7 may be two subjects.
"""

from __future__ import annotations

import re
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


def with_subject_names(frame: pl.DataFrame, column: str = "subject") -> pl.DataFrame:
    """Return a table with every subject's name in its one spelling, and null for nobody."""
    written = frame[column].drop_nulls().unique().to_list()
    names = {text: subject_name(text) for text in written}
    if all(text == name for text, name in names.items()):
        return frame
    one = pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)
    return frame.with_columns(one.alias(column))


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
