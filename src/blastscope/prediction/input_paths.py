"""What a user names on the command line: paths, patterns, and lists of names on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from blastscope.data.images import SUFFIXES
from blastscope.errors import BlastscopeError
from blastscope.prediction.archives import SUFFIX as ZIP

STANDARD_INPUT = "-"
_REMEDY = (
    "give images, folders or zips of images, a pattern in quotes such as 'cells/*.bmp', or - for "
    "file names on standard input"
)


@dataclass(frozen=True)
class InputPath:
    """One path that is there; ``root`` is the folder whose layout tells what a file is."""

    path: Path
    root: Path

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip, by its name."""
        return self.path.suffix.lower() == ZIP


def find_input_paths(inputs: Sequence[str | Path]) -> list[InputPath]:
    """Find what ``inputs`` name, in their order, with patterns and standard input written out.

    Raises:
        BlastscopeError: where nothing is given, or one names nothing that is there.
    """
    if not inputs:
        raise BlastscopeError(f"There is nothing to predict on: {_REMEDY}.")
    found: list[InputPath] = []
    for one in inputs:
        if str(one) == STANDARD_INPUT:
            found.extend(_there(Path(name)) for name in _names_on_standard_input())
        else:
            found.extend(find_path(one))
    return found


def find_path(path: str | Path) -> Iterator[InputPath]:
    """Find a path, or all that a pattern matches, sorted.

    Raises:
        BlastscopeError: where it names nothing that is there.
    """
    text = str(path)
    if glob.has_magic(text) and not os.path.lexists(text):
        yield from _matches(text)
    elif text:
        yield _there(Path(path))
    else:  # as of a shell's variable that is not set; Path("") would be this folder
        raise BlastscopeError(f"An empty name was given: {_REMEDY}.")


def _there(path: Path) -> InputPath:
    if not os.path.exists(path):  # noqa: PTH110, no OSError for a name that is too long
        raise BlastscopeError(f"{path} is not there: {_REMEDY}.")
    return InputPath(path, path.parent)


def _matches(pattern: str) -> Iterator[InputPath]:
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207, Path's takes no absolute pattern
    paths = [Path(match) for match in sorted(matches)]
    kept = [path for path in paths if not any(part.startswith("__MACOSX") for part in path.parts)]
    if not kept:
        raise BlastscopeError(f"{pattern} matches nothing: {_REMEDY}.")
    plain = [path for path in kept if path.suffix.lower() in (*SUFFIXES, ZIP) or path.is_dir()]
    parts = Path(pattern).parts
    fixed = next(k for k, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    for path in plain or kept:  # '*.dat' asks for other files, 'cells/*' for the images there
        yield InputPath(path, root)


def _names_on_standard_input() -> list[str]:
    lines = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf").splitlines()
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise BlastscopeError("Standard input names no file: write one a line, or give paths.")
    return names
