"""Which images the rows of a labels table name: folders count, and nothing is guessed.

A row names an image if the file's name is the same but for case, the suffix of an image and the
form of its letters, and every folder that the row writes before it is a folder of the image. A
bare name that several images have names none of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from blastscope.data.labels import LabelRow, LabelTable, NamedRow, file_key, name_key
from blastscope.errors import BlastscopeError, listing

_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
"""Leading zeros of a number: 0100 is 100, and never 10."""


@dataclass(frozen=True)
class Scope:
    """Images that a table may name.

    Attributes:
        files: their paths with forward slashes, from the folder in which the table lies or, for a
            table outside it, from the folder of the images.
        above: the names of the folders above that, the nearest last.
    """

    files: Sequence[str]
    above: tuple[str, ...] = ()


@dataclass
class Matched:
    """What a table says of images.

    Attributes:
        rows: by file.
        absent: the rows that name no image.
        assumed: what was assumed about names.
    """

    rows: dict[str, LabelRow] = field(default_factory=dict)
    absent: list[NamedRow] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def match_rows(table: LabelTable, scope: Scope) -> Matched:
    """Find the image of every row.

    Raises:
        BlastscopeError: if a row names several images.
    """
    found = _match(table, scope, {})
    if not found.rows:
        without = _match(table, scope, {"zeros": True})
        if without.rows:
            without.assumed.append("names without their leading zeros")
            return without
    return found


def _match(table: LabelTable, scope: Scope, how: Mapping[str, bool]) -> Matched:
    def key(name: str) -> str:
        return _ZEROS.sub("", name) if how.get("zeros") else name

    by_key: dict[str, list[str]] = defaultdict(list)
    for file in scope.files:
        by_key[key(file_key(PurePosixPath(file).name))].append(file)
    above = tuple(map(name_key, scope.above))
    found = Matched()
    for row in table.named:
        files = [file for file in by_key[key(row.key)] if _leads_to(row, file, above)]
        exact = [file for file in files if name_key(file).endswith(name_key(row.file))]
        files = exact if len(exact) == 1 else files
        if not files:
            found.absent.append(row)
        elif len(files) > 1:
            raise BlastscopeError(
                f"{table.path}, line {row.line}: {row.file} is the name of {len(files)} images "
                f"({listing(files, 3)}): write their folders before the name."
            )
        elif found.rows.setdefault(files[0], row.row) != row.row:
            raise BlastscopeError(
                f"{table.path}, line {row.line}, says something else of {files[0]} than an "
                "earlier row: keep one of them."
            )
    return found


def _leads_to(row: NamedRow, file: str, above: tuple[str, ...]) -> bool:
    """Whether all folders of a row are the last folders of an image's path, as far as known."""
    folders = (*above, *map(name_key, PurePosixPath(file).parts[:-1]))
    known = min(len(row.folders), len(folders))
    return row.folders[len(row.folders) - known :] == folders[len(folders) - known :]


def share_a_name(table: LabelTable, others: Iterable[str]) -> str | None:
    """Return the first of other files whose name a bare row of the table has, if there is one."""
    bare = {row.key for row in table.named if not row.folders}
    return next((file for file in others if file_key(PurePosixPath(file).name) in bare), None)
