"""What is predicted on: pictures in the order given, each with a name of its own."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from blastscope.data.images import Decoded, UnusableImageError
from blastscope.data.layouts import CellFile, Problem
from blastscope.data.names import parse_name
from blastscope.errors import BlastscopeError

LONGEST_PATTERN = 200


@dataclass(frozen=True)
class InputImage:
    """One image to predict on, not yet read.

    Attributes:
        file: what the user knows it by: a path as given, one inside the folder given, or
            ``archive.zip/inner/name.bmp``; empty for an image in memory that has none.
        cell: its name in tables, which no other of the same inputs has.
        source: what reads it, or why it cannot be used, where that is known beforehand.
        subject: the person, in upper case; None where nothing tells.
        label: ``all`` or ``hem``; None likewise.
        flags: what is odd about its name.
        path: of the file that it is; None for what is in a zip or in memory.
    """

    file: str
    cell: str
    source: Callable[[], Decoded] | Problem = field(repr=False)
    subject: str | None = None
    label: str | None = None
    flags: tuple[str, ...] = ()
    path: Path | None = field(default=None, compare=False)

    @property
    def problem(self) -> Problem | None:
        """Why it cannot be used, where that is known before it is read."""
        return self.source if isinstance(self.source, Problem) else None

    def decode(self) -> Decoded:
        """Read it.

        Raises:
            UnusableImageError: where it cannot be used.
        """
        if isinstance(self.source, Problem):
            raise UnusableImageError(self.source.kind, self.source.message)
        return self.source()


@dataclass(frozen=True)
class InputImages:
    """The pictures in the order given.

    Attributes:
        pictures: all of them, those that cannot be used as well.
        notes: what should be said of how they were found.
        synthetic: whether some are of a folder or zip of synthetic cells.
        closers: what to call when the pictures are read, or no more wanted.
        archives: the zips that some of them lie in.
    """

    pictures: tuple[InputImage, ...]
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    closers: tuple[Callable[[], None], ...] = field(default=(), repr=False)
    archives: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[InputImage]:
        return iter(self.pictures)

    @property
    def without_subject(self) -> int:
        """How many usable pictures are of nobody known."""
        return sum(item.subject is None and item.problem is None for item in self.pictures)

    def close(self) -> None:
        """Close the zips; they open again where a picture is read."""
        for close in self.closers:
            close()


def input_image(
    item: CellFile | Problem, decode: Callable[[], Decoded], path: Path | None = None
) -> InputImage:
    """Return what a layout says of a file as a picture that ``decode`` reads."""
    if isinstance(item, CellFile):
        return InputImage(item.file, item.cell, decode, item.subject, item.label, item.flags, path)
    named = parse_name(PurePosixPath(item.file).stem)
    return InputImage(item.file, named.cell, item, named.subject)


def unique_cells(pictures: Sequence[InputImage]) -> list[str]:
    """Return a name for each picture: its cell's, or as much of its path as tells it apart.

    Where several would have the same name, all of them get their path without the suffix, then
    with it; where that does not do, their number. The order of the others changes nothing.
    """
    names = [item.cell.strip() for item in pictures]
    steps = [0] * len(names)
    while True:
        places: dict[str, list[int]] = defaultdict(list)
        for k, name in enumerate(names):
            places[name].append(k)
        alike = [at for name, at in places.items() if len(at) > 1 or not name]
        if not alike:
            return names
        for at in alike:
            least = min(steps[k] for k in at)
            for k in at:
                if steps[k] == least:  # a longer name stays: the shorter one has to give way
                    steps[k] += 1
                    names[k] = _longer(pictures[k], steps[k], k + 1).strip()


def _longer(picture: InputImage, step: int, number: int) -> str:
    path = picture.file or picture.cell
    if step == 1:
        return path.removesuffix(PurePosixPath(path).suffix)
    return path if step == 2 else f"{path}{'#' * (step - 2)}{number}"


@dataclass(frozen=True)
class SubjectPattern:
    """Where in a file's name or path its subject stands."""

    expression: re.Pattern[str]

    def find(self, file: str) -> str | None:
        """Return the subject in upper case; None where the pattern finds none.

        It is the group called ``subject``, or else the first group, or else all that matches.
        """
        match = self.expression.search(file)
        if match is None:
            return None
        group = "subject" if "subject" in self.expression.groupindex else 1
        text = match[group if self.expression.groups else 0]
        return (text or "").strip().upper() or None


def subject_pattern(text: str) -> SubjectPattern:
    """Read a regular expression.

    Raises:
        BlastscopeError: where it is none, or too long for one.
    """
    if len(text) > LONGEST_PATTERN:
        raise BlastscopeError(
            f"The regular expression for subjects has {len(text)} characters: at most "
            f"{LONGEST_PATTERN} are read."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SubjectPattern(re.compile(text))
    except (re.error, OverflowError, RecursionError) as error:
        raise BlastscopeError(
            f"{text!r} is no regular expression for subjects ({error}): write one such as "
            r"'patient(\d+)'."
        ) from None
