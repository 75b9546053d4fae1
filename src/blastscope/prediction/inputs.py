"""From input paths, patterns and images in memory to the images to predict on."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, cast

from blastscope.data.images import SUFFIXES, Decoded, read_image
from blastscope.data.layouts import CellFile, Problem, list_files, list_some
from blastscope.data.names import printable
from blastscope.data.tars import SUFFIX as TAR
from blastscope.data.tars import is_tar
from blastscope.errors import BlastscopeError
from blastscope.io.remote import download, expand, url_of
from blastscope.io.text_tables import decode_text
from blastscope.prediction.archives import SUFFIX as ZIP
from blastscope.prediction.archives import list_archive
from blastscope.prediction.images import (
    AnImage,
    InputImage,
    InputImages,
    SubjectPattern,
    as_list,
    image_in_memory,
    input_image,
    unique_cells,
)

Prefix: TypeAlias = Literal["needed", "name", "path"]

STANDARD_INPUT = "-"
_REMEDY = (
    "give images, folders, zips or tars of images, a pattern such as 'cells/*.bmp', or - for "
    "file names on standard input"
)


def list_inputs(
    inputs: Sequence[str | Path], subject_from: str | None = None, prefix: Prefix = "needed"
) -> InputImages:
    """List the images of input paths, in the order given; within a folder or zip by name.

    Paths are files (whatever their suffix), folders in any layout that ``data.layouts`` reads,
    zips, WebDataset tars, patterns, and ``-`` for names on standard input, one a line. A file that
    is given twice counts once. What makes a file unusable is listed with it. ``subject_from`` is a
    regular expression that finds the subject in an image's ``file``; if it finds none, the name
    decides as always. ``prefix`` is what an image's ``file`` begins with if it is in a folder, zip
    or tar: the name of that, but for a single folder, or its path if two are alike (``needed``);
    always the ``name``; always the ``path``.

    Raises:
        BlastscopeError: if an input does not exist, holds no image or is a damaged zip, or the
            expression is not valid.
    """
    gathered = _Gathered(subject_from)
    gathered.add(_find_all(inputs))
    return gathered.finish(prefix)


def as_inputs(images: AnImage | Iterable[AnImage], subject_from: str | None = None) -> InputImages:
    """List images in memory, and input paths, in the order given; duplicates stay.

    Images are one or several of: arrays (uint8; height × width × 3 in RGB, height × width in grey,
    or height × width × 4 in RGBA), Pillow images, and paths as in :func:`list_inputs`, like
    ``subject_from``. Images without a name are called ``image-1``, ``image-2``, … by their
    position.

    Raises:
        BlastscopeError: if one is none of these, or as in :func:`list_inputs`.
    """
    gathered = _Gathered(subject_from, once=False)
    # Neighbouring paths are added together, so that a folder's labels are read once for all.
    for are_paths, some in groupby(
        enumerate(as_list(images)), lambda one: isinstance(one[1], str | Path)
    ):
        if are_paths:
            gathered.add([found for _, path in some for found in _find(cast(Path, path))])
        else:
            gathered.groups += [_Group([image_in_memory(image, k)]) for k, image in some]
    return gathered.finish()


@dataclass(frozen=True)
class _InputPath:
    """An existing path; ``root`` is the folder whose layout describes its files."""

    path: Path
    root: Path
    url: str = ""  # of which it is a copy
    keeper: TemporaryDirectory[str] | None = None


def _find_all(inputs: Sequence[str | Path]) -> list[_InputPath]:
    """Find the paths of inputs in their order, with patterns and standard input expanded."""
    if not inputs:
        raise BlastscopeError(f"There is nothing to predict on: {_REMEDY}.")
    found: list[_InputPath] = []
    for one in inputs:
        if str(one) == STANDARD_INPUT:
            found.extend(_existing(Path(name)) for name in _names_on_standard_input())
        else:
            found.extend(_find(one))
    return found


def _find(path: str | Path) -> Iterator[_InputPath]:
    """Find a path, or all that match a pattern, sorted."""
    text, url = str(path), url_of(path)
    if url is not None:
        yield from map(_copied, expand(url))
    elif glob.has_magic(text) and not os.path.lexists(text):
        yield from _matches(text)
    elif text:
        yield _existing(Path(path))
    else:  # as of a shell's variable that is not set; Path("") would be this folder
        raise BlastscopeError(f"An empty name was given: {_REMEDY}.")


def _copied(url: str) -> _InputPath:
    keeper = TemporaryDirectory(prefix="blastscope-")
    path = download(url, Path(keeper.name))
    return _InputPath(path, path.parent, url, keeper)


def _existing(path: Path) -> _InputPath:
    if not os.path.exists(path):  # noqa: PTH110, no OSError for a name that is too long
        raise BlastscopeError(f"{path} does not exist: {_REMEDY}.")
    return _InputPath(path, path.parent)


def _literal_folders(pattern: str) -> str:
    """Escape the folders that a pattern begins with, if they are there: a path is a path."""
    parts = Path(pattern).parts
    there = 0
    while there < len(parts) - 1 and os.path.lexists(Path(*parts[: there + 1])):
        there += 1
    if not there:
        return pattern
    escaped = str(Path(glob.escape(str(Path(*parts[:there]))), *parts[there:]))
    return escaped + os.sep * pattern.endswith(os.sep)


def _matches(pattern: str) -> Iterator[_InputPath]:
    matches = glob.glob(_literal_folders(pattern), recursive=True)  # noqa: PTH207, Path's takes no absolute pattern
    paths = [Path(match) for match in sorted(matches)]
    kept = [path for path in paths if not any(part.startswith("__MACOSX") for part in path.parts)]
    if not kept:
        raise BlastscopeError(f"{pattern} matches nothing: {_REMEDY}.")
    plain = [path for path in kept if path.suffix.lower() in (*SUFFIXES, ZIP, TAR) or path.is_dir()]
    parts = Path(pattern).parts
    fixed = next(
        k
        for k, part in enumerate(parts)
        if glob.has_magic(part) and not os.path.lexists(Path(*parts[: k + 1]))
    )
    root = Path(*parts[:fixed])
    for path in plain or kept:  # '*.dat' asks for other files, 'cells/*' for the images there
        yield _InputPath(path, root)


def _names_on_standard_input() -> list[str]:
    data = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:  # PowerShell writes UTF-16; no name of a file has a zero byte
        data = os.fsencode(decode_text(data, "standard input")[0])
    names = [os.fsdecode(line) for line in data.splitlines() if line.strip()]
    if not names:
        raise BlastscopeError("Standard input names no file: write one a line, or give paths.")
    return names


@dataclass
class _Group:
    """Images of one folder or zip, whose ``file`` does not yet name it, or of neither."""

    images: list[InputImage]
    path: Path | None = None
    is_folder: bool = False

    @property
    def name(self) -> str:
        return "" if self.path is None else input_name(self.path)


def input_name(path: Path) -> str:
    """Return the name of an input path, also of one like ``.``."""
    return path.resolve().name if path.name in ("", "..") else path.name


class _Gathered:
    """The images listed so far; a file that is given again is left out if ``once``."""

    def __init__(self, subject_from: str | None, once: bool = True) -> None:
        self.pattern = None if subject_from is None else SubjectPattern(subject_from)
        self.once = once
        self.groups: list[_Group] = []
        self.notes: list[str] = []
        self.synthetic = False
        self.closers: list[Callable[[], None]] = []
        self.archives: list[Path] = []
        self.keepers: list[TemporaryDirectory[str]] = []
        self._copies: dict[str, str] = {}
        self._seen: set[str] = set()
        self._real: dict[Path, str] = {}

    def add(self, found: Sequence[_InputPath]) -> None:
        """List the images of paths."""
        for one in found:
            if one.keeper is not None:
                self.keepers.append(one.keeper)
                self._copies[one.keeper.name] = one.url.rpartition("/")[0]
        for add, some in groupby(found, self._adder):
            add(list(some))

    def _adder(self, one: _InputPath) -> Callable[[list[_InputPath]], None]:
        if one.path.is_dir():
            return self._add_folders
        if is_tar(one.path):
            return self._add_tars
        return self._add_zips if one.path.suffix.lower() == ZIP else self._add_files

    def _add_folders(self, found: list[_InputPath]) -> None:
        for one in found:
            listing = list_files([one.path], strict=False)
            self.notes.extend(listing.notes)
            self.synthetic |= listing.synthetic
            items: list[CellFile | Problem] = [*listing.cells, *listing.problems]
            images = [
                input_image(item, partial(read_image, path), path)
                for item in items
                if self._is_new(path := one.path / item.file)
            ]
            images.sort(key=lambda item: (item.cell, item.file))
            self.groups.append(_Group(images, one.path, is_folder=True))

    def _add_zips(self, found: list[_InputPath]) -> None:
        for one in found:
            if self._is_new(one.path):
                archived = list_archive(one.path)
                self.notes.extend(archived.notes)
                self.synthetic |= archived.synthetic
                self.closers.append(archived.archive.close)
                self.archives.append(one.path)
                self.groups.append(_Group(list(archived.images), one.path))

    def _add_tars(self, found: list[_InputPath]) -> None:
        for one in found:
            if self._is_new(one.path):
                listing = list_files([one.path], strict=False)
                self.notes.extend(listing.notes)
                self.synthetic |= listing.synthetic
                self.archives.append(one.path)
                cells = [input_image(item, item.decode) for item in listing.cells]
                images = [*cells, *(input_image(item, _unread) for item in listing.problems)]
                images.sort(key=lambda item: (item.cell, item.file))
                self.groups.append(_Group(images, one.path))

    def _add_files(self, found: list[_InputPath]) -> None:
        names: dict[tuple[Path, Path], list[str]] = defaultdict(list)
        for one in found:
            names[one.root, one.path.parent].append(one.path.name)
        described: dict[Path, CellFile | Problem] = {}
        for (root, folder), some in names.items():
            listing = list_some(root, folder, some)
            self.notes.extend(listing.notes)
            self.synthetic |= listing.synthetic
            described |= {
                folder / name: item for name, item in zip(some, listing.items, strict=True)
            }
        images = []
        for one in found:
            if self._is_new(one.path):
                item = described[one.path.parent / one.path.name]
                item = replace(item, file=printable(one.url or one.path.as_posix()))
                images.append(input_image(item, partial(read_image, one.path), one.path))
        self.groups.append(_Group(images))

    def _is_new(self, path: Path) -> bool:
        """Whether a file has not been listed yet; a link beside it is another file."""
        folder = self._real.get(path.parent)
        if folder is None:
            folder = self._real[path.parent] = os.path.realpath(path.parent)
        key = os.path.normcase(os.path.join(folder, path.name))  # noqa: PTH118
        new = key not in self._seen or not self.once
        self._seen.add(key)
        return new

    def finish(self, prefix: Prefix = "needed") -> InputImages:
        """Give every image its file, its subject and a unique name of its cell."""
        groups = [group for group in self.groups if group.images]
        files = self._files(groups, prefix)
        images = []
        listed = [(group, image) for group in groups for image in group.images]
        without = []
        for (group, image), file in zip(listed, files, strict=True):
            subject = self._find_subject(group, file)
            if self.pattern and subject is None:
                without.append(file)
            problem, subject = image.problem, subject or image.subject
            source = replace(problem, file=file) if problem else image.source
            images.append(replace(image, file=file, source=source, subject=subject))
        if without:
            self.notes.append(
                f"the pattern finds no subject in {len(without):,} of {len(files):,} paths, such "
                f"as {self._seen_path(groups[0], without[0])}: there the subject is read from a "
                "name of C-NMC's kind or a table, or is not known"
            )
        names = unique_cells(images)
        named = (replace(p, cell=name) for p, name in zip(images, names, strict=True))
        notes = tuple(dict.fromkeys(map(self._with_urls, self.notes)))
        return InputImages(
            tuple(named), notes, self.synthetic, tuple(self.closers), tuple(self.archives),
            tuple(self.keepers),
        )  # fmt: skip

    def _files(self, groups: Sequence[_Group], prefix: Prefix) -> list[str]:
        """Put its group's name before each image's file, or the group's path if two are alike."""
        alone = prefix == "needed" and len(groups) == 1 and groups[0].is_folder
        by_name = [
            [_joined("" if alone else group.name, image) for image in group.images]
            for group in groups
        ]
        times = Counter(file for files in by_name for file in files)
        chosen: list[str] = []
        for group, files in zip(groups, by_name, strict=True):
            alike = prefix == "path" or any(times[file] > 1 for file in files)
            if group.path is not None and alike:
                path = self._with_urls(group.path.as_posix())
                files = [_joined(path, image) for image in group.images]
            chosen.extend(files)
        return chosen

    def _with_urls(self, note: str) -> str:
        for copy, url in self._copies.items():
            note = note.replace(copy, url)
        return note

    def _find_subject(self, group: _Group, file: str) -> str | None:
        """Find the subject in an image's path, or in that path after the folder that was given."""
        if self.pattern is None:
            return None
        return self.pattern.find(file) or self.pattern.find(self._seen_path(group, file))

    @staticmethod
    def _seen_path(group: _Group, file: str) -> str:
        folder = "" if group.path is None or not group.is_folder else group.path.as_posix()
        return f"{folder}/{file}" if folder and not file.startswith(folder) else file


def _unread() -> Decoded:
    raise AssertionError("what cannot be used is never read")


def _joined(prefix: str, image: InputImage) -> str:
    return printable(f"{prefix}/{image.file}") if prefix else image.file
