"""Cell names, subjects and labels, as the C-NMC 2019 data writes them.

A file is called ``UID_<subject>_<image>_<cell>_<all|hem>``; a healthy subject begins with ``H``.
One subject of the published data is written ``h3``, so case never counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import category

from blastscope.errors import BlastscopeError

ALL = "all"
HEM = "hem"
LABELS = (HEM, ALL)
"""The two classes, in the order of their numbers: normal is 0, ALL (the positive class) is 1."""

_NAME = re.compile(
    r"UID_(?P<subject>H?\d+)_(?P<image>\d+)_(?P<number>\d+)_(?P<label>all|hem)", re.I
)
_LABELS = {"all": ALL, "1": ALL, "1.0": ALL, "hem": HEM, "0": HEM, "0.0": HEM}


@dataclass(frozen=True)
class CellName:
    """What a file's stem says of its cell; all but ``cell`` is None for a stem of another form."""

    cell: str
    subject: str | None = None
    label: str | None = None
    lower_case: bool = False
    """True if the subject was written in lower case."""


def parse_name(stem: str) -> CellName:
    """Read a file's stem; a name of another form is taken as it is, with no subject."""
    match = _NAME.fullmatch(stem.strip())
    if match is None:
        return CellName(cell=stem.strip())
    written = match["subject"]
    subject, label = written.upper(), match["label"].lower()
    cell = f"UID_{subject}_{match['image']}_{match['number']}_{label}"
    return CellName(cell, subject, label, lower_case=written != subject)


def printable(name: str) -> str:
    """Return a file's name with invisible characters and bytes that are not text as escapes."""
    if name.isprintable():  # the quick way for nearly all
        return name
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(ascii(sign)[1:-1] if category(sign) == "Cc" else sign for sign in text)


def parse_label(text: str) -> str:
    """Return ``all`` or ``hem`` for ``ALL``, ``hem``, ``1``, ``0``; BlastscopeError for others."""
    try:
        return _LABELS[text.strip().lower()]
    except KeyError:
        raise BlastscopeError(
            f"{text!r} is not a label: write all or 1 for a blast, hem or 0 for a normal cell."
        ) from None
